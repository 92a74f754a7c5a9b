"""`TaskManager`: where tasks are declared, added and awaited."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, overload

from fastapi.requests import HTTPConnection

from taskflow.background import ManagedBackgroundTasks
from taskflow.clock import Clock, SystemClock
from taskflow.context import get_task_context
from taskflow.controls import LaneControls, QueueControls
from taskflow.definition import LaneName
from taskflow.factory import ExceptionTypes
from taskflow.feed import Subscription
from taskflow.gate import QueueConfig, check_queues
from taskflow.handle import TaskHandle
from taskflow.injection import tasks_of_request
from taskflow.options import NOT_GIVEN, OptionedFunction
from taskflow.planner import Planner
from taskflow.settings import check_warm_up, load_settings
from taskflow.shedding import LoadShedder

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class TaskManager(Planner):
    """Declares tasks, stores them and runs them, inside the process of the app.

    ``snapshot_db`` is the path of the SQLite file (default ``TASKFLOW_DB``, else ``taskflow.db``);
    ``":memory:"`` keeps nothing beyond the process. With ``requeue_pending`` (the default) tasks
    that a dead instance left running are run again; without it they are kept as ``interrupted``.
    ``queues`` gives limits to queues by name. ``warm_up`` names functions, as
    ``"package.module:name"``, that each worker process calls once when it starts, for example to
    load a model. ``redact`` is a text of names, with commas between, whose values are secret as
    well, or a function that gets the name of a value that is to be shown, and the value, and
    returns what is shown instead; see `taskflow.redaction`.
    Every other keyword is a setting, see `taskflow.settings.Settings`, and wins over its
    environment variable.

    Raises `SettingsError` for a setting that is out of range.
    """

    def __init__(
        self,
        snapshot_db: str | Path | None = None,
        *,
        requeue_pending: bool = True,
        queues: Mapping[str, QueueConfig] | None = None,
        warm_up: Sequence[str] = (),
        redact: str | Callable[[str, Any], Any] | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        if snapshot_db is not None:
            settings["db"] = str(snapshot_db)
        if isinstance(redact, str):
            settings["redact"], redact = redact, None
        super().__init__(
            load_settings(**settings),
            clock or SystemClock(),
            requeue_pending=requeue_pending,
            queues=check_queues(queues or {}),
            warm_up=check_warm_up(warm_up),
            redact=redact,
        )

    # -- declaring -------------------------------------------------------------------------

    @overload
    def task(self, function: F, /) -> F: ...

    @overload
    def task(
        self,
        *,
        name: str | None = None,
        lane: LaneName | None = None,
        retries: int = 0,
        delay: float = 0.0,
        backoff: float = 1.0,
        max_delay: float | None = None,
        jitter: bool | Literal["full"] = False,
        retry_on: ExceptionTypes = (),
        dont_retry_on: ExceptionTypes = (),
        timeout: float | None = None,
        queue: str = "default",
        priority: int = 0,
        eager: bool = False,
        at_most_once: bool | None = None,
        requeue_on_interrupt: bool | None = None,
        concurrency: int | None = None,
        rate: str | None = None,
        concurrency_key: Callable[..., Any] | None = None,
        concurrency_limit: int = 1,
        memory_mb: int | None = None,
    ) -> Callable[[F], F]: ...

    def task(self, *bare: Any, **options: Any) -> Any:
        """Declare a task; the function itself is returned and stays what it is.

        ``lane``: ``"io"`` (threads; a coroutine function stays on the event loop), ``"cpu"`` (a
        worker process) or ``"async"``; default by the kind of function. ``retries`` more attempts
        follow a failed one, after ``delay * backoff ** n`` seconds, at most ``max_delay``, with
        ``jitter`` drawn from 0 to that; only for errors in ``retry_on`` (default: all) and not in
        ``dont_retry_on``. ``timeout`` in seconds per attempt. ``eager`` starts when ``add_task`` is
        called. ``at_most_once`` (or ``requeue_on_interrupt=False``): never run again after a
        crash. ``name`` is the stored name, default ``module:qualname``.

        ``concurrency`` (how many run at a time) and ``rate`` (how many start, ``"10/s"``) give the
        task a queue of its own with these limits, in each instance. ``concurrency_key`` is a
        function of the task's arguments: of those tasks for which it returns the same,
        ``concurrency_limit`` run at a time, on all instances together. ``memory_mb``: how many MiB
        a task of the cpu lane may take beyond what its worker process has.

        Raises `TaskDefinitionError` for options that cannot work.
        """
        self.factory.check_option_names(options)
        if bare:
            (function,) = bare
            return self._declare(function, options)

        def decorate(function: F) -> F:
            self._declare(function, options)
            return function

        return decorate

    def options(
        self,
        function: Callable[P, R],
        *,
        eager: bool | None = None,
        priority: int | None = None,
        queue: str | None = None,
        tags: Mapping[str, Any] | Iterable[str] | None = None,
        idempotency_key: str | None = None,
        run_in: float | timedelta | None = None,
        run_at: datetime | None = None,
        timeout: float | None = NOT_GIVEN,
        retries: int | None = None,
    ) -> OptionedFunction[P, R]:
        """``function`` with options for one call: ``add_task(manager.options(f, priority=5), x)``.

        The typed way, and the only one where ``function`` has a parameter of the same name.
        """
        given: dict[str, Any] = {
            "eager": eager,
            "priority": priority,
            "queue": queue,
            "tags": tags,
            "idempotency_key": idempotency_key,
            "run_in": run_in,
            "run_at": run_at,
            "retries": retries,
        }
        wanted = {name: value for name, value in given.items() if value is not None}
        if timeout is not NOT_GIVEN:
            wanted["timeout"] = timeout
        return OptionedFunction(function, wanted)

    # -- adding ----------------------------------------------------------------------------

    @overload
    async def enqueue(
        self, function: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> TaskHandle[R]: ...

    @overload
    async def enqueue(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> TaskHandle[R]: ...

    async def enqueue(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> TaskHandle[Any]:
        """Store a task and return its handle once it is on disk; takes options like ``add_task``.

        Where ``TASKFLOW_OVERFLOW`` is ``wait``, returns only when there was room for it; inside of
        a task, which may hold the place that it would wait for, it does not wait.

        Raises `StoreUnavailableError` if that takes longer than the enqueue timeout,
        `QueueFullError` if there is no room for another task, `TaskArgumentError` for arguments
        that do not fit or cannot be stored, `TaskOptionError` for a wrong option and
        `NotStartedError` outside of the manager's life.
        """
        engine = self.engine
        attempt, eager = self.factory.prepare(function, args, kwargs, source="code")

        record = attempt.record
        inside = get_task_context() is not None

        async def submit() -> None:
            waits = engine.intake.overflow == "wait"
            if waits and not inside:
                await engine.intake.room(record)
            else:
                engine.intake.check((record,), spill=waits)
            if eager:
                await engine.dispatcher.submit_eager(attempt)
            else:
                await engine.dispatcher.submit((attempt,))

        await engine.on_its_loop(submit())
        return TaskHandle(record.task_id, engine, attempt.definition.function)

    async def get_tasks(self, connection: HTTPConnection) -> ManagedBackgroundTasks:
        """A FastAPI dependency: ``tasks: ManagedBackgroundTasks = Depends(manager.get_tasks)``."""
        await self.ensure_started()
        return tasks_of_request(self, connection.scope)

    def shed_load(
        self, lane: LaneName, *, waiting: int | None = None, older_than: float | None = None
    ) -> LoadShedder:
        """A FastAPI dependency that answers 429 while ``lane`` is over its limit.

        ``@app.post("/render", dependencies=[Depends(task_manager.shed_load("cpu", waiting=50))])``.
        The limit is ``waiting`` tasks that wait for a slot (default: the lane's waiting room), or a
        task that has waited for more than ``older_than`` seconds.
        """
        return LoadShedder(self, lane, waiting=waiting, older_than=older_than)

    # -- changing --------------------------------------------------------------------------

    @property
    def lanes(self) -> LaneControls:
        """The lanes of this instance: ``await task_manager.lanes["cpu"].resize(4)``."""
        engine = self.engine
        return LaneControls(engine.lanes, engine.controls)

    @property
    def queues(self) -> QueueControls:
        """The queues: ``await task_manager.queues["email"].change(concurrency=5)``."""
        engine = self.engine
        return QueueControls(engine.gates, engine.controls)

    def subscribe(self, limit: int = 1000) -> Subscription:
        """News of this instance's tasks: ``async with task_manager.subscribe() as events: ...``.

        ``async for event in events`` gives those of `taskflow.feed`, until the manager stops. At
        most ``limit`` wait for the subscriber; when more come, the oldest are dropped and `Missed`
        says how many.

        Raises `NotStartedError` outside of the manager's life.
        """
        return self.engine.feed.subscribe(limit)
