"""Takes tasks that wait on disk, in order of priority, as lanes and queues have room for them."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from executors.base import Lane
from taskflow.backlog import Backlog
from taskflow.clock import Clock
from taskflow.errors import StoreError
from taskflow.gate import Gate
from taskflow.record import TaskRecord
from taskflow.registry import Registry
from taskflow.stores.base import Claimed, Store

log = logging.getLogger(__name__)

#: At most so many tasks are taken from the store at once.
MOST_CLAIMED = 500
#: At most so many that wait in a lane give way to more important ones at once.
MOST_DISPLACED = 50

#: Below every priority.
_LOWEST = -(2**63)

#: What waits on disk for one lane: queue -> the highest priority there.
Left = dict[str, int]


class Fetch(Protocol):
    """`taskflow.admission.Admission.fetch`."""

    def __call__(self, record: TaskRecord, *, in_lane: bool) -> bool: ...


class Puller:
    """Knows what may wait on disk for which lane, and fetches it.

    ``launch`` gets each task that was taken and has its places in lane and gate; whether it has, or
    went back to disk, is for ``fetch`` to say. ``settle`` returns when what was decided so far is
    committed. ``idle`` is called when a round of pulling is over.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        gates: Mapping[str, Gate],
        backlog: Backlog,
        registry: Registry,
        store: Store,
        clock: Clock,
        *,
        launch: Callable[[TaskRecord], None],
        fetch: Fetch,
        settle: Callable[[], Awaitable[None]],
        idle: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._gates = gates
        self._backlog = backlog
        self._registry = registry
        self._store = store
        self._clock = clock
        self._launch = launch
        self._fetch = fetch
        self._settle = settle
        self._idle = idle
        #: Lanes that may have tasks on disk of which nothing is known ...
        self._suspected: set[str] = set()
        #: ... and what was there for certain when this was last looked at, or came since.
        self._left: dict[str, Left] = {name: {} for name in lanes}
        #: What came to disk during the round under way, which may have been too early to see it.
        self._news: dict[str, Left] = {name: {} for name in lanes}
        #: What will be on disk with the next commit.
        self._coming: dict[tuple[str, str], int] = {}
        #: Lanes that tasks of a lane were stored under, because their function was moved.
        self.former_lanes: dict[str, set[str]] = {}
        self._announcing: asyncio.Task[None] | None = None
        self._rounds: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._open = False

    def start(self) -> None:
        """From now on take what waits on disk."""
        self._open = True
        self.expect_all()

    async def stop(self, timeout: float) -> None:
        """Take nothing more; a round under way ends within ``timeout`` seconds."""
        self._open = False
        for timer in self._timers.values():
            timer.cancel()
        under_way = list(self._rounds.values())
        if self._announcing is not None:
            under_way.append(self._announcing)
        if under_way:
            await asyncio.wait(under_way, timeout=timeout)

    @property
    def busy(self) -> bool:
        """Whether something is being taken, or is or may be there to take."""
        waits = bool(self._suspected) or any(self._left.values())
        return bool(self._rounds) or self._announcing is not None or (self._open and waits)

    # -- what is on disk -------------------------------------------------------------------

    def may_overtake(self, lane: str, queue: str, priority: int) -> bool:
        """Whether a new task may enter the lane before everything that waits on disk for it."""
        left = self._left[lane]
        return not left or not any(
            top >= priority and (other == queue or self._is_open(other))
            for other, top in left.items()
        )

    def expect(self, lane: str, queue: str, priority: int) -> None:
        """A task of this kind is on disk."""
        for known in (self._left[lane], self._news[lane]):
            known[queue] = max(known.get(queue, priority), priority)
        self._pull(lane)

    def expect_later(self, record: TaskRecord) -> None:
        """This one will be on disk with the next commit."""
        place = record.lane, record.queue
        self._coming[place] = max(self._coming.get(place, record.priority), record.priority)
        left = self._left[record.lane]
        left[record.queue] = max(left.get(record.queue, record.priority), record.priority)
        if self._announcing is None:
            self._announcing = asyncio.create_task(self._announce(), name="taskflow-announce")
            self._announcing.add_done_callback(self._announced)

    async def _announce(self) -> None:
        while self._coming:
            coming, self._coming = self._coming, {}
            await self._settle()
            for (lane, queue), priority in coming.items():
                # The next one with the same key may be in another queue, and a row may still name
                # the lane that its function was in before a deploy.
                self._suspected.add(lane)
                self.expect(lane, queue, priority)
                for former in self.former_lanes.get(lane, ()):
                    self.suspect(former)

    def _announced(self, announcing: asyncio.Task[None]) -> None:
        self._announcing = None
        if not announcing.cancelled() and (error := announcing.exception()) is not None:
            log.warning("tasks that were put back are looked for later: %s", error)
            self.expect_all()
        self._idle()

    def expect_all(self) -> None:
        """There may be something on disk for any lane."""
        for name in self._lanes:
            self.suspect(name)

    def suspect(self, lane: str) -> None:
        """There may be something on disk for this lane."""
        self._suspected.add(lane)
        self._pull(lane)

    # -- room ------------------------------------------------------------------------------

    def room_in(self, name: str) -> None:
        """A call of this lane ended: fetch more when the waiting room is half empty."""
        if name in self._suspected or self._left[name]:
            lane = self._lanes[name]
            if lane.waiting <= lane.room // 2:
                self._pull(name)

    def gate_moved(self, queue: str) -> None:
        """A gate let go of a task, let one start, or has other limits."""
        waits = [lane for lane, left in self._left.items() if queue in left]
        if not waits:
            return
        gate = self._gates[queue]
        for lane in waits:
            self._pull(lane)
        if queue in self._timers or gate.places > 0:
            return
        if (opens_at := gate.opens_at) is not None:
            delay = max(opens_at - self._clock.monotonic(), 0.0) + 0.001
            loop = asyncio.get_running_loop()
            self._timers[queue] = loop.call_later(delay, self._gate_opens, queue)

    def _gate_opens(self, queue: str) -> None:
        del self._timers[queue]
        self.gate_moved(queue)

    def _is_open(self, queue: str) -> bool:
        gate = self._gates.get(queue)
        return gate is None or gate.places > 0

    def _gives_way(self, queue: str, top: int) -> bool:
        """Whether a full queue has something less important in memory that can be taken back."""
        gate = self._gates.get(queue)
        return gate is not None and gate.places <= 0 and gate.gives_way_to(top)

    # -- rounds ----------------------------------------------------------------------------

    def _pull(self, lane: str) -> None:
        if self._open and lane not in self._rounds and self._is_worth_it(lane):
            pulling = asyncio.create_task(self._pull_lane(lane), name=f"taskflow-pull-{lane}")
            self._rounds[lane] = pulling
            pulling.add_done_callback(functools.partial(self._pulled, lane))

    def _is_worth_it(self, name: str) -> bool:
        """Whether there may be a task on disk that the lane could take now."""
        lane, least = self._lanes[name], None
        if lane.free <= 0:
            least = None if lane.refusing else lane.lowest_waiting
            if least is None:
                return False
        return name in self._suspected or any(
            ((least is None or top > least) and self._is_open(queue)) or self._gives_way(queue, top)
            for queue, top in self._left[name].items()
        )

    def _pulled(self, lane: str, pulling: asyncio.Task[None]) -> None:
        del self._rounds[lane]
        self._idle()
        if pulling.cancelled():
            return
        if (error := pulling.exception()) is not None:
            # The watch and the timer ask again within a second.
            level = logging.WARNING if isinstance(error, StoreError) else logging.ERROR
            log.log(level, "could not take tasks of lane %s from the store: %s", lane, error)
            return
        for queue in self._left[lane]:
            if queue in self._gates:
                self.gate_moved(queue)
        # A short task may have ended since the round saw no room.
        self.room_in(lane)

    async def _pull_lane(self, name: str) -> None:
        lane = self._lanes[name]
        while self._open and self._is_worth_it(name):
            above = lane.lowest_waiting if lane.free <= 0 else None
            wanted = min(lane.free, MOST_CLAIMED) if above is None else MOST_DISPLACED
            # Whatever comes to disk from here on is in the news, or makes it suspect again.
            self._suspected.discard(name)
            self._news[name] = {}
            claimed = await self._claim(lane, wanted, above)
            left = self._left[name] = claimed.left
            for queue, top in self._news[name].items():
                left[queue] = max(left.get(queue, top), top)
            for (coming, queue), top in self._coming.items():
                if coming == name:
                    left[queue] = max(left.get(queue, top), top)

    async def _claim(self, lane: Lane, wanted: int, above: int | None) -> Claimed:
        """Take up to ``wanted`` tasks, of a higher priority than ``above``, and launch them."""
        held = 0 if above is not None else sum(lane.reserve() for _ in range(wanted))
        self._backlog.fetching[lane.name] = held
        # Reserved as well: a task that comes from memory meanwhile must not take the same place.
        # Only for what is known to wait here: other lanes have tasks of these queues, too.
        left = self._left[lane.name]
        reserved = {
            queue: min(gate.places, wanted) if queue in left else 0
            for queue, gate in self._gates.items()
        }
        for queue, count in reserved.items():
            self._gates[queue].reserved += count
        places = {
            queue: count or int(self._gives_way(queue, left.get(queue, _LOWEST)))
            for queue, count in reserved.items()
        }
        claimed = Claimed([], {})
        try:
            claimed = await self._store.claim(
                lane.name,
                wanted,
                self._registry.names,
                self._clock.now(),
                places=places,
                above=above,
            )
        except BaseException:
            self._suspected.add(lane.name)
            raise
        finally:
            self._backlog.fetching[lane.name] = 0
            for _ in range(held - len(claimed.tasks)):
                lane.release()
            for queue, count in reserved.items():
                if count:
                    self._gates[queue].reserved -= count
                    self.gate_moved(queue)
        for record in claimed.tasks:
            self._backlog.moved(lane.name, record.queue, -1)
            if self._fetch(record, in_lane=held > 0):
                self._launch(record)
            held -= 1
        return claimed
