"""The queues of this instance, as the admin shows them."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field

from taskflow.admin.lane_models import QueueLimits, QueueList, QueueState
from taskflow.admin.values import moment
from taskflow.engine import Engine
from taskflow.gate import Gate, QueueConfig

#: So many queues are told of at once.
MOST_QUEUES = 200


@dataclass(slots=True)
class Live:
    """How many tasks are in memory, by queue."""

    running: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)


def count_live(engine: Engine) -> Live:
    """Count them; looks at each."""
    live = Live()
    for attempt in engine.dispatcher.live.values():
        (live.running if attempt.begun else live.waiting)[attempt.record.queue] += 1
    return live


def present_queues(engine: Engine) -> QueueList:
    """Those with limits first, then the fullest. Looks at every task in memory and every queue."""
    live = count_live(engine)
    on_disk: Counter[str] = Counter()
    blocked: Counter[str] = Counter()
    for (_, queue), waiting in engine.backlog.waiting.items():
        on_disk[queue] += waiting.count + waiting.blocked + waiting.parked
        blocked[queue] += waiting.blocked
    for queue in engine.gates:
        on_disk[queue] = engine.backlog.of_queue(queue)
    size = Counter(on_disk)
    size.update(live.running)
    size.update(live.waiting)
    order = ((queue not in engine.gates, -count, queue) for queue, count in size.items())
    return QueueList(
        items=[
            _present(engine, queue, live, on_disk[queue], blocked[queue])
            for _, _, queue in heapq.nsmallest(MOST_QUEUES, order)
        ],
        left_out=max(len(size) - MOST_QUEUES, 0),
    )


def present_queue(engine: Engine, name: str) -> QueueState:
    """One queue, whether there is anything in it or not."""
    live = count_live(engine)
    counted = [w for (_, queue), w in engine.backlog.waiting.items() if queue == name]
    blocked = sum(waiting.blocked for waiting in counted)
    return _present(engine, name, live, engine.backlog.of_queue(name), blocked)


def _present(engine: Engine, name: str, live: Live, on_disk: int, blocked: int) -> QueueState:
    gate = engine.gates.get(name)
    config = QueueConfig() if gate is None else gate.config
    configured = engine.controls.configured(name)
    running, waiting = live.running[name], live.waiting[name]
    opens_in = None if gate is None else seconds_to_open(engine, gate)
    return QueueState(
        name=name,
        concurrency=config.concurrency,
        max_size=config.max_size,
        rate=config.rate,
        paused=gate is not None and gate.paused,
        running=running,
        waiting=waiting + max(on_disk, 0),
        admitted=running + waiting,
        blocked=blocked,
        opens_at=None if opens_in is None else moment(engine.clock.now() + opens_in),
        configured=QueueLimits(
            concurrency=configured.concurrency, max_size=configured.max_size, rate=configured.rate
        ),
    )


def seconds_to_open(engine: Engine, gate: Gate) -> float | None:
    """Seconds until the rate lets one more task start; None if it does, or if it cannot tell."""
    opens_at = gate.opens_at
    if opens_at is None:
        return None
    seconds = opens_at - engine.clock.monotonic()
    return seconds if seconds > 0 else None
