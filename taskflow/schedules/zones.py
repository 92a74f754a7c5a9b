"""Time zones as stretches of constant offset from UTC.

A moment is a whole number of seconds since the epoch (UTC), a *wall* is what a local clock shows,
as the number of seconds it would be since the epoch if that clock were UTC's. So
``wall == moment + offset``, and nowhere does a ``datetime`` stand for a moment: two that differ
only in ``fold`` compare equal.
"""

from __future__ import annotations

import difflib
import functools
from bisect import bisect_right
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from taskflow.errors import ScheduleError
from taskflow.schedules.shown import shown

DAY = 86_400
#: The last moment that a ``datetime`` can show.
LAST = 253_402_300_799
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = -62_135_596_800

#: Offsets are looked up and kept for so many seconds at a time, a little over a year.
_CHUNK = 1 << 25
#: Where an offset is looked at; the shortest stretch of any zone since 1969 takes seven days.
_SAMPLE = 3 * DAY
#: Chunks that one zone keeps at most.
_KEPT = 200
_LONGEST_NAME = 100
#: Directories and files beside the zones: other ways of counting seconds, and no names at all.
_NO_ZONES = ("posix/", "right/", "posixrules", "localtime", "Factory")


class Zone:
    """The clock of one place. Made by `zone`, which returns the same one for the same name."""

    __slots__ = ("_chunks", "_constant", "_tzinfo", "name")

    def __init__(self, name: str, tzinfo_: tzinfo) -> None:
        self.name = name
        self._tzinfo = tzinfo_
        self._constant = tzinfo_ is UTC
        self._chunks: dict[int, tuple[list[int], list[int]]] = {}

    def __repr__(self) -> str:
        return f"<Zone {self.name}>"

    def stretch(self, moment: int) -> tuple[int, int, int]:
        """``(start, end, offset)`` of a stretch of constant offset that ``moment`` lies in.

        ``end`` is no longer part of it. The offset need not change there.
        """
        if self._constant:
            return -LAST, 2 * LAST, 0
        number = moment // _CHUNK
        chunk = self._chunks.get(number)
        if chunk is None:
            if len(self._chunks) >= _KEPT:
                self._chunks = {}
            chunk = self._chunks[number] = self._look_up(number)
        starts, offsets = chunk
        index = bisect_right(starts, moment)
        end = starts[index] if index < len(starts) else (number + 1) * _CHUNK
        return starts[index - 1], end, offsets[index - 1]

    def offset(self, moment: int) -> int:
        """What the local clock is ahead of UTC at ``moment``, in seconds."""
        return self.stretch(moment)[2]

    def latest(self, moment: int) -> int:
        """The latest wall that the local clock has shown up to ``moment``.

        After the clock was put back that is more than what it shows now.
        """
        start, _, offset = self.stretch(moment)
        latest = moment + offset
        # Two offsets differ by less than 48 hours.
        while start > moment - 2 * DAY:
            before = start - 1
            start, _, offset = self.stretch(before)
            latest = max(latest, before + offset)
        return latest

    def reaches(self, wall: int) -> int:
        """The first moment at which the local clock shows ``wall`` or later.

        That is the first occurrence of a wall that comes twice, and the end of the gap for one
        that never comes.
        """
        start, end, offset = self.stretch(wall - DAY)
        while end + offset <= wall:
            start, end, offset = self.stretch(end)
        return max(start, wall - offset)

    def local(self, moment: int) -> datetime:
        """What the local clock shows at ``moment`` (0 to `LAST`), with its offset.

        Where that is past the year 9999: the same moment in UTC.
        """
        utc = EPOCH + timedelta(seconds=moment)
        try:
            return utc.astimezone(self._tzinfo)
        except OverflowError:
            return utc

    def moment(self, local: datetime) -> float:
        """When the local clock shows ``local``, which has no zone; at its first occurrence.

        For one that falls into a gap: the end of the gap.
        """
        since = local.replace(tzinfo=UTC) - EPOCH
        wall = since // timedelta(seconds=1)
        return self.reaches(wall) + since.microseconds / 1e6

    def _look_up(self, number: int) -> tuple[list[int], list[int]]:
        """Where the stretches of a chunk begin, and their offsets."""
        start, end = number * _CHUNK, (number + 1) * _CHUNK
        starts, offsets = [start], [self._ask(start)]
        for sample in (*range(start + _SAMPLE, end - 1, _SAMPLE), end - 1):
            found = self._ask(sample)
            while offsets[-1] != found:
                low, high = starts[-1], sample
                low = max(low, sample - _SAMPLE)
                while high - low > 1:
                    middle = (low + high) // 2
                    if self._ask(middle) == offsets[-1]:
                        low = middle
                    else:
                        high = middle
                starts.append(high)
                offsets.append(self._ask(high))
        return starts, offsets

    def _ask(self, moment: int) -> int:
        # The first days of the year 1 and the last of the year 9999 have the offset of their
        # neighbours: their local time may be outside of what a datetime can be.
        inside = min(max(moment, _FIRST + 2 * DAY), LAST - 2 * DAY)
        offset = (EPOCH + timedelta(seconds=inside)).astimezone(self._tzinfo).utcoffset()
        assert offset is not None
        return offset // timedelta(seconds=1)


UTC_ZONE = Zone("UTC", UTC)


def zone(name: object) -> Zone:
    """The zone called ``name``, as in ``Europe/Berlin``; None means UTC.

    Raises `ScheduleError`.
    """
    if name is None or name == "UTC":
        return UTC_ZONE
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME:
        raise ScheduleError(
            f"timezone={shown(name)}: give the name of a time zone, such as 'Europe/Berlin'"
        )
    return _zone(name)


@functools.lru_cache(maxsize=700)
def _zone(name: str) -> Zone:
    if not name.startswith(_NO_ZONES):
        try:
            return Zone(name, ZoneInfo(name))
        except (KeyError, ValueError, OSError):
            pass  # unknown, not a legal name, or the name of a directory: all the same to users
    raise ScheduleError(f"timezone={shown(name)}: there is no such time zone; {_way_out(name)}")


def _way_out(name: str) -> str:
    known = available_timezones()
    if len(known) < 2:
        return "this machine has no time zones at all: pip install tzdata"
    by_lower = {one.lower(): one for one in sorted(known)}
    by_lower |= {one.lower().rpartition("/")[2]: one for one in sorted(known)} | by_lower
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(dict.fromkeys(by_lower[one] for one in near)) + "?"
    return (
        "give a name such as 'Europe/Berlin' or 'UTC' (if it is a new one, its data may be too old "
        "here: pip install --upgrade tzdata)"
    )
