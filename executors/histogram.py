"""How durations are distributed, in a few kilobytes however many there were."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator

#: What is shorter or longer than these, in seconds, is counted but not told apart.
SHORTEST = 10e-6
LONGEST = 10 * 86_400.0
#: Equal parts of each octave. A quantile is told as the middle of its part, so that it is at most
#: half a part off: 1/20 of what the octave begins with.
_PARTS = 10


def _make_bounds() -> list[float]:
    bounds = [SHORTEST]
    octave = SHORTEST
    while bounds[-1] < LONGEST:
        bounds += [octave * (1 + part / _PARTS) for part in range(1, _PARTS + 1)]
        octave *= 2
    return [bound for bound in bounds if bound < LONGEST] + [LONGEST]


#: Upper bounds of the buckets, inclusive; one bucket more holds what is longer than `LONGEST`.
_BOUNDS = _make_bounds()


class Histogram:
    """Counts of durations in buckets whose width grows with the duration.

    A quantile is at most 5 % off between 10 microseconds and 10 days. Shorter durations are told
    as half of 10 microseconds, longer ones as the longest that was seen. One thread may add while
    others read.
    """

    __slots__ = ("_counts", "max", "sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        #: The sum of all durations, in seconds.
        self.sum = 0.0
        #: The longest duration, in seconds; 0 while there is none.
        self.max = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration. One that is negative or no number counts as 0: a clock was set."""
        if not seconds > 0.0:
            seconds = 0.0
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self.sum += seconds
        if seconds > self.max:  # noqa: PLR1730  (calling max() would cost a fifth of all this)
            self.max = seconds

    @property
    def count(self) -> int:
        """How many durations there are."""
        return sum(self._counts)

    def quantile(self, q: float) -> float | None:
        """The duration that the share ``q`` (0 to 1) does not exceed, in seconds; None if empty.

        Raises `ValueError` for another share.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a share must be 0 to 1, not {q}")
        counts = self._counts.copy()
        total = sum(counts)
        rank = max(1, math.ceil(q * total))
        if rank == total:
            return self.max
        for bucket, count in enumerate(counts):
            rank -= count
            if rank <= 0:
                return min(_middle(bucket), self.max)
        return None

    def merge(self, other: Histogram) -> None:
        """Add what ``other`` holds, which stays as it is."""
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]
        self.sum += other.sum
        self.max = max(self.max, other.max)

    def __iter__(self) -> Iterator[tuple[float, int]]:
        """Each bucket's inclusive upper bound in seconds, the last one infinite, and its count."""
        yield from zip((*_BOUNDS, math.inf), self._counts.copy(), strict=True)


class RecentHistogram:
    """A histogram of the last minute or so beside one of everything.

    It has no clock: somebody calls `rotate` at the end of each slice of time, from any thread.
    With 6 slices and a turn every 10 seconds, `recent` covers the last 50 to 60 seconds.
    """

    __slots__ = ("_before", "_current", "_slices")

    def __init__(self, slices: int = 6) -> None:
        if slices < 1:
            raise ValueError(f"slices must be at least 1, not {slices}")
        self._current = Histogram()
        self._slices = deque([self._current], maxlen=slices)
        #: What is older than the slices. A slice is added when it falls out of them, not earlier:
        #: by then nobody can be in the middle of adding to it.
        self._before = Histogram()

    def add(self, seconds: float) -> None:
        """Count a duration of now."""
        self._current.add(seconds)

    def rotate(self) -> None:
        """Begin a new slice; the oldest one counts as recent no more."""
        if len(self._slices) == self._slices.maxlen:
            self._before.merge(self._slices.popleft())
        self._current = Histogram()
        self._slices.append(self._current)

    @property
    def recent(self) -> Histogram:
        """A copy of what was added within the slices."""
        return _merged(*self._slices)

    @property
    def total(self) -> Histogram:
        """A copy of everything that was ever added."""
        return _merged(self._before, *self._slices)


def _merged(*parts: Histogram) -> Histogram:
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    return whole


def _middle(bucket: int) -> float:
    if bucket == len(_BOUNDS):
        return math.inf
    return ((_BOUNDS[bucket - 1] if bucket else 0.0) + _BOUNDS[bucket]) / 2
