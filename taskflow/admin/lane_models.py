"""What the admin answers about lanes, queues and the machine, and what it takes to change them.

Times are ISO 8601 in UTC, durations are seconds, memory is bytes, CPU is percent of one core unless
it says otherwise.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from taskflow.admin.models import Moment


class Durations(BaseModel):
    """How long something took, in seconds; null without data. Quantiles are up to 5 % off."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class DurationsOverTime(BaseModel):
    """The same over the last minute or so, and since the app started."""

    last_minute: Durations
    since_start: Durations


class Worker(BaseModel):
    """A worker process of the cpu lane. What psutil tells of it is null until it was looked at."""

    pid: int
    started_at: Moment
    #: Seconds since then.
    age: float
    calls_done: int
    busy: bool
    #: The task that it runs now.
    task_id: str | None
    func_name: str | None
    cpu_percent: float | None
    rss: int | None
    threads: int | None


class LaneState(BaseModel):
    """A lane of this instance, now. What is counted on disk may be a second old."""

    name: str
    #: Where its calls run: ``event loop``, ``threads`` or ``processes``.
    kind: str
    #: Slots: those in force, and those of the settings.
    limit: int
    configured_limit: int
    #: Places in the waiting room, and how many more tasks slots and room take.
    room: int
    free: int
    running: int
    #: Tasks that wait in memory, and those on disk that no instance has taken yet ...
    waiting: int
    backlog: int
    #: ... of which so many are held up by their concurrency key, or by nobody knowing the function.
    blocked: int
    parked: int
    #: For how long the oldest of all these could have run.
    oldest_age: float | None
    #: Whether a person paused it.
    paused: bool
    #: All reasons why nothing starts now, such as ``paused``.
    brakes: list[str]
    #: Why it takes no work at all.
    refusing: str | None
    #: From when a task could have run to its start.
    wait: DurationsOverTime
    #: Of attempts.
    run: DurationsOverTime
    #: Attempts that ended a second, over the last minute.
    throughput: float
    #: Since the start: tasks refused for want of room, and attempts that ended in such a way.
    rejected: int
    timed_out: int
    crashed: int
    failed: int
    #: Threads that run a call which was given up, and how many there may be; only of threads.
    stuck: int | None
    max_stuck: int | None
    #: Coroutines that go on although they were cancelled; only of the event loop.
    strays: int | None
    #: Only of processes.
    workers: list[Worker] | None


class QueueLimits(BaseModel):
    """The limits of a queue, each for every instance by itself; null means none."""

    concurrency: int | None
    max_size: int | None
    rate: str | None


class QueueState(QueueLimits):
    """A queue, as this instance has it. What is counted on disk may be a second old."""

    name: str
    #: Whether a person paused it.
    paused: bool
    running: int
    #: Tasks that wait, in memory and on disk.
    waiting: int
    #: Tasks in memory: those that run, and those that wait there.
    admitted: int
    #: Tasks on disk that are held up by their concurrency key.
    blocked: int
    #: When the rate lets the next task start, if that is what is missing.
    opens_at: Moment | None
    #: The limits as the code has them.
    configured: QueueLimits


class QueueList(BaseModel):
    """The queues that have limits or tasks: those with limits first, then the fullest."""

    items: list[QueueState]
    #: How many more there are.
    left_out: int


class AppState(BaseModel):
    """The process of the app. What psutil tells of it is null until it was looked at."""

    pid: int
    cpu_percent: float | None
    rss: int | None
    threads: int | None
    #: Open files and sockets.
    fds: int | None


class HostState(BaseModel):
    """What this process may use of the machine, and how much of that is in use by whomever."""

    cpus: int
    #: Of all that may be used, 0 to 100.
    cpu_percent: float | None
    #: Over 1, 5 and 15 minutes.
    load: list[float] | None
    memory_limit: int
    memory_used: int
    memory_percent: float
    #: Whether a cgroup (a container, a systemd unit) allows less than the machine has.
    cgroup: bool


class StallState(BaseModel):
    """A time in which the event loop did one thing only."""

    at: Moment
    duration: float
    #: What it did, and where that belongs instead.
    culprit: str
    hint: str
    #: The share of the time that it spent on a processor; about 0 is a blocking call.
    cpu_share: float
    #: Where it was; the innermost call is the last.
    stack: str


class LoopState(BaseModel):
    """How late the event loop answers."""

    lag: Durations
    #: A stall that is recorded is longer than this; null if none is.
    stall_threshold: float | None
    #: The last ones, newest first.
    stalls: list[StallState]


class LaneList(BaseModel):
    """The lanes and the queues of this instance, and the machine under them."""

    instance: str
    items: list[LaneState]
    queues: QueueList
    app: AppState
    #: Null until it was looked at.
    host: HostState | None
    loop: LoopState


class Change(BaseModel):
    """Values to change; those that are not named stay as they are."""

    # Strict: true is no number, and "4" is none either.
    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"give at least one of {', '.join(type(self).model_fields)}")
        return self

    def given(self) -> dict[str, Any]:
        """What was named, null included."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class LaneChange(Change):
    """Changes of a lane; null means as configured."""

    #: Slots.
    limit: int | None = None
    paused: bool | None = None


class QueueChange(Change):
    """Changes of a queue; null means as configured."""

    #: How many of its tasks run at a time.
    concurrency: int | None = None
    #: How many may be pending; more are refused.
    max_size: int | None = None
    #: How many start in a time: ``10/s``, ``100/min``, ``5/10s``.
    rate: Annotated[str, Field(max_length=100)] | None = None
    paused: bool | None = None
