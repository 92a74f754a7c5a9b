"""What a store finds among its tasks for people: filters, counts, groups of errors.

Whatever is asked, a call looks at a bounded number of tasks, and says how far it came. Newest means
last arrived. What is done to tasks that were found is fenced: what was changed since, by
anybody, is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from taskflow.query import Query
from taskflow.record import TaskRecord
from taskflow.states import TaskStatus


@dataclass(frozen=True, slots=True)
class Found:
    """A page of tasks, newest first; without their arguments and results."""

    items: list[TaskRecord]
    #: Where to go on; None if nothing older is left.
    next_cursor: str | None
    #: Set if the search gave up early: older tasks than this were not looked at yet. Seconds since
    #: the epoch.
    searched_to: float | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many tasks there are of each status; lower bounds unless ``complete``."""

    counts: dict[TaskStatus, int]
    complete: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """What a query means, before anything is done to it; lower bounds unless ``complete``."""

    count: int
    complete: bool
    #: How many tasks of which function, the most first.
    tasks: dict[str, int] = field(default_factory=dict)
    #: When the oldest and the newest arrived; seconds since the epoch.
    oldest: float | None = None
    newest: float | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """A task as it was found: nothing is done to it if it was changed since."""

    seq: int
    lease: int
    task_id: str
    func_name: str


@dataclass(frozen=True, slots=True)
class Picked:
    """Tasks that were found, newest first, and where to go on; None if nothing older is left."""

    items: list[Handle]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of tasks that were to be cancelled."""

    #: Ids of those that are cancelled now.
    cancelled: list[str]
    #: How many are held by an instance, which was asked to end them.
    asked: int


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Tasks that failed for good with errors that are alike."""

    fingerprint: str
    #: Of the last of them.
    error: str
    func_name: str
    task_id: str
    count: int
    first_at: float
    last_at: float
    #: How many in each of the equal parts of the time asked for, oldest first.
    trend: list[int]


@dataclass(frozen=True, slots=True)
class ErrorGroups:
    """Groups of errors, the one with the newest first."""

    items: list[ErrorGroup]
    #: From here on all failures were looked at: the time asked for, or later.
    since: float


class TaskSearch(Protocol):
    """Looks at many tasks, with bounded work for each call.

    ``now`` is what durations of tasks that are not over yet are measured against. A cursor that is
    none raises ValueError.
    """

    async def page(self, query: Query, now: float, limit: int, cursor: str | None) -> Found:
        """Up to ``limit`` tasks (500 at most), newest first."""

    async def tally(self, query: Query, now: float) -> Tally:
        """How many tasks match, by status."""

    async def overview(self, query: Query, now: float) -> Overview:
        """How many tasks match, and which."""

    async def pick(self, query: Query, now: float, limit: int, cursor: str | None) -> Picked:
        """Up to ``limit`` tasks (500 at most) for one of the operations below."""

    async def revive(self, tasks: Sequence[Handle], now: float) -> int:
        """Make those pending again that are final, as `Store.revive`; how many that were."""

    async def request_cancel(self, tasks: Sequence[Handle], now: float) -> Cancelled:
        """As `Store.request_cancel`, of many tasks."""

    async def discard(self, tasks: Sequence[Handle]) -> int:
        """Delete those that are final; how many that were."""

    async def handle(self, task_id: str) -> Handle | None:
        """One task, for the operations above."""

    async def errors(self, since: float, until: float, parts: int, limit: int) -> ErrorGroups:
        """Groups of the tasks that failed for good from ``since`` to ``until``.

        The ``limit`` groups with the newest failures; ``parts`` is the length of `trend`.
        """
