"""Cron in its plainest form: read a field, look at every second or minute, apply the rules.

Nothing of the library is used, so that both can only agree by being right.
"""

from __future__ import annotations

import calendar
import functools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400


def numbers(text: str, low: int, high: int, names: list[str]) -> set[int]:
    """The numbers that a field without L and # stands for."""
    found = set()
    for item in text.replace("?", "*").split(","):
        part, _, step = item.partition("/")
        if part == "*":
            first, last = low, high
        else:
            ends = [low + names.index(end) if end in names else int(end) for end in part.split("-")]
            first = ends[0]
            last = ends[1] if len(ends) > 1 else high if step else first
        if last < first:
            last += high - low + 1
        for number in range(first, last + 1, int(step or 1)):
            found.add(low + (number - low) % (high - low + 1))
    return found


class Plain:
    """One expression."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        texts = expression.upper().split()
        minute, hour, self.day, month, self.weekday = texts[:5]
        second = texts[5] if len(texts) == 6 else "0"
        self.by_second = len(texts) == 6
        self.seconds = numbers(second, 0, 59, [])
        self.minutes = numbers(minute, 0, 59, [])
        self.hours = numbers(hour, 0, 23, [])
        self.months = numbers(month, 1, 12, MONTHS)
        self.interval = any(sign in second + minute + hour for sign in "*-/")
        self.times = sorted(
            h * 3600 + m * 60 + s for h in self.hours for m in self.minutes for s in self.seconds
        )
        self.fits_day = functools.cache(self._fits_day)

    def _fits_day(self, number: int) -> bool:
        day = (EPOCH + timedelta(days=number)).date()
        if day.month not in self.months:
            return False
        by_day, by_weekday = self._by_day(day), self._by_weekday(day)
        star = self.day[0] in "*?" or self.weekday[0] in "*?"
        return by_day and by_weekday if star else by_day or by_weekday

    def _by_day(self, day: date) -> bool:
        length = calendar.monthrange(day.year, day.month)[1]
        items = self.day.split(",")
        if "L" in items and day.day == length:
            return True
        plain = [item for item in items if item != "L"]
        return bool(plain) and day.day in numbers(",".join(plain), 1, 31, [])

    def _by_weekday(self, day: date) -> bool:
        length = calendar.monthrange(day.year, day.month)[1]
        weekday = (day.weekday() + 1) % 7
        for item in self.weekday.split(","):
            if "#" in item:
                name, nth = item.split("#")
                if weekday in weekdays(name) and (day.day - 1) // 7 + 1 == int(nth):
                    return True
            elif item.startswith("L"):
                if weekday in weekdays(item[1:]) and day.day + 7 > length:
                    return True
            elif weekday in weekdays(item):
                return True
        return False

    def walls(self, first: int, last: int) -> Iterator[int]:
        """Every reading of the clock from ``first`` to ``last`` that fits."""
        for day in range(first // DAY, last // DAY + 1):
            if self.fits_day(day):
                low = bisect_left(self.times, first - day * DAY)
                high = bisect_right(self.times, last - day * DAY)
                yield from (day * DAY + time for time in self.times[low:high])


def weekdays(item: str) -> set[int]:
    """A weekday field without L and #; 7 is Sunday too."""
    if item.startswith("7"):
        item = "0" + item[1:].replace("-7", "-0")
    if "-7" in item:  # up to and with Sunday: one more than the numbers of the week
        first, _, step = item.replace("-7", "").partition("/")
        start = WEEKDAYS.index(first) if first in WEEKDAYS else int(first)
        return {number % 7 for number in range(start, 8, int(step or 1))}
    return numbers(item, 0, 6, WEEKDAYS)


class Window:
    """Stretches of time as the local clock shows them, looked at step by step.

    What is shown twice must have both its times in one of the stretches.
    """

    def __init__(self, zone: ZoneInfo, stretches: list[tuple[int, int]], step: int) -> None:
        self.stretches = stretches
        #: When the clock shows each of its readings.
        self.shown: dict[int, list[int]] = {}
        #: The lowest and highest reading of each stretch.
        self.readings: list[tuple[int, int]] = []
        #: (first, last, end): readings that are left out, and when the clock goes on.
        self.gaps: list[tuple[int, int, int]] = []
        for first, last in stretches:
            walls: list[int] = []
            for moment in range(first, last + 1, step):
                wall = moment + offset(zone, moment)
                self.shown.setdefault(wall, []).append(moment)
                if walls and wall > walls[-1] + step:
                    self.gaps.append((walls[-1] + step, wall - step, moment))
                walls.append(wall)
            self.readings.append((min(walls), max(walls)))

    def slots(self, plain: Plain) -> list[int]:
        """When ``plain`` runs in these stretches."""
        found = set()
        for lowest, highest in self.readings:
            for wall in plain.walls(lowest, highest):
                if moments := self.shown.get(wall):
                    found |= set(moments) if plain.interval else {min(moments)}
        if not plain.interval:
            for first, last, end in self.gaps:
                if any(wall not in self.shown for wall in plain.walls(first, last)):
                    found.add(end)
        return sorted(found)


def offset(zone: ZoneInfo, moment: int) -> int:
    """Seconds that the local clock is ahead of UTC."""
    found = datetime.fromtimestamp(moment, zone).utcoffset()
    assert found is not None
    return found // timedelta(seconds=1)


def changes(zone: ZoneInfo, first_year: int, last_year: int) -> Iterator[tuple[int, int]]:
    """Every moment at which the local clock is changed, and by how much."""
    step = 12 * 3600
    moment = calendar.timegm((first_year, 1, 1, 0, 0, 0))
    end = calendar.timegm((last_year + 1, 1, 1, 0, 0, 0))
    before = offset(zone, moment)
    while moment < end:
        after = offset(zone, moment + step)
        if after != before:
            low, high = moment, moment + step
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
            yield high, after - before
        before, moment = after, moment + step
