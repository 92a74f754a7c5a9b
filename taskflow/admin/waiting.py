"""Why a task does not run yet, in a sentence and in fields. Pure.

A task that waits is in the way of one thing or of several at a time: all of them are told, the one
that is the task's own before that of its queue, and that before the lane's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from taskflow.admin.models import WaitingFor
from taskflow.admin.present import own_key
from taskflow.admin.values import moment, moment_or_none
from taskflow.record import TaskRecord
from taskflow.states import TaskStatus

#: So many holders of a key are named.
MOST_NAMED = 3
#: What a lane's brakes are called here where their own words say too little.
_BRAKES = {"paused": "paused", "draining": "stopping", "stopped": "stopping"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneFacts:
    """The lane of the task, in this instance."""

    limit: int
    running: int
    #: Tasks that wait in memory.
    waiting: int
    #: Why it starts nothing now, as the lane says it.
    brakes: tuple[str, ...] = ()
    #: Why it takes no work at all, "" if it does.
    refusing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """The queue of the task in this instance, if it has limits."""

    paused: bool = False
    concurrency: int | None = None
    rate: str | None = None
    #: Tasks of the queue that run, and those that wait in memory for their lane.
    running: int = 0
    admitted: int = 0
    #: Seconds until the rate lets another one start; None if it says nothing against that, or if
    #: that cannot be told.
    opens_in: float | None = None
    #: Whether the rate is in the way.
    rate_is_used_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What this instance knows about a task and the place where it would run."""

    #: Seconds since the epoch.
    now: float
    instance: str
    #: Whether the function of the task is known here.
    known: bool
    #: None if there is no such lane here.
    lane: LaneFacts | None
    #: None if the queue has no limits.
    queue: QueueFacts | None = None
    #: (task_id, func_name) of the tasks that hold the places of its key, if all are held.
    holders: tuple[tuple[str, str], ...] = ()
    #: Why the store takes no writes, if it does not.
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing in the way. ``text`` goes on where "waits" ends."""

    reason: str
    text: str
    until: float | None = None


def explain(record: TaskRecord, facts: Facts) -> WaitingFor | None:
    """What ``record`` waits for; None if it does not wait."""
    match record.status:
        case TaskStatus.SCHEDULED:
            return _tell(record, [_timed(record, facts.now, "scheduled", "its time")])
        case TaskStatus.RETRYING:
            attempt = f"attempt {record.attempt + 1} of {record.max_attempts}"
            return _tell(record, [_timed(record, facts.now, "retry", attempt)])
        case TaskStatus.PENDING:
            return _pending(record, facts)
        case _:
            return None


def _timed(record: TaskRecord, now: float, reason: str, what: str) -> Obstacle:
    text = f" for {what}"
    if record.run_at is not None:
        text += f", {moment(record.run_at):%Y-%m-%d %H:%M:%S} UTC"
        if record.run_at <= now:
            text += ", which has come: it is about to go on"
    return Obstacle(reason, text, record.run_at)


def _pending(record: TaskRecord, facts: Facts) -> WaitingFor:
    if record.owner is not None and record.owner != facts.instance:
        text = f" in the {record.lane} lane of another instance, {record.owner}"
        return _tell(record, [Obstacle("elsewhere", text)], instance=record.owner)
    if facts.lane is None or not facts.known:
        text = (
            f" for an instance that knows {record.func_name!r}: this one does not; was the "
            "function renamed or removed?"
        )
        return _tell(record, [Obstacle("unknown function", text)])
    in_memory = record.owner is not None
    obstacles = list(_obstacles(record, facts, facts.lane, in_memory=in_memory))
    return _tell(
        record,
        obstacles or [_slot(record.lane, facts.lane, in_memory=in_memory)],
        instance=record.owner,
        held_by=[task_id for task_id, _ in facts.holders],
    )


def _obstacles(
    record: TaskRecord, facts: Facts, lane: LaneFacts, *, in_memory: bool
) -> Iterator[Obstacle]:
    if facts.trouble is not None:
        yield Obstacle("store", f": the store takes no writes: {facts.trouble}")
    if not in_memory:
        if facts.holders:
            yield _key(record, facts.holders)
        if facts.queue is not None:
            yield from _queue(record.queue, facts.queue, facts.now)
    if lane.refusing:
        yield Obstacle("brake", f": the {record.lane} lane takes no work: {lane.refusing}")
    elif lane.brakes:
        words = dict.fromkeys(_BRAKES.get(brake, brake) for brake in lane.brakes)
        yield Obstacle("brake", f": the {record.lane} lane is {' and '.join(words)}")


def _key(record: TaskRecord, holders: tuple[tuple[str, str], ...]) -> Obstacle:
    named = ", ".join(f"{task_id} ({name})" for task_id, name in holders[:MOST_NAMED])
    more = " and more" if len(holders) > MOST_NAMED else ""
    tasks = "task" if len(holders) == 1 else "tasks"
    return Obstacle("key", f" for key {own_key(record)!r}, held by {tasks} {named}{more}")


def _queue(name: str, queue: QueueFacts, now: float) -> Iterator[Obstacle]:
    if queue.paused:
        yield Obstacle("queue", f": queue {name!r} is paused")
    if queue.concurrency is not None and queue.admitted >= queue.concurrency:
        text = f": queue {name!r} runs {queue.running} of {queue.concurrency}"
        waiting = queue.admitted - queue.running
        if waiting > 0:
            text += f", and {waiting} more {'is' if waiting == 1 else 'are'} about to start"
        yield Obstacle("queue", text)
    if queue.rate_is_used_up:
        text = f" for the rate of queue {name!r} ({queue.rate})"
        if queue.opens_in is None:
            yield Obstacle("rate", text)
        else:
            yield Obstacle("rate", f"{text}, free in {queue.opens_in:.1f} s", now + queue.opens_in)


def _slot(name: str, lane: LaneFacts, *, in_memory: bool) -> Obstacle:
    if lane.running < lane.limit:
        how = "to be started by" if in_memory else "on disk to be taken by"
        return Obstacle("lane", f" {how} the {name} lane ({lane.running} of {lane.limit} run)")
    text = f" for a slot of the {name} lane ({lane.running} of {lane.limit} run)"
    if in_memory:
        return Obstacle("lane", f"{text}, one of {lane.waiting} in memory")
    return Obstacle("lane", f"{text}, on disk behind the {lane.waiting} in memory")


def _tell(
    record: TaskRecord,
    obstacles: list[Obstacle],
    *,
    instance: str | None = None,
    held_by: list[str] | None = None,
) -> WaitingFor:
    first = obstacles[0]
    return WaitingFor.model_validate(
        {
            "reason": first.reason,
            "until": moment_or_none(first.until),
            "text": "waits" + "; also".join(obstacle.text for obstacle in obstacles),
            "lane": record.lane,
            "queue": record.queue,
            "instance": instance,
            "held_by": held_by or [],
        }
    )
