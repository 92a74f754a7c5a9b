"""How many tasks wait: counted in the store once a second, and kept up to date in between."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

from taskflow.clock import Clock
from taskflow.service import Service
from taskflow.stores.base import Store, Waiting

#: Seconds between two counts, or longer: counting takes at most a tenth of the time.
EVERY = 1.0
SHARE = 0.1
#: Seconds until the next count if tasks have moved around this one, which may have missed them.
SOON = 0.1


class Backlog(Service):
    """Pending tasks on disk that nobody owns, by lane and queue.

    What this instance adds and takes is counted at once; what others do is seen with the next
    count. ``counted`` is called after each.
    """

    def __init__(self, store: Store, clock: Clock, counted: Callable[[], None]) -> None:
        super().__init__("backlog")
        self._store = store
        self._clock = clock
        self._counted = counted
        #: By (lane, queue), as it was counted last.
        self.waiting: Mapping[tuple[str, str], Waiting] = {}
        #: The same with what has changed here since.
        self._sizes: dict[tuple[str, str], int] = {}
        self._by_queue: Counter[str] = Counter()
        self.total = 0
        #: Places of each lane that are kept for tasks being fetched from here: still to be had.
        self.fetching: Counter[str] = Counter()
        self._moved_at = -math.inf
        self._counted_at = -math.inf

    async def turn(self) -> float:
        began = self._clock.monotonic()
        fresh = began - self._counted_at < EVERY
        if fresh and self._moved_at < self._counted_at:
            return self._counted_at + EVERY - began
        waiting = await self._store.backlog()
        ended = self._clock.monotonic()
        if not (fresh and self._moved_at >= began):
            self._take_over(waiting)
            self._counted_at = ended
        # Else tasks moved around this count: what was known is nearer to the truth. What moved
        # just after it may be in it twice: hence the next look is soon, whatever came out.
        return max(SOON, (ended - began) / SHARE)

    def _take_over(self, waiting: Mapping[tuple[str, str], Waiting]) -> None:
        self.waiting = waiting
        # What waits for a key or for its function waits for no slot: it fills no lane.
        self._sizes = {place: found.count for place, found in waiting.items()}
        self._by_queue.clear()
        self.total = 0
        for (_, queue), found in waiting.items():
            self._by_queue[queue] += found.count + found.blocked
            self.total += found.count + found.blocked + found.parked
        self._counted()

    def moved(self, lane: str, queue: str, count: int) -> None:
        """So many tasks went to disk, or were taken from there where ``count`` is negative."""
        self._moved_at = self._clock.monotonic()
        self.total += count
        self._by_queue[queue] += count
        place = lane, queue
        self._sizes[place] = self._sizes.get(place, 0) + count

    def of_queue(self, queue: str) -> int:
        """How many tasks of this queue wait on disk."""
        return self._by_queue.get(queue, 0)

    def of_lane(self, lane: str, *, without: Mapping[str, object] | None = None) -> int:
        """How many tasks of this lane wait on disk, those in the queues ``without`` left out."""
        return sum(
            size
            for (name, queue), size in list(self._sizes.items())  # routes in threads ask, too
            if name == lane and (without is None or queue not in without)
        )

    def oldest_of_lane(self, lane: str) -> float | None:
        """Since when the oldest of them waits, as counted last; seconds since the epoch."""
        ages = [w.oldest for (name, _), w in self.waiting.items() if name == lane]
        return min(ages, default=None)
