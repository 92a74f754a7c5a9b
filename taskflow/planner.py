"""What a manager offers about time: schedules, and runs at one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from taskflow.life import Life
from taskflow.once import ScheduledTask, cancel_once, list_scheduled, put_once
from taskflow.schedule_control import Schedules, check_fits
from taskflow.schedules.spec import CatchUp, Overlap, make_spec

F = TypeVar("F", bound=Callable[..., Any])


class Planner(Life):
    """Schedules in code and at run time."""

    def schedule(
        self,
        *,
        cron: str | None = None,
        every: float | timedelta | None = None,
        timezone: str | None = None,
        name: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        catch_up: CatchUp = "latest",
        overlap: Overlap | None = None,
        jitter: float | timedelta = 0.0,
        run_on_startup: bool = False,
        **options: Any,
    ) -> Callable[[F], F]:
        """Declare a schedule: the function runs as a task at each time of the rule.

        ``cron``: five fields, or six with the seconds last, on the clock of ``timezone`` (default
        UTC); or ``every`` so many seconds, counted from when the schedule was first seen. Each time
        gives at most one task, however many instances there are. ``name`` is that of the schedule
        (default: that of the task). ``args`` and ``kwargs`` are what the function is called with.
        ``overlap`` is ``"skip"`` unless ``catch_up`` is ``"all"``, then ``"queue"``. ``catch_up``,
        ``overlap``, ``jitter`` and ``run_on_startup``: see
        `taskflow.schedules.spec.ScheduleSpec`. Every other keyword is an option of
        `TaskManager.task` and declares the function as a task; without any, a function that is a
        task already stays as it is.

        Raises `ScheduleError` for a rule that cannot work or a name that is taken, and what
        `TaskManager.task` and `TaskManager.enqueue` raise for options and arguments.
        """
        spec = make_spec(
            cron=cron,
            every=every,
            timezone=timezone,
            catch_up=catch_up,
            overlap=overlap,
            jitter=jitter,
            run_on_startup=run_on_startup,
        )

        self.factory.check_option_names(options)

        def decorate(function: F) -> F:
            definition = self.registry.of(function)
            if definition is None or options:
                self._declare(function, options)
                definition = self.registry.of(function)
            assert definition is not None
            encoded = definition.codec.encode(args, dict(kwargs or {}))
            complete = spec.changed({"args": encoded})
            check_fits(definition, complete)
            self.timetable.declare(name or definition.name, definition.name, complete)
            if self._engine is not None:
                self._engine.wake_scheduler()
            return function

        return decorate

    def _declare(self, function: F, options: Mapping[str, Any]) -> F:
        definition = self.factory.declare(function, options)
        if definition.limits is not None and self._engine is not None:
            self._engine.controls.configure(definition.queue, definition.limits)
        return function

    @property
    def schedules(self) -> Schedules:
        """All schedules, to look at and to change: ``await task_manager.schedules.pause("x")``.

        Raises `NotStartedError` outside of the manager's life.
        """
        return Schedules(self.engine)

    async def schedule_once(
        self,
        function: Callable[..., Any],
        *args: Any,
        run_at: datetime,
        run_key: str | None = None,
        **kwargs: Any,
    ) -> str:
        """Run ``function`` once, at ``run_at``; the id of its task.

        ``run_key`` names the plan: until a lane has taken it, the same key moves it, arguments and
        function included. Takes the options of ``add_task`` but for ``run_in`` and ``eager``.
        Also before the manager is started; a moment that has passed means now.

        Raises `TaskOptionError` for a moment without a time zone or a wrong key, and what
        `TaskManager.enqueue` raises.
        """
        return await put_once(self, function, args, {**kwargs, "run_at": run_at}, run_key)

    async def cancel_scheduled(self, run_key: str) -> bool:
        """Cancel the plan with this key; False if there is none that has not started."""
        return await cancel_once(self, run_key)

    async def list_scheduled(self, limit: int = 1000) -> list[ScheduledTask]:
        """The tasks that wait for their moment, the next one first."""
        return await list_scheduled(self, limit)
