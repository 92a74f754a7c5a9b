"""What the admin answers, as types. Times are ISO 8601 in UTC, durations are seconds."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, PlainSerializer, WithJsonSchema

from taskflow.states import TaskStatus

#: Always with microseconds and ``+00:00``, so that texts sort as times do.
Moment = Annotated[
    datetime,
    PlainSerializer(lambda value: value.isoformat(timespec="microseconds"), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class LogEntry(BaseModel):
    """One line a task wrote about itself."""

    at: Moment
    level: str
    message: str
    attempt: int


class Task(BaseModel):
    """A task."""

    task_id: str
    func_name: str
    status: TaskStatus
    lane: str
    queue: str
    priority: int
    created_at: Moment
    run_at: Moment | None
    start_time: Moment | None
    end_time: Moment | None
    #: Seconds from start to end, or from start to now while it runs.
    duration: float | None
    attempts: int
    max_attempts: int
    crashes: int
    timeout: float | None
    error: str | None
    stacktrace: str | None
    result_error: str | None
    logs: list[LogEntry]
    progress: Any
    tags: dict[str, str] | list[str]
    idempotency_key: str | None
    #: What its function made of the arguments: only so many tasks with the same run at a time.
    concurrency_key: str | None
    source: str
    instance: str | None


class Execution(BaseModel):
    """One execution of a task, the current one included."""

    #: Counted from 1, also over executions that cost no attempt.
    number: int
    started_at: Moment
    ended_at: Moment | None
    duration: float
    outcome: str
    error: str | None
    stacktrace: str | None
    instance: str | None


class WaitingFor(BaseModel):
    """Why a task does not run yet."""

    #: The first of the reasons that ``text`` gives. ``lane``: it waits for a slot; ``brake``: its
    #: lane starts nothing; ``queue`` and ``rate``: the limits of its queue; ``key``: other tasks
    #: with its concurrency key hold all places; ``store``: the store takes no writes.
    reason: Literal[
        "scheduled",
        "retry",
        "lane",
        "brake",
        "queue",
        "rate",
        "key",
        "store",
        "elsewhere",
        "unknown function",
    ]
    #: When it will move on, where that is known.
    until: Moment | None
    text: str
    lane: str
    queue: str
    #: The instance that holds it, if one does.
    instance: str | None
    #: Ids of tasks that hold the places of its key; at most 5.
    held_by: list[str]


class TaskDetail(Task):
    """A task with everything that is known about it."""

    #: ``{"args": [...], "kwargs": {...}}``; long values are cut.
    arguments: Any
    result: Any
    #: Oldest first.
    history: list[Execution]
    waiting_for: WaitingFor | None


class TaskList(BaseModel):
    """A page of tasks, newest first."""

    items: list[Task]
    #: Give it as ``cursor`` for the next page; null on the last.
    next_cursor: str | None
    #: Set if the search for a query gave up here: older tasks were not looked at yet, the next page
    #: goes on with them.
    searched_to: Moment | None = None


class Percentiles(BaseModel):
    """Seconds; null without data."""

    p50: float | None
    p95: float | None
    p99: float | None


class StoreState(BaseModel):
    """Whether the store takes writes."""

    url: str
    ok: bool
    trouble: str | None


class Metrics(BaseModel):
    """Figures over all stored tasks; those about time over the last hour's, at most 10,000."""

    counts: dict[TaskStatus, int]
    total: int
    #: Of the tasks that came to an end by themselves; null if there are none.
    success_rate: float | None
    wait: Percentiles
    run: Percentiles
    #: Tasks ended a minute, over the last five minutes, or less where more than 10,000 ended.
    throughput_per_minute: float
    #: Writes of this instance that were refused because another instance held the task.
    superseded: int
    store: StoreState


class Problem(BaseModel):
    """Why a request was not obeyed."""

    detail: str
