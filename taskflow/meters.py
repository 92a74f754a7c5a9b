"""What is counted of each lane while it works."""

from __future__ import annotations

from executors.histogram import RecentHistogram
from taskflow.decide import Decision

#: How many slices the last minute has; the newest is still growing.
SLICES = 6


class LaneMeter:
    """Figures of one lane since the start of the app; durations in seconds.

    ``wait`` is from the moment a task could have run to its start, on disk and in memory; ``run``
    the length of an attempt. ``now`` is of a clock that only goes forward.
    """

    __slots__ = (
        "_slices_at",
        "crashed",
        "failed",
        "rejected",
        "run",
        "succeeded",
        "timed_out",
        "wait",
    )

    def __init__(self, now: float) -> None:
        self.wait = RecentHistogram(SLICES)
        self.run = RecentHistogram(SLICES)
        #: Tasks that were refused because there was no room.
        self.rejected = 0
        #: Attempts that ended in such a way; the others were cut, or put off by their own wish.
        self.succeeded = 0
        self.timed_out = 0
        self.crashed = 0
        self.failed = 0
        self._slices_at = [now]

    def note(self, decision: Decision) -> None:
        """An attempt ended in another way than success."""
        if decision.crashed:
            self.crashed += 1
        elif decision.outcome == "timed out":
            self.timed_out += 1
        elif decision.outcome == "failed":
            self.failed += 1

    def rotate(self, now: float) -> None:
        """Begin a new slice of the figures of the last minute."""
        self.wait.rotate()
        self.run.rotate()
        self._slices_at = [*self._slices_at[1 - SLICES :], now]

    def per_second(self, now: float) -> float:
        """Attempts that ended a second, over the last minute or since the start."""
        span = now - self._slices_at[0]
        return self.run.recent.count / span if span > 0 else 0.0
