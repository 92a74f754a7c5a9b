"""Schedules at run time: added, changed, paused, run now, removed; kept in the store."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar, cast

from taskflow.definition import TaskDefinition
from taskflow.engine import Engine
from taskflow.errors import ScheduleError, UnknownScheduleError
from taskflow.handle import TaskHandle
from taskflow.schedules.entry import Entry
from taskflow.schedules.rows import Fired, FiringRow, Kind
from taskflow.schedules.spec import (
    LONGEST_NAME,
    CatchUp,
    Overlap,
    ScheduleSpec,
    check_name,
    is_name,
    make_spec,
)
from taskflow.schedules.state import ScheduleState, describe

#: More runs of one schedule are not given at a time.
MOST_RUNS = 1000
#: Schedules that are described without letting anything else run.
SLICE = 10

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])


def _on_loop(method: F) -> F:
    """A method that may be awaited on any event loop, and does its work on that of the engine."""

    @functools.wraps(method)
    async def call(self: Schedules, *args: Any, **kwargs: Any) -> Any:
        return await self.engine.on_its_loop(method(self, *args, **kwargs))

    return cast(F, call)


def check_fits(definition: TaskDefinition, spec: ScheduleSpec) -> None:
    """Raise `ScheduleError` if the task cannot be scheduled like that."""
    if spec.overlap == "queue" and definition.key is not None:
        raise ScheduleError(
            f"overlap='queue' uses the concurrency key, and {definition.name!r} has one of its "
            "own: give overlap='skip' or 'allow'"
        )


class Schedules:
    """The schedules of the store, as this instance sees them.

    What is changed here holds at once, for every instance, and after restarts and deploys.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._store = engine.store

    # -- looking -----------------------------------------------------------------------------

    @_on_loop
    async def all(self, *, after: str = "", limit: int = 100) -> list[ScheduleState]:
        """The schedules in order of their names, from the first behind ``after`` on."""
        now = self.engine.clock.now()
        rows = [row for row in await self._store.schedules() if row.name > after]
        rows.sort(key=lambda row: row.name)
        found: list[ScheduleState] = []
        for number, row in enumerate(rows[:limit], 1):
            found.append(describe(self.engine.scheduler.entry(row), now))
            if number % SLICE == 0:
                await asyncio.sleep(0)  # others want to run, too
        return found

    @_on_loop
    async def get(self, name: str) -> ScheduleState:
        """One schedule; raises `UnknownScheduleError`."""
        return describe(await self._find(name), self.engine.clock.now())

    @_on_loop
    async def runs(self, name: str, limit: int = 20) -> list[FiringRow]:
        """The last runs of a schedule, the newest first, with what became of them."""
        await self._find(name)
        await self.engine.settle()
        return await self._store.firings(name, min(max(limit, 0), MOST_RUNS))

    # -- changing ----------------------------------------------------------------------------

    @_on_loop
    async def add(
        self,
        name: str,
        function: Callable[..., Any] | str,
        *,
        cron: str | None = None,
        every: float | timedelta | None = None,
        timezone: str | None = None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        catch_up: CatchUp = "latest",
        overlap: Overlap | None = None,
        jitter: float | timedelta = 0.0,
        run_on_startup: bool = False,
    ) -> ScheduleState:
        """Add a schedule of a declared task; options as those of `TaskManager.schedule`.

        Raises `ScheduleError` if the name is taken, the function is no declared task or the rule
        cannot work.
        """
        definition = self._definition(function)
        spec = make_spec(
            cron=cron,
            every=every,
            timezone=timezone,
            catch_up=catch_up,
            overlap=overlap,
            jitter=jitter,
            run_on_startup=run_on_startup,
            args=definition.codec.encode(args, dict(kwargs or {})),
        )
        check_fits(definition, spec)
        now = self.engine.clock.now()
        if not await self._store.add_schedule(check_name(name), definition.name, spec.dump(), now):
            raise ScheduleError(f"schedule {name!r} exists: change it, or give another name")
        return await self._changed(name)

    @_on_loop
    async def change(self, name: str, **changes: Any) -> ScheduleState:
        """Change options of a schedule; one that is None is again as it was declared.

        ``args`` and ``kwargs`` are changed together. Raises `UnknownScheduleError`, and
        `ScheduleError` for what cannot work.
        """
        # Somebody else may change it at the same time: neither change must be lost.
        while not await self._change(await self._find(name), dict(changes)):
            pass
        return await self._changed(name)

    async def _change(self, entry: Entry, changes: dict[str, Any]) -> bool:
        name, definition = entry.row.name, entry.definition
        if "args" in changes or "kwargs" in changes:
            if definition is None:
                raise ScheduleError(f"schedule {name!r}: {entry.problem}")
            args, kwargs = changes.pop("args", None), changes.pop("kwargs", None)
            encoded = definition.codec.encode(tuple(args or ()), dict(kwargs or {}))
            changes["args"] = None if args is None and kwargs is None else encoded
        kept = _stored(entry.row.changes)
        if changes.get("cron") is not None or changes.get("every") is not None:
            kept.pop("cron", None)
            kept.pop("every", None)
        kept.update(changes)
        kept = {key: _plain(value) for key, value in kept.items() if value is not None}
        declared = entry.declared or ScheduleSpec.load(entry.row.declared)
        spec = declared.changed(kept)
        if definition is not None:
            check_fits(definition, spec)
        text = json.dumps(kept, sort_keys=True) if kept else None
        # What was missed by the same rule is still to be made up for.
        same = entry.spec is not None and spec.has_rule_of(entry.spec)
        cursor = None if same else self.engine.clock.now()
        return await self._store.change_schedule(name, text, entry.row.version, cursor)

    @_on_loop
    async def pause(self, name: str, by: str = "") -> ScheduleState:
        """Fire it no more until `resume`; ``by`` is who wants that, for others to see."""
        if len(by) > LONGEST_NAME or not by.isprintable():
            raise ScheduleError(f"by={by!r:.60}: give at most {LONGEST_NAME} printable characters")
        await self._find(name)
        await self._store.pause_schedule(name, by, self.engine.clock.now())
        return await self._changed(name)

    @_on_loop
    async def resume(self, name: str) -> ScheduleState:
        """Undo `pause`; what fell into the pause is not made up for."""
        await self._find(name)
        await self._store.resume_schedule(name, self.engine.clock.now())
        return await self._changed(name)

    @_on_loop
    async def run_now(self, name: str) -> TaskHandle[Any]:
        """Run it once, now, beside its rule; also while it is paused."""
        entry = await self._find(name)
        scheduler = self.engine.scheduler
        if entry.spec is None or entry.definition is None:
            raise ScheduleError(f"schedule {name!r} cannot be run: {entry.problem}")
        now = self.engine.clock.now()
        firing = scheduler.firing(entry, Kind.HAND, int(now * 1e6), now)
        (result,) = await self._store.fire([firing])
        while result is Fired.TAKEN:  # somebody else had the same idea in the same microsecond
            firing = dataclasses.replace(firing, slot=firing.slot + 1)
            (result,) = await self._store.fire([firing])
        scheduler.fired(firing, result)
        if result is not Fired.FIRED:
            raise ScheduleError(f"schedule {name!r} was changed at this moment: try again")
        return TaskHandle(firing.record.task_id, self.engine, entry.definition.function)

    @_on_loop
    async def remove(self, name: str) -> None:
        """Remove a schedule with its history; what has started goes on.

        Raises `ScheduleError` for one that this instance's code declares. One that only the code of
        others declares is back as soon as they notice.
        """
        entry = await self._find(name)
        if entry.row.origin == "code" and name in self.engine.scheduler.timetable:
            raise ScheduleError(
                f"schedule {name!r} is declared in code: remove it there, or pause it"
            )
        await self._store.remove_schedule(name)
        await self.engine.scheduler.reload()

    # -- inside ------------------------------------------------------------------------------

    async def _find(self, name: str) -> Entry:
        row = await self._store.schedule(name) if is_name(name) else None
        if row is None:
            raise UnknownScheduleError(f"there is no schedule {name!r:.100}")
        return self.engine.scheduler.entry(row)

    async def _changed(self, name: str) -> ScheduleState:
        await self.engine.scheduler.reload()
        return await self.get(name)

    def _definition(self, function: Callable[..., Any] | str) -> TaskDefinition:
        registry = self.engine.registry
        if isinstance(function, str):
            definition = registry.find("", function)
        else:
            definition = registry.of(function)
        if definition is None or not registry.is_declared(definition):
            names = ", ".join(sorted(registry.names)) or "none"
            raise ScheduleError(f"{function!r:.100} is no declared task; those are: {names:.500}")
        return definition


def _stored(changes: str | None) -> dict[str, Any]:
    """What was changed before; nothing if that cannot be read, so that it can be repaired."""
    try:
        values = json.loads(changes or "{}")
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _plain(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value
