"""Times at a fixed distance from each other."""

from __future__ import annotations

import math
from datetime import timedelta

from taskflow.clock import as_seconds
from taskflow.errors import ScheduleError
from taskflow.schedules.shown import shown
from taskflow.schedules.words import every_words
from taskflow.schedules.zones import LAST, UTC_ZONE, Zone

#: Ten years, in seconds.
LONGEST = 3_653 * 86_400


class Every:
    """Every ``every`` seconds: the moments ``anchor + k * every``, whatever clocks show.

    A whole number of seconds, at least 1 and at most ten years, or a timedelta of such a length.
    ``anchor`` is in seconds since the epoch, fractions are cut off. ``zone`` is for showing.
    Raises `ScheduleError`.
    """

    __slots__ = ("_phase", "seconds", "words", "zone")

    def __init__(self, every: float | timedelta, anchor: float = 0, zone: Zone = UTC_ZONE) -> None:
        self.seconds = _whole(every)
        self._phase = _start(anchor) % self.seconds
        self.zone = zone
        self.words = every_words(self.seconds)

    def after(self, moment: float) -> int | None:
        """The first slot after ``moment``; None if there is none up to the year 9999."""
        if not moment < LAST:
            return None
        first = 0 if moment < 0 else math.floor(moment) + 1
        slot = first + (self._phase - first) % self.seconds
        return slot if slot <= LAST else None

    def before(self, moment: float) -> int | None:
        """The last slot at or before ``moment``; None if there is none since 1970."""
        if not moment >= 0:
            return None
        last = LAST if moment >= LAST else math.floor(moment)
        slot = last - (last - self._phase) % self.seconds
        return slot if slot >= 0 else None


def _whole(every: object) -> int:
    if isinstance(every, bool) or not isinstance(every, int | float | timedelta):
        raise ScheduleError(f"every={shown(every)}: give seconds, or a timedelta")
    # Compared before it is converted: an int may be larger than any float.
    seconds = every if isinstance(every, int) else as_seconds(every)
    if not 1 <= seconds <= LONGEST:
        raise ScheduleError(
            f"every={shown(every)}: give at least 1 second and at most ten years ({LONGEST} s)"
        )
    if seconds != int(seconds):
        raise ScheduleError(f"every={shown(every)}: give whole seconds, slots have no fractions")
    return int(seconds)


def _start(anchor: object) -> int:
    if isinstance(anchor, int) and not isinstance(anchor, bool):
        return anchor
    if isinstance(anchor, float) and math.isfinite(anchor):
        return math.floor(anchor)
    raise ScheduleError(f"anchor={shown(anchor)}: give seconds since the epoch")
