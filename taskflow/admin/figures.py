"""Figures over all tasks, counted once a second at most however many ask."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from taskflow.admin.lane_models import Durations, DurationsOverTime, QueueList
from taskflow.admin.lanes import durations, summarise
from taskflow.admin.machine import is_limited_by_cgroup
from taskflow.admin.models import Metrics, Percentiles, StoreState
from taskflow.admin.queues import present_queues
from taskflow.engine import Engine
from taskflow.states import TaskStatus

T = TypeVar("T")

#: Seconds for which an answer is good.
FRESH = 1.0
#: Making values takes at most this share of the time: the store has other readers to serve.
SHARE = 0.1
#: The stretch of time, in seconds, and the number of tasks that percentiles are taken over.
WINDOW = 3600.0
MOST_TASKS = 10_000
#: Stretches of time for the throughput: the longest that is not too many tasks to count.
RECENT = (300.0, 60.0, 10.0, 1.0)


class Shared(Generic[T]):
    """A value that is costly to make: made for all who ask at a time, and kept for a while.

    That is ``keep`` seconds, or longer for a value that took longer than a tenth of that. A caller
    that goes away does not take the value from the others.
    """

    def __init__(
        self, make: Callable[[], Awaitable[T]], clock: Callable[[], float], keep: float = FRESH
    ) -> None:
        self._make = make
        self._clock = clock
        self._keep = keep
        self._making: asyncio.Task[T] | None = None
        self._made_at = -math.inf
        self._good_for = keep

    async def get(self) -> T:
        """The value; raises what making it raises."""
        if self._making is None or (self._making.done() and not self._is_good(self._making)):
            self._making = asyncio.create_task(self._run(), name="taskflow-figures")
        return await asyncio.shield(self._making)

    def _is_good(self, made: asyncio.Task[T]) -> bool:
        if made.cancelled() or made.exception() is not None:
            return False
        return self._clock() - self._made_at < self._good_for

    async def _run(self) -> T:
        began = self._clock()
        value = await self._make()
        self._made_at = self._clock()
        self._good_for = max(self._keep, (self._made_at - began) / SHARE)
        return value


@dataclass(frozen=True, slots=True)
class Measured:
    """How long things took."""

    #: By lane: waiting, and running.
    lanes: dict[str, tuple[DurationsOverTime, DurationsOverTime]]
    lag: Durations


class Figures:
    """The figures of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        monotonic = engine.clock.monotonic
        self._counted = Shared(self._count, monotonic)
        self.measured = Shared(self._measure, monotonic)
        # Fresh, unless there are so many that looking at them takes its time.
        self.queues = Shared(self._list_queues, monotonic, keep=0.0)

    @cached_property
    def cgroup(self) -> bool:
        """Whether this process may use less than the machine has."""
        return is_limited_by_cgroup()

    async def metrics(self) -> Metrics:
        """All figures; what is counted may be a second old or more, the rest is as it is now."""
        counted = await self._counted.get()
        return counted.model_copy(
            update={"superseded": self.engine.dispatcher.superseded, "store": self._store_state()}
        )

    def _store_state(self) -> StoreState:
        trouble = self.engine.outbox.trouble
        return StoreState(
            url=self.engine.store.url,
            ok=trouble is None,
            trouble=None if trouble is None else str(trouble),
        )

    async def _measure(self) -> Measured:
        engine = self.engine
        return Measured(
            lanes={name: durations(meter) for name, meter in engine.meters.items()},
            lag=summarise(engine.stalls.lag.recent),
        )

    async def _list_queues(self) -> QueueList:
        return present_queues(self.engine)

    async def _count(self) -> Metrics:
        engine = self.engine
        await engine.settle()
        now = engine.clock.now()
        counted = await engine.store.counts()
        hour = await engine.store.window(now - WINDOW, MOST_TASKS)
        throughput = await self._throughput(now)
        counts = {status: counted.get(status, 0) for status in TaskStatus}
        return Metrics(
            counts=counts,
            total=sum(counts.values()),
            success_rate=success_rate(counts),
            wait=percentiles(hour.waits),
            run=percentiles(hour.runs),
            throughput_per_minute=throughput,
            superseded=engine.dispatcher.superseded,
            store=self._store_state(),
        )

    async def _throughput(self, now: float) -> float:
        """Tasks ended a minute; above ``MOST_TASKS`` a second it is only known to be so many."""
        ended, span = 0, 1.0
        for span in RECENT:
            ended = (await self.engine.store.window(now - span, MOST_TASKS)).ended
            if ended < MOST_TASKS:
                break
        return round(ended * 60 / span, 3)


def success_rate(counts: dict[TaskStatus, int]) -> float | None:
    """The share of successes among the tasks that came to an end by themselves; None for none."""
    good = counts[TaskStatus.SUCCESS]
    ended = good + counts[TaskStatus.FAILED] + counts[TaskStatus.INTERRUPTED]
    return round(good / ended, 6) if ended else None


def percentiles(values: Sequence[float]) -> Percentiles:
    """The median, the 95th and the 99th percentile by nearest rank; all None for no values."""
    ordered = sorted(values)
    return Percentiles(
        p50=nearest_rank(ordered, 50), p95=nearest_rank(ordered, 95), p99=nearest_rank(ordered, 99)
    )


def nearest_rank(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that at least ``percent`` (1 to 100) of all do not exceed."""
    if not ordered:
        return None
    return round(ordered[-(-percent * len(ordered) // 100) - 1], 6)
