"""Turns requests away while a lane has more to do than it can."""

from __future__ import annotations

from typing import Protocol

from taskflow.definition import LANES, LaneName
from taskflow.engine import Engine
from taskflow.errors import QueueFullError, SettingsError


class _Manager(Protocol):
    @property
    def engine(self) -> Engine: ...

    async def ensure_started(self) -> None: ...


class LoadShedder:
    """A FastAPI dependency: raises `QueueFullError`, answered by 429, while a lane has too much."""

    def __init__(
        self,
        task_manager: _Manager,
        lane: LaneName,
        *,
        waiting: int | None = None,
        older_than: float | None = None,
    ) -> None:
        if lane not in LANES:
            raise SettingsError(f"lane={lane!r}: give one of {', '.join(map(repr, LANES))}")
        if waiting is not None and waiting < 0:
            raise SettingsError(f"waiting={waiting!r}: give a number of tasks from 0 on")
        if older_than is not None and not older_than > 0:
            raise SettingsError(f"older_than={older_than!r}: give seconds above 0")
        self._manager = task_manager
        self._lane = lane
        self._waiting = waiting
        self._older_than = older_than

    async def __call__(self) -> None:
        await self._manager.ensure_started()
        engine = self._manager.engine
        problem = self._problem(engine)
        if problem is not None:
            raise QueueFullError(problem, engine.intake.retry_after(self._lane))

    def _problem(self, engine: Engine) -> str | None:
        lane = engine.lanes[self._lane]
        if lane.refusing:
            return f"lane {self._lane!r} takes no work: {lane.refusing}"
        most = lane.room if self._waiting is None else self._waiting
        waiting = engine.intake.waiting(self._lane)
        if waiting > most:
            return f"{waiting} tasks wait for lane {self._lane!r}, more than {most}"
        if self._older_than is not None:
            oldest = engine.oldest_waiting(self._lane)
            age = 0.0 if oldest is None else engine.clock.now() - oldest
            if age > self._older_than:
                return f"a task has waited for lane {self._lane!r} for {age:.1f} s"
        return None
