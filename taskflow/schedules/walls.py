"""Which readings of a clock on the wall fit a cron expression: pure calendar, without a zone.

A wall is a number of seconds since 1970-01-01T00:00 on that clock.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from datetime import date

from taskflow.schedules.fields import LAST_ONE, Fields
from taskflow.schedules.zones import DAY

#: What fits at all fits within this: a 29 February on one weekday comes after 40 years at most.
_MONTHS_SEARCHED = 50 * 12
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal() - _EPOCH_DAY


class Walls:
    """The walls that fit ``fields``, ascending."""

    __slots__ = ("_fields", "_minutes", "_months", "_patterns")

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        #: Minutes of the day that have a time.
        self._minutes = array("H", (60 * h + m for h in fields.hours for m in fields.minutes))
        self._months = frozenset(fields.months)
        #: The days that fit, by the weekday of the first and the length of the month: 28 at most.
        self._patterns: dict[tuple[int, int], list[int]] = {}

    def next(self, wall: int) -> int | None:
        """The first that fits, at or after ``wall``; None if there is none in 50 years."""
        day, time = divmod(wall, DAY)
        found = self._day_from(day)
        if found is None:
            return None
        if found == day:
            later = self._time_from(time)
            if later is not None:
                return day * DAY + later
            found = self._day_from(day + 1)
            if found is None:
                return None
        return found * DAY + self._minutes[0] * 60 + self._fields.seconds[0]

    def previous(self, wall: int) -> int | None:
        """The last that fits, at or before ``wall``; None if there is none in 50 years."""
        day, time = divmod(wall, DAY)
        found = self._day_until(day)
        if found is None:
            return None
        if found == day:
            earlier = self._time_until(time)
            if earlier is not None:
                return day * DAY + earlier
            found = self._day_until(day - 1)
            if found is None:
                return None
        return found * DAY + self._minutes[-1] * 60 + self._fields.seconds[-1]

    def _time_from(self, time: int) -> int | None:
        minutes, seconds = self._minutes, self._fields.seconds
        minute, second = divmod(time, 60)
        index = bisect_left(minutes, minute)
        if index < len(minutes) and minutes[index] == minute:
            place = bisect_left(seconds, second)
            if place < len(seconds):
                return minute * 60 + seconds[place]
            index += 1
        return minutes[index] * 60 + seconds[0] if index < len(minutes) else None

    def _time_until(self, time: int) -> int | None:
        minutes, seconds = self._minutes, self._fields.seconds
        minute, second = divmod(time, 60)
        index = bisect_right(minutes, minute) - 1
        if index >= 0 and minutes[index] == minute:
            place = bisect_right(seconds, second) - 1
            if place >= 0:
                return minute * 60 + seconds[place]
            index -= 1
        return minutes[index] * 60 + seconds[-1] if index >= 0 else None

    def _day_from(self, day: int) -> int | None:
        """The first day that fits, at or after ``day``; days are numbered from the epoch."""
        if day > _LAST_DAY:
            return None
        first = date.fromordinal(day + _EPOCH_DAY)
        year, month, number = first.year, first.month, first.day
        for _ in range(_MONTHS_SEARCHED):
            if month in self._months:
                days = self._days_of(year, month)
                index = bisect_left(days, number)
                if index < len(days):
                    return date(year, month, days[index]).toordinal() - _EPOCH_DAY
            number = 1
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
            if year > date.max.year:
                break
        return None

    def _day_until(self, day: int) -> int | None:
        """The last day that fits, at or before ``day``."""
        last = date.fromordinal(min(day, _LAST_DAY) + _EPOCH_DAY)
        year, month, number = last.year, last.month, last.day
        for _ in range(_MONTHS_SEARCHED):
            if month in self._months:
                days = self._days_of(year, month)
                index = bisect_right(days, number)
                if index:
                    return date(year, month, days[index - 1]).toordinal() - _EPOCH_DAY
            number = 31
            year, month = (year, month - 1) if month > 1 else (year - 1, 12)
        return None

    def _days_of(self, year: int, month: int) -> list[int]:
        """The days of a month that fit."""
        first = date(year, month, 1).isoweekday() % 7
        length = _length(year, month)
        days = self._patterns.get((first, length))
        if days is None:
            days = [day for day in range(1, length + 1) if self._fits(day, first, length)]
            self._patterns[first, length] = days
        return days

    def _fits(self, day: int, first: int, length: int) -> bool:
        fields = self._fields
        weekday = (first + day - 1) % 7
        by_number = day in fields.days or (fields.last_day and day == length)
        by_weekday = weekday in fields.weekdays or (
            (weekday, (day + 6) // 7) in fields.nth
            or (day + 7 > length and (weekday, LAST_ONE) in fields.nth)
        )
        return by_number and by_weekday if fields.both else by_number or by_weekday


def _length(year: int, month: int) -> int:
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return 29 if leap else 28
    return 30 if month in {4, 6, 9, 11} else 31
