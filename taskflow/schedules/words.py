"""Rules in plain English. What reads the same means the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskflow.schedules.fields import LAST_ONE, Fields

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", LAST_ONE: "last"}
#: Times of the day that are listed one by one.
_LISTED = 12
#: Stretches of hours that are told by where they begin and end; more are listed by hour.
_STRETCHES = 3


def every_words(seconds: int) -> str:
    """An interval in the largest unit that it is a whole number of: ``every 5 minutes``."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        # A day on the clock may have 23 hours; this one never has.
        if seconds % length == 0 and seconds != 86_400:
            return _every(seconds // length, unit)
    return "every 24 hours" if seconds == 86_400 else _every(seconds, "second")


def cron_words(fields: Fields) -> str:
    """What a cron expression asks for: ``at 09:00 on Monday to Friday``."""
    day = _day(fields)
    count = len(fields.hours) * len(fields.minutes) * len(fields.seconds)
    if count == 1 or (count <= _LISTED and not fields.interval):
        return f"{_times(fields)}{day if day.startswith(' on ') else ' every day' + day}"
    return f"{_rhythm(fields)}{day}"


# -- times of the day ----------------------------------------------------------------------------


def _times(fields: Fields) -> str:
    with_seconds = fields.seconds != (0,)
    return "at " + _join(
        [
            f"{hour:02}:{minute:02}" + (f":{second:02}" if with_seconds else "")
            for hour in fields.hours
            for minute in fields.minutes
            for second in fields.seconds
        ]
    )


def _rhythm(fields: Fields) -> str:
    """Times that repeat within the day."""
    if fields.seconds != (0,):
        return f"{_seconds(fields)}{_hours(fields.hours)}"
    step = _step(fields.minutes, 60)
    if step is not None:
        return f"{_every(step, 'minute')}{_hours(fields.hours)}"
    only = fields.minutes[0] if len(fields.minutes) == 1 else None
    stretches = _runs(fields.hours)
    if only is not None and len(stretches) == 1 and len(fields.hours) < 24:
        return f"every hour from {fields.hours[0]:02}:{only:02} to {fields.hours[-1]:02}:{only:02}"
    minutes = "" if only == 0 else f" at {_minutes(fields.minutes)}"
    step = _step(fields.hours, 24)
    if step is not None:
        at = minutes or (" at :00" if step == 1 else "")
        return f"{_every(step, 'hour')}{at}"
    return f"at {_minutes(fields.minutes)}{_hours(fields.hours)}"


def _seconds(fields: Fields) -> str:
    step = _step(fields.seconds, 60)
    word = "second" if len(fields.seconds) == 1 else "seconds"
    listed = _ranges(fields.seconds, lambda second: f"{second:02}")
    what = f"at {word} {listed}" if step is None else _every(step, "second")
    if len(fields.minutes) == 60:
        return f"{what} of every minute" if step is None else what
    of = "minute" if len(fields.minutes) == 1 else "minutes"
    return f"{what} of {of} {_minutes(fields.minutes)}"


def _minutes(minutes: Sequence[int]) -> str:
    return _ranges(minutes, lambda minute: f":{minute:02}")


def _hours(hours: Sequence[int]) -> str:
    """Which hours; "" for all of them."""
    if len(hours) == 24:
        return ""
    stretches = _runs(hours)
    if len(stretches) <= _STRETCHES:
        return " " + _join([f"from {low:02}:00 to {high:02}:59" for low, high in stretches])
    return " in the hours " + _ranges(hours, lambda hour: f"{hour:02}")


def _step(numbers: Sequence[int], length: int) -> int | None:
    """n, if these are every n-th of ``length``, evenly also from the last to the first."""
    step = length // len(numbers)
    return step if tuple(numbers) == tuple(range(0, length, step)) and step < length else None


# -- days ----------------------------------------------------------------------------------------


def _day(fields: Fields) -> str:
    """Which days: " on ...", or " in January" for each of its days, or "" for every day."""
    any_number = len(fields.days) == 31
    any_weekday = len(fields.weekdays) == 7
    months = "" if len(fields.months) == 12 else _ranges(fields.months, lambda m: _MONTHS[m - 1])
    inside = f" in {months}" if months else ""
    of = f" of {months or 'every month'}"
    if (any_number and any_weekday) or ((any_number or any_weekday) and not fields.both):
        return inside
    numbers = f" on the {_join(_numbers(fields))}{of}"
    weekdays = f" on {_weekdays(fields)}{of if fields.nth else inside}"
    if any_number:
        return weekdays
    if any_weekday:
        return numbers
    if fields.both:
        return f"{weekdays} if that is the {_join(_numbers(fields), 'or')}"
    return f"{numbers} or{weekdays}"


def _numbers(fields: Fields) -> list[str]:
    return [
        *_parts(fields.days, _ordinal),
        *(["last day"] if fields.last_day else []),
    ]


def _weekdays(fields: Fields) -> str:
    if fields.nth:
        return _join([f"the {_NTH[n]} {_WEEKDAYS[weekday]}" for weekday, n in fields.nth])
    # A week is read from Monday on.
    from_monday = sorted((weekday - 1) % 7 for weekday in fields.weekdays)
    return _ranges(from_monday, lambda day: _WEEKDAYS[(day + 1) % 7])


def _ordinal(number: int) -> str:
    teens = 10 <= number <= 20
    return f"{number}" + ("th" if teens else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th"))


# -- lists ---------------------------------------------------------------------------------------


def _every(count: int, unit: str) -> str:
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, last) of those that follow each other."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _parts(numbers: Sequence[int], name: Callable[[int], str]) -> list[str]:
    parts = []
    for low, high in _runs(numbers):
        if high - low >= 2:
            parts.append(f"{name(low)} to {name(high)}")
        else:
            parts += [name(number) for number in range(low, high + 1)]
    return parts


def _ranges(numbers: Sequence[int], name: Callable[[int], str]) -> str:
    return _join(_parts(numbers, name))


def _join(parts: Sequence[str], word: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"
