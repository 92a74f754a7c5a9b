"""What taskflow needs of a store: the durable queue, in ten or so operations.

A store never decides. It writes rows as they are handed to it, refuses a write whose lease is no
longer held, and says so. Every operation may be repeated after an error whose outcome is unknown.
Every method that depends on time is given ``now``, in seconds since the epoch.

Errors are those of `taskflow.errors`: `StoreUnavailableError` (come again later: locked, full,
away) and `StoreError` (will not heal by itself).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from taskflow.record import (
    AttemptRecord,
    Batch,
    Committed,
    LogLine,
    Page,
    TaskFilter,
    TaskRecord,
)
from taskflow.states import TaskStatus


@dataclass(slots=True, frozen=True)
class TakenOver:
    """What became of the tasks of an instance that died."""

    handed_back: int
    interrupted: int
    failed: int


@dataclass(slots=True, frozen=True)
class Window:
    """Figures over the tasks that ended in a stretch of time; durations in seconds."""

    ended: int
    succeeded: int
    waits: list[float]
    runs: list[float]


class Store(Protocol):
    """The write path and the read path of one store."""

    #: For people: ``sqlite:///srv/tasks.db``, without secrets.
    url: str

    async def open(self, instance: str, now: float) -> None:
        """Create or migrate the schema, check that it is usable, register this instance.

        Raises `StoreError` with what is wrong and the way out.
        """

    async def close(self) -> None:
        """Unregister this instance and free everything. Idempotent, also after a failed open."""

    def abandon(self) -> None:
        """Let go without an event loop, which ended without `close`: this instance is dead."""

    async def commit(self, batch: Batch) -> Committed:
        """Write ``batch`` in one durable transaction, or nothing of it.

        A row of ``inserts`` whose id exists is left alone. A row of ``keyed`` whose id exists
        replaces it if that task is final and undone (its attempts go on counting), else it is
        reported as a duplicate. An update applies where (task_id, owner = this instance, lease)
        match, else it is reported as refused.
        """

    async def claim(
        self, lane: str, limit: int, names: Collection[str], now: float
    ) -> list[TaskRecord]:
        """Take up to ``limit`` pending tasks of ``lane`` that nobody owns, and return them.

        Order: priority, then arrival. They are owned by this instance afterwards, with a lease one
        higher. Tasks whose function is not in ``names`` are parked: marked, shown, and out of the
        way until an instance that knows the name calls `unpark`.
        """

    async def unpark(self, names: Collection[str]) -> int:
        """Let parked tasks of these functions be claimed again; how many there were."""

    async def promote(self, limit: int, now: float) -> int:
        """Make up to ``limit`` scheduled and retrying tasks pending whose time has come."""

    async def next_due(self) -> float | None:
        """When the next scheduled or retrying task is due, None if there is none."""

    async def take_over(self, *, rerun: bool, max_crashes: int, now: float) -> TakenOver:
        """Free the tasks of every instance that is surely dead, and forget these instances.

        Those that had not started go back to pending. Those that ran go back too, at the cost of
        a crash and not of an attempt; they become interrupted if they may run only once or if
        ``rerun`` is false, and failed from ``max_crashes`` crashes on.
        """

    async def cancel(self, task_id: str, now: float) -> TaskStatus | None:
        """Cancel a waiting task that nobody owns; its status afterwards, None if unknown."""

    async def revive(self, task_id: str, now: float) -> TaskStatus | None:
        """Make a final task pending again with a fresh budget of attempts; its status before."""

    async def prune(self, before: Mapping[TaskStatus, float], limit: int) -> int:
        """Delete up to ``limit`` final tasks that ended before the time given for their status."""

    async def changed(self) -> bool:
        """Whether another instance has written since the last call. Cheap; may err towards True."""

    async def get(self, task_id: str) -> TaskRecord | None: ...

    async def attempts(self, task_id: str) -> list[AttemptRecord]: ...

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """The first ``limit`` lines, oldest first."""

    async def list(self, query: TaskFilter) -> Page: ...

    async def counts(self) -> dict[TaskStatus, int]: ...

    async def backlog(self) -> dict[str, int]:
        """How many pending tasks nobody owns, per lane."""

    async def window(self, since: float, limit: int) -> Window:
        """Figures over the last ``limit`` tasks that ended since then."""
