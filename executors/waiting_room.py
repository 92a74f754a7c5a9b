"""Where calls wait for a slot: the highest number first, first come first served within it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class WaitingRoom(Generic[T]):
    """Items by priority, a number of which higher is better.

    Everything but `remove` and `heads` finds its place by bisection among the levels in use,
    however many items wait. The room itself has no bounds: whoever fills it counts.
    """

    __slots__ = ("_buckets", "count", "levels")

    def __init__(self) -> None:
        #: The priorities that somebody waits with, lowest first. It is one and the same list for
        #: the room's whole life, so that a hot path can keep it and ask it whether anybody waits.
        self.levels: list[int] = []
        #: How many items wait.
        self.count = 0
        self._buckets: dict[int, deque[T]] = {}

    def __len__(self) -> int:
        return self.count

    @property
    def lowest(self) -> int | None:
        """The lowest priority that somebody waits with, None when nobody does."""
        return self.levels[0] if self.levels else None

    def push(self, priority: int, item: T) -> None:
        """Let ``item`` wait behind those of its priority."""
        bucket = self._buckets.get(priority)
        if bucket is None:
            self._buckets[priority] = deque((item,))
            insort(self.levels, priority)
        else:
            bucket.append(item)
        self.count += 1

    def pop(self) -> T:
        """Take out the first of the highest priority. Raises `IndexError` when nobody waits."""
        highest = self.levels[-1]
        bucket = self._buckets[highest]
        item = bucket.popleft()
        self.count -= 1
        if not bucket:
            del self._buckets[highest]
            self.levels.pop()
        return item

    def take_back(self, below: int) -> T | None:
        """Take out the last of the lowest priority, if that is lower than ``below``."""
        if not self.levels or self.levels[0] >= below:
            return None
        lowest = self.levels[0]
        bucket = self._buckets[lowest]
        item = bucket.pop()
        self._took_from(lowest, bucket)
        return item

    def remove(self, priority: int, item: T) -> bool:
        """Take out ``item``, which waits with this priority; False if it does not."""
        bucket = self._buckets.get(priority)
        if bucket is None:
            return False
        try:
            bucket.remove(item)
        except ValueError:
            return False
        self._took_from(priority, bucket)
        return True

    def heads(self) -> list[T]:
        """The first of each priority, highest first; they go on waiting."""
        return [self._buckets[level][0] for level in reversed(self.levels)]

    def take_all(self) -> list[T]:
        """Take out everything, in the order in which `pop` would."""
        items = [item for level in reversed(self.levels) for item in self._buckets[level]]
        self.levels.clear()
        self._buckets.clear()
        self.count = 0
        return items

    def _took_from(self, level: int, bucket: deque[T]) -> None:
        self.count -= 1
        if not bucket:
            del self._buckets[level]
            del self.levels[bisect_left(self.levels, level)]
