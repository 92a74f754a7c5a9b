"""What taskflow needs of a store: the durable queue and the schedules, in some forty operations.

A store never decides. It writes rows as they are handed to it, refuses a write whose lease is no
longer held, and says so. Every operation may be repeated after an error whose outcome is unknown.
Every method that depends on time is given ``now``, in seconds since the epoch.

Errors are those of `taskflow.errors`: `StoreUnavailableError` (come again later: locked, full,
away) and `StoreError` (will not heal by itself).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
from taskflow.schedules.rows import Fired, Firing, FiringRow, ScheduleRow
from taskflow.states import TaskStatus
from taskflow.stores.annals import Annals
from taskflow.stores.news import News
from taskflow.stores.search import TaskSearch


@dataclass(slots=True, frozen=True)
class TakenOver:
    """What became of the tasks of an instance that died."""

    handed_back: int
    interrupted: int
    failed: int
    #: Cancelled on request, or freed in any other state.
    others: int = 0


@dataclass(slots=True, frozen=True)
class Claimed:
    """What a claim took, and what it left."""

    #: In the order in which they are to start.
    tasks: list[TaskRecord]
    #: Queues of the lane that still have tasks on disk which may be claimed, those that the claim
    #: was not allowed to take included: the highest priority among them.
    left: dict[str, int]


@dataclass(slots=True, frozen=True)
class Waiting:
    """The pending tasks of one queue in one lane that nobody owns."""

    #: How many may be claimed.
    count: int
    #: Since when the longest waiting of these two could have run (the later of ``created_at`` and
    #: ``run_at``): the first arrival of the highest priority and the first of the lowest. Where
    #: none may be claimed, of the first arrival among those that are held up.
    oldest: float
    #: How many are held up by their concurrency key.
    blocked: int = 0
    #: How many are parked, because no function of their name is known.
    parked: int = 0


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
    #: What people look for, look back at, and look on.
    search: TaskSearch
    annals: Annals
    news: News

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

        New tasks with a concurrency key have no owner: only a claim counts who may run. An update
        that takes the owner away lets the next one with the key be claimed, and answers a request
        to cancel, see `request_cancel`; it counts as applied all the same.
        """

    async def claim(
        self,
        lane: str,
        limit: int,
        names: Collection[str],
        now: float,
        *,
        places: Mapping[str, int] | None = None,
        above: int | None = None,
    ) -> Claimed:
        """Take up to ``limit`` pending tasks of ``lane`` that nobody owns, and return them.

        Order over all queues: priority, then arrival. They are owned by this instance afterwards,
        with a lease one higher. Of a queue named in ``places`` at most so many are taken, and none
        at all from 0 down. With ``above``, only tasks of a higher priority.

        Tasks whose function is not in ``names`` are parked: marked, shown, and out of the way until
        an instance that knows the name calls `unpark`. A task with a concurrency key is taken only
        while fewer than its ``key_limit`` tasks with that key are owned by anybody, those taken by
        this claim included. Otherwise it is blocked: out of the way until a task with that key
        loses its owner, which lets the next one (priority, arrival) be claimed again.

        `Claimed.left` is true of the moment of the claim. A claim looks past a bounded number of
        tasks that it cannot take; when it gives up there, ``left`` names the queue it had not come
        to the end of.
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
        ``rerun`` is false, and failed from ``max_crashes`` crashes on. What would go on is
        cancelled if somebody has asked for that.
        """

    async def cancel(self, task_id: str, now: float) -> TaskStatus | None:
        """Cancel a waiting task that nobody owns; its status afterwards, None if unknown."""

    async def request_cancel(self, task_id: str, now: float) -> TaskStatus | None:
        """As `cancel`; for a task that is owned, by anybody, a request is left beside it.

        Its owner finds that by `cancel_requests`. Should the task lose its owner without having
        become final (a retry, a stop, a death), it is cancelled in the same transaction, and not
        claimed again. A task that becomes final first stays what it became. Either way the request
        is gone then.
        """

    async def cancel_requests(self) -> list[str]:
        """The ids of the tasks this instance owns that somebody asked to cancel. Cheap."""

    async def revive(self, task_id: str, now: float) -> TaskStatus | None:
        """Make a final task pending again with a fresh budget of attempts; its status before."""

    async def prune(self, before: Mapping[TaskStatus, float], limit: int) -> int:
        """Delete up to ``limit`` final tasks that ended before the time given for their status."""

    async def set_control(self, kind: str, name: str, value: str | None, now: float) -> None:
        """Keep what people set for the lane or queue ``name`` at run time; None removes it.

        ``kind`` is ``lane`` or ``queue``, ``value`` is JSON. The last one to write wins.
        """

    async def controls(self) -> dict[tuple[str, str], str]:
        """Everything that `set_control` keeps, by kind and name."""

    async def changed(self) -> bool:
        """Whether another instance has written since the last call. Cheap; may err towards True."""

    async def get(self, task_id: str) -> TaskRecord | None: ...

    async def attempts(self, task_id: str) -> list[AttemptRecord]: ...

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """The first ``limit`` lines, oldest first."""

    async def key_holders(self, key: str) -> list[tuple[str, str]]:
        """(task_id, func_name) of tasks with this concurrency key that are owned; at most 5."""

    async def counts(self) -> dict[TaskStatus, int]: ...

    async def backlog(self) -> dict[tuple[str, str], Waiting]:
        """The pending tasks nobody owns, by lane and queue."""

    async def window(self, since: float, limit: int) -> Window:
        """Figures over the last ``limit`` tasks that ended since then."""

    # -- schedules: who changes one while others fire it, makes their wishes void -------------

    async def fire(self, firings: Sequence[Firing]) -> list[Fired]:
        """Make tasks of up to 500 wishes, each slot of a schedule once; what became of each.

        One durable transaction, in the order given. Only `Fired.FIRED` makes a task, which is the
        last of its schedule then; it and `Fired.OVERLAPS` are kept as history, and move the cursor
        to their slot (but not at a start or by hand). Where several reasons forbid it, the first of
        this list is told: no such schedule (`CHANGED`), paused (not by hand), changed, a sibling,
        taken, overlaps. What was done before an unknown outcome is `TAKEN` when it is repeated.

        A sibling is another registered instance. Text that cannot be stored is escaped; any other
        value that the store refuses (a None where there must be none) fails all wishes.
        """

    async def declare_schedules(self, declared: Sequence[tuple[str, str, str]], now: float) -> None:
        """Keep what code declares: (name, func_name, JSON), any number of them.

        What is there with the same function and text stays untouched. What differs, or was added
        at run time, gets a new version and counts its slots from ``now``; what people changed and
        paused stays.
        """

    async def add_schedule(self, name: str, func_name: str, declared: str, now: float) -> bool:
        """Add one at run time; False, and nothing is done, if the name exists."""

    async def change_schedule(
        self, name: str, changes: str | None, version: int, cursor: float | None
    ) -> bool:
        """Set what people changed; slots count from ``cursor`` unless it is None.

        False, and nothing is done, if there is no such schedule or it has another version.
        """

    async def pause_schedule(self, name: str, by: str, now: float) -> bool:
        """Pause it; who paused first is kept. False: no such schedule."""

    async def resume_schedule(self, name: str, now: float) -> bool:
        """Go on from ``now``: what fell into the pause was not missed. False: no such schedule.

        One that is not paused is left alone.
        """

    async def remove_schedule(self, name: str) -> bool:
        """Remove it with its firings; tasks stay. False: no such schedule."""

    async def schedules(self) -> list[ScheduleRow]:
        """All of them, by name."""

    async def schedule(self, name: str) -> ScheduleRow | None: ...

    async def schedules_stamp(self) -> tuple[int, int]:
        """Differs from an earlier one if any schedule was changed since, but by firing. Cheap."""

    async def firings(self, name: str, limit: int) -> list[FiringRow]:
        """The last ``limit`` firings, newest first."""

    async def prune_firings(self, before: float, keep: int, limit: int) -> int:
        """Delete up to ``limit`` firings from before, but none of the ``keep`` newest of each."""

    # -- tasks that are there once for a key -------------------------------------------------

    async def put_once(self, key: str, record: TaskRecord, now: float) -> tuple[str, bool]:
        """The task of ``key`` from now on: its id, and whether it replaced one that waited.

        A task of the key that is scheduled or pending, never attempted and nobody's becomes what
        ``record`` says, but keeps its id and ``created_at``. Otherwise ``record`` is inserted. May
        be repeated with the same ``record.task_id``. Pruning the task frees the key.
        """

    async def cancel_once(self, key: str, now: float) -> str | None:
        """Cancel the task of ``key`` if it is scheduled or pending and nobody's; its id then."""

    async def scheduled(self, limit: int) -> list[tuple[TaskRecord, str | None]]:
        """The first ``limit`` scheduled tasks by ``run_at``, each with its key or None."""

    async def list(self, query: TaskFilter) -> Page: ...
