"""Gathers what this instance knows about why a task waits."""

from __future__ import annotations

from taskflow.admin.queues import seconds_to_open
from taskflow.admin.waiting import Facts, LaneFacts, QueueFacts
from taskflow.engine import Engine
from taskflow.record import TaskRecord
from taskflow.states import TaskStatus

#: `Store.key_holders` names at most so many.
MOST_HOLDERS = 5


async def gather(engine: Engine, record: TaskRecord) -> Facts:
    """What there is to know; asks the store only for who holds a concurrency key."""
    trouble = engine.outbox.trouble
    holders = await _holders(engine, record)
    lane = engine.lanes.get(record.lane)
    return Facts(
        now=engine.clock.now(),
        instance=engine.instance,
        known=engine.registry.find(record.task_id, record.func_name) is not None,
        lane=None
        if lane is None
        else LaneFacts(
            limit=lane.limit,
            running=lane.running,
            waiting=lane.waiting,
            brakes=lane.brakes,
            refusing=lane.refusing,
        ),
        queue=_queue(engine, record),
        holders=holders,
        trouble=None if trouble is None else str(trouble),
    )


async def _holders(engine: Engine, record: TaskRecord) -> tuple[tuple[str, str], ...]:
    """Who holds the places of the task's key; nobody if there is a place left."""
    key = record.concurrency_key
    if key is None or record.owner is not None or record.status is not TaskStatus.PENDING:
        return ()
    holders = await engine.store.key_holders(key)
    if len(holders) < min(record.key_limit, MOST_HOLDERS):
        return ()
    if record.key_limit > MOST_HOLDERS:
        # Not all holders are named, so that whether there is a place has to be told from the count
        # of those who found none.
        counted = engine.backlog.waiting.get((record.lane, record.queue))
        if counted is None or not counted.blocked:
            return ()
    return tuple(holders)


def _queue(engine: Engine, record: TaskRecord) -> QueueFacts | None:
    gate = engine.gates.get(record.queue)
    if gate is None:
        return None
    limit = gate.config.concurrency
    opens_in = seconds_to_open(engine, gate)
    # The rate names no time where something else is in the way, or where tasks that have not
    # started yet hold all its places.
    is_full = gate.paused or (limit is not None and gate.admitted >= limit)
    is_promised = gate.config.rate is not None and not is_full and gate.opens_at is None
    return QueueFacts(
        paused=gate.paused,
        concurrency=limit,
        rate=gate.config.rate,
        running=gate.admitted - gate.unstarted,
        admitted=gate.admitted,
        opens_in=opens_in,
        rate_is_used_up=opens_in is not None or is_promised,
    )
