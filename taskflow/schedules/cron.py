"""Times by a cron expression and the clock of a place."""

from __future__ import annotations

import math

from taskflow.errors import ScheduleError
from taskflow.schedules.fields import parse_fields
from taskflow.schedules.shown import shown
from taskflow.schedules.walls import Walls
from taskflow.schedules.words import cron_words
from taskflow.schedules.zones import DAY, LAST, UTC_ZONE, Zone

#: Seconds. A rule of real time whose every time falls into a gap is given up after this.
_SEARCHED = 100 * 365 * DAY


class Cron:
    """A cron expression on the clock of ``zone``.

    Five fields (minute, hour, day of month, month, weekday), or six with the *second last*; names
    (``MON``, ``JAN``), ``@hourly @daily @midnight @weekly @monthly @yearly @annually``, ``L`` for
    the last day of the month, ``2#1`` for its first Tuesday, ``L5`` for its last Friday. Sunday
    is 0 or 7. With both days given, one that fits either is meant; a field that begins with ``*``
    does not count as given, so that ``*/2`` beside ``MON`` means odd days that are Mondays (as
    in Vixie cron).

    When the clock is changed (the rules of Vixie cron and Cronos):

    - Times of the day (``30 2 * * *``) run once a day: one that is skipped runs where the gap
      ends, one that comes twice runs the first time. Several that meet at the end of a gap are
      one run.
    - Rules with ``*``, a range or a step in seconds, minutes or hours follow real time: they run
      in both passes of an hour that comes twice, and not at times that do not exist.

    Raises `ScheduleError` for what is wrong or never comes.
    """

    __slots__ = ("fields", "walls", "words", "zone")

    def __init__(self, expression: str, zone: Zone = UTC_ZONE) -> None:
        self.fields = parse_fields(expression)
        self.walls = Walls(self.fields)
        self.zone = zone
        if self.walls.next(0) is None:
            raise ScheduleError(
                f"cron={shown(expression)} never comes: no month it names has such a day"
            )
        self.words = cron_words(self.fields)

    def after(self, moment: float) -> int | None:
        """The first slot after ``moment``; None if there is none up to the year 9999."""
        if not moment < LAST:
            return None
        first = 0 if moment < 0 else math.floor(moment) + 1
        if self.fields.interval:
            return self._real_from(first)
        wall = self.walls.next(self.zone.latest(first - 1) + 1)
        slot = None if wall is None else self.zone.reaches(wall)
        return slot if slot is not None and slot <= LAST else None

    def before(self, moment: float) -> int | None:
        """The last slot at or before ``moment``; None if there is none since 1970."""
        if not moment >= 0:
            return None
        last = LAST if moment >= LAST else math.floor(moment)
        if self.fields.interval:
            return self._real_until(last)
        wall = self.walls.previous(self.zone.latest(last))
        slot = None if wall is None else self.zone.reaches(wall)
        return slot if slot is not None and slot >= 0 else None

    def _real_from(self, first: int) -> int | None:
        until = min(first + _SEARCHED, LAST)
        while first <= until:
            _, end, offset = self.zone.stretch(first)
            wall = self.walls.next(first + offset)
            if wall is None:
                return None
            if wall - offset < end:
                return wall - offset if wall - offset <= LAST else None
            first = end
        return None

    def _real_until(self, last: int) -> int | None:
        until = max(last - _SEARCHED, 0)
        while last >= until:
            start, _, offset = self.zone.stretch(last)
            wall = self.walls.previous(last + offset)
            if wall is None:
                return None
            if wall - offset >= start:
                return wall - offset if wall - offset >= 0 else None
            last = start - 1
        return None
