"""What is stored of a task: plain values, the same for every store.

Times are seconds since the epoch (UTC), durations are seconds. Text that users wrote is kept as
text and never interpreted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter

from taskflow.states import TaskStatus


@dataclass(slots=True, eq=False)
class TaskRecord:
    """One durable request to run a function, as its row.

    ``lease`` and ``owner`` are the fence: a store applies a write only while both still match.
    ``lease`` grows each time somebody takes the task over and never goes back. ``attempt`` counts
    the attempts that cost something: an attempt cut short by a stop or a crash of the instance
    gives its number back.
    """

    task_id: str
    func_name: str
    lane: str
    created_at: float
    status: TaskStatus = TaskStatus.PENDING
    #: JSON: ``{"args": [...], "kwargs": {...}}``, without the empty ones; "" for no arguments.
    args: str = ""
    queue: str = "default"
    priority: int = 0
    run_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 0
    max_attempts: int = 1
    #: How often the instance or the worker process died under this task.
    crashes: int = 0
    timeout: float | None = None
    at_most_once: bool = False
    idempotency_key: str | None = None
    #: At most ``key_limit`` tasks with the same key run at a time, on all instances together.
    concurrency_key: str | None = None
    key_limit: int = 1
    #: JSON object of labels, or None.
    tags: str | None = None
    source: str = "request"
    #: The instance that ran it last.
    instance: str | None = None
    owner: str | None = None
    lease: int = 0
    error: str | None = None
    stacktrace: str | None = None
    #: JSON of the returned value, or None.
    result: str | None = None
    result_error: str | None = None
    #: JSON ``{"done": .., "total": .., "message": ..}``, or None.
    progress: str | None = None
    #: Of a task that failed for good, see `taskflow.fingerprint`.
    fingerprint: str | None = None


#: Every column, in the order of `insert_row`.
COLUMNS = tuple(TaskRecord.__dataclass_fields__)
#: What an attempt may change, in the order of `update_row` after its three fence values.
CHANGING = (
    "status", "run_at", "started_at", "ended_at", "attempt", "max_attempts", "crashes", "instance",
    "owner", "error", "stacktrace", "result", "result_error", "progress",
    "fingerprint",
)  # fmt: skip

#: Where a value of a record is of a subclass of what is stored, the plain value inside of it:
#: `sqlite3` looks for adapters at each value that is not exactly a str or an int, for longer than
#: all the rest of binding it takes.
_PLAIN = {"status": "status._value_", "at_most_once": "at_most_once.real"}

#: All columns of a record as a tuple of plain values, at the speed of C.
insert_row = attrgetter(*(_PLAIN.get(name, name) for name in COLUMNS))
#: (task_id, lease, *CHANGING) of a record.
update_row = attrgetter("task_id", "lease", *(_PLAIN.get(name, name) for name in CHANGING))


@dataclass(slots=True, frozen=True)
class AttemptRecord:
    """One execution that was followed by another; the last one lives in the task's own row."""

    task_id: str
    #: Executions of this task counted from 1, including those that cost no attempt.
    number: int
    started_at: float
    ended_at: float
    #: ``failed``, ``timed out``, ``snoozed``, ``handed back``, ``crashed``
    outcome: str
    error: str | None
    stacktrace: str | None
    instance: str | None


@dataclass(slots=True, frozen=True)
class LogLine:
    """One line a task wrote about itself."""

    task_id: str
    attempt: int
    at: float
    level: str
    message: str


@dataclass(slots=True)
class Batch:
    """Everything that gathered since the last commit; one transaction.

    ``inserts`` are rows of `insert_row`, ``keyed`` the same for tasks with an idempotency key,
    ``updates`` rows of `update_row`: they apply only where owner and lease still match.
    """

    inserts: list[tuple[object, ...]] = field(default_factory=list)
    keyed: list[tuple[object, ...]] = field(default_factory=list)
    updates: list[tuple[object, ...]] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.inserts or self.keyed or self.updates or self.attempts or self.logs)


@dataclass(slots=True, frozen=True)
class Committed:
    """What a commit did beyond what was asked."""

    #: Ids of ``keyed`` tasks that were there already and were left alone.
    duplicates: frozenset[str] = frozenset()
    #: Ids of updates refused by the fence: somebody else holds these tasks now.
    refused: frozenset[str] = frozenset()
    #: ``keyed`` tasks that replaced one that came to nothing: id -> (lease, attempt, max_attempts)
    #: as they are stored now.
    revived: dict[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class TaskFilter:
    """Which tasks a list shows. ``q``: a part of the function's name, or how an id begins."""

    q: str | None = None
    status: TaskStatus | None = None
    limit: int = 50
    #: Opaque position of the last task of the page before, from `Page.next_cursor`.
    cursor: str | None = None


@dataclass(slots=True, frozen=True)
class Page:
    """A page of tasks, newest first."""

    items: list[TaskRecord]
    next_cursor: str | None
