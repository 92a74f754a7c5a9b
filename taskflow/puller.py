"""Takes tasks that wait on disk, in order of priority, as a lane has room for them."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping

from executors.base import Lane
from taskflow.clock import Clock
from taskflow.errors import StoreError
from taskflow.record import TaskRecord
from taskflow.registry import Registry
from taskflow.stores.base import Store

log = logging.getLogger(__name__)

#: At most so many tasks are taken from the store at once.
MOST_CLAIMED = 500


class Puller:
    """Knows which lanes may have tasks on disk, and fetches them.

    ``launch`` gets each task that was taken; it has a reservation in its lane. ``idle`` is called
    when a round of pulling is over.
    """

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        registry: Registry,
        store: Store,
        clock: Clock,
        *,
        launch: Callable[[TaskRecord], None],
        idle: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._registry = registry
        self._store = store
        self._clock = clock
        self._launch = launch
        self._idle = idle
        #: Lanes that may have tasks on disk which nobody owns ...
        self._suspected: set[str] = set()
        #: ... and those that certainly had some when this was last looked at.
        self._known: set[str] = set()
        self._rounds: dict[str, asyncio.Task[None]] = {}
        self._open = False

    def start(self) -> None:
        """From now on take what waits on disk."""
        self._open = True
        self.expect_all()

    async def stop(self, timeout: float) -> None:
        """Take nothing more; a round under way ends within ``timeout`` seconds."""
        self._open = False
        rounds = list(self._rounds.values())
        if rounds:
            await asyncio.wait(rounds, timeout=timeout)

    @property
    def busy(self) -> bool:
        """Whether something is being taken, or may still be there to take."""
        return bool(self._rounds) or (self._open and bool(self._suspected))

    def has_backlog(self, lane: str) -> bool:
        """Whether tasks of this lane wait on disk: they go before newer ones."""
        return lane in self._known

    def expect(self, lane: str) -> None:
        """There is something on disk for this lane."""
        self._known.add(lane)
        self._suspected.add(lane)
        self._pull(lane)

    def expect_all(self) -> None:
        """There may be something on disk for any lane."""
        for name in self._lanes:
            self.suspect(name)

    def suspect(self, lane: str) -> None:
        """There may be something on disk for this lane."""
        self._suspected.add(lane)
        self._pull(lane)

    def room_in(self, name: str) -> None:
        """A call of this lane ended: fetch more when the waiting room is half empty."""
        if name in self._suspected:
            lane = self._lanes[name]
            if lane.waiting <= lane.room // 2:
                self._pull(name)

    def _pull(self, lane: str) -> None:
        if self._open and lane not in self._rounds and self._lanes[lane].free > 0:
            pulling = asyncio.create_task(self._pull_lane(lane), name=f"taskflow-pull-{lane}")
            self._rounds[lane] = pulling
            pulling.add_done_callback(functools.partial(self._pulled, lane))

    def _pulled(self, lane: str, pulling: asyncio.Task[None]) -> None:
        del self._rounds[lane]
        self._idle()
        if pulling.cancelled():
            return
        if (error := pulling.exception()) is not None:
            # The watch and the timer ask again within a second.
            level = logging.WARNING if isinstance(error, StoreError) else logging.ERROR
            log.log(level, "could not take tasks of lane %s from the store: %s", lane, error)
        else:
            # A short task may have ended since the round saw no room.
            self.room_in(lane)

    async def _pull_lane(self, name: str) -> None:
        lane = self._lanes[name]
        while self._open and lane.free > 0:
            wanted = min(lane.free, MOST_CLAIMED)
            # Whatever comes to disk from here on is seen by the next round.
            self._suspected.discard(name)
            self._known.discard(name)
            if await self._claim(lane, wanted):
                self._suspected.add(name)
                self._known.add(name)
            elif name not in self._suspected:
                return

    async def _claim(self, lane: Lane, wanted: int) -> bool:
        """Take up to ``wanted`` tasks; whether there were so many."""
        places = sum(lane.reserve() for _ in range(wanted))
        claimed: list[TaskRecord] = []
        try:
            claimed = await self._store.claim(
                lane.name, wanted, self._registry.names, self._clock.now()
            )
        except BaseException:
            self._suspected.add(lane.name)
            raise
        finally:
            for _ in range(places - len(claimed)):
                lane.release()
        for record in claimed:
            self._launch(record)
        return len(claimed) == wanted
