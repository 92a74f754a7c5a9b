"""A cron expression as sets of numbers. Only this module knows croniter, which reads the fields.

Each field is checked here first, so that an error names the field and what it may hold, and
written so that croniter reads it as meant: ``0-0`` means everything to it, and a step through a
range that wraps around counts wrongly. Evaluation is ours, see `taskflow.schedules.walls`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from croniter import CroniterError, croniter

from taskflow.errors import ScheduleError
from taskflow.schedules.shown import shown

LONGEST = 200
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
#: The ``n`` of `Fields.nth` that means the last one of the month.
LAST_ONE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What a cron expression asks for. The numbers are ascending; Sunday is 0."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    #: The last day of the month, beside those of ``days``.
    last_day: bool
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    #: ``(weekday, n)``: only its n-th one in the month. ``weekdays`` is empty then.
    nth: tuple[tuple[int, int], ...]
    #: Whether a day must fit both its number and its weekday. So it is if one of the two fields
    #: begins with ``*``; otherwise it need fit only one.
    both: bool
    #: Whether seconds, minutes or hours are given by ``*``, a range or a step: then the rule
    #: follows real time, otherwise it names times of the day.
    interval: bool


@dataclass(frozen=True, slots=True)
class _Kind:
    """What one field may hold."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    also: str = ""

    @property
    def holds(self) -> str:
        names = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.low} to {self.high}{names}, *, lists 1,2, ranges 1-5, steps */2{self.also}"

    def number(self, word: str) -> int:
        """The number of ``5`` or ``FRI``; raises ValueError."""
        if word.upper() in self.names:
            return self.low + self.names.index(word.upper())
        number = int(word) if word.isdecimal() else -1
        if not self.low <= number <= self.high:
            raise ValueError(f"{word} is not in {self.low} to {self.high}")
        return number


_MINUTE = _Kind("minute", 0, 59)
_HOUR = _Kind("hour", 0, 23)
_DAY = _Kind("day of month", 1, 31, also=", ?, L for the last day")
_MONTH = _Kind("month", 1, 12, MONTHS)
_WEEKDAY = _Kind(
    "weekday", 0, 7, WEEKDAYS, also=", ?, 2#1 for the first Tuesday, L5 for the last Friday"
)
_SECOND = _Kind("second", 0, 59)
_KINDS = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY, _SECOND)
_ORDER = "minute hour day-of-month month weekday"

_WORD = r"[0-9]{1,2}|[A-Za-z]{3}"
_ITEM = re.compile(rf"(\*|{_WORD})(?:-({_WORD}))?(?:/([0-9]{{1,2}}))?")
_NTH = re.compile(rf"(?:({_WORD})#([1-5])|[Ll]({_WORD}))")
_RANDOM = re.compile(r"[HhRr](?![A-Za-z])")


def parse_fields(expression: object) -> Fields:
    """What ``expression`` asks for: five fields, or six with the seconds *last*; or an alias.

    Raises `ScheduleError`, which names the field that is wrong and what it may hold.
    """
    texts = _split(expression)
    canonical = []
    for kind, text in zip(_KINDS, texts, strict=False):
        try:
            canonical.append(_canonical(kind, text))
        except ValueError as error:
            raise ScheduleError(
                f"cron={shown(expression)}: {kind.name} field {shown(text)}: {error}; "
                f"it may hold {kind.holds}"
            ) from None
    try:
        expanded, nth = croniter.expand(" ".join(canonical))
    except CroniterError as error:
        raise ScheduleError(f"cron={shown(expression)}: {error}") from None
    return _fields(texts, expanded, nth)


def _split(expression: object) -> list[str]:
    """The texts of the fields."""
    if not isinstance(expression, str) or len(expression) > LONGEST:
        what = "a string" if not isinstance(expression, str) else f"at most {LONGEST} characters"
        raise ScheduleError(
            f"cron={shown(expression)}: give {what}, such as '30 2 * * *' ({_ORDER})"
        )
    text = expression.strip()
    if text.startswith("@"):
        alias = ALIASES.get(text.lower())
        if alias is None:
            raise ScheduleError(
                f"cron={shown(expression)}: give one of {', '.join(ALIASES)}, or five fields "
                f"({_ORDER}); what is to run once at the start goes into the app's lifespan"
            )
        return alias.split()
    texts = text.split()
    if len(texts) not in {5, 6}:
        years = "; years are not supported" if len(texts) == 7 else ""
        raise ScheduleError(
            f"cron={shown(expression)} has {len(texts)} fields: give five ({_ORDER}), or six with "
            f"the second last{years}"
        )
    return texts


def _canonical(kind: _Kind, text: str) -> str:
    """``text`` as croniter reads it rightly; raises ValueError."""
    if text == "?" and kind in {_DAY, _WEEKDAY}:
        return "*"
    if not text.isascii() or not text.isprintable():
        raise ValueError("only plain characters can stand here")
    items = text.split(",")
    if _RANDOM.match(text):
        raise ValueError(
            "random and hashed times (R, H) are not supported, since every instance must come to "
            "the same times"
        )
    if kind is _WEEKDAY and any(map(_NTH.fullmatch, items)):
        return ",".join(_nth(item) for item in items)
    return ",".join(_item(kind, item) for item in items)


def _nth(item: str) -> str:
    match = _NTH.fullmatch(item)
    if match is None:
        raise ValueError(f"{item or 'nothing'} cannot stand beside 2#1 or L5: make two schedules")
    weekday = _WEEKDAY.number(match[1] or match[3]) % 7
    return f"{weekday}#{match[2]}" if match[1] else f"L{weekday}"


def _item(kind: _Kind, item: str) -> str:
    """One item of a list: ``*``, a number, a range, with or without a step."""
    if kind is _DAY and item in {"L", "l"}:
        return "L"
    match = _ITEM.fullmatch(item)
    if match is None or (match[1] == "*" and match[2]):
        raise ValueError(f"{item or 'nothing between two commas'} is not understood")
    first, last, step = match.groups()
    if step is not None and not 1 <= int(step) <= kind.high - kind.low:
        raise ValueError(
            f"a step of {step} does not fit into {kind.low} to {kind.high} "
            "(every= takes any number of seconds)"
        )
    if first == "*":
        return item
    low = kind.number(first)
    if last is None:
        low = low % 7 if kind is _WEEKDAY else low
        highest = 6 if kind is _WEEKDAY else kind.high
        return str(low) if step is None else _range(low, highest, step)
    high = kind.number(last)
    if kind is _WEEKDAY and (low, high) == (0, 7):
        high = 6
    if kind is _WEEKDAY and low == 7:
        low, high = 0, high % 7
    if low <= high:
        return _range(low, high, step)
    if step is not None:
        raise ValueError(f"{item} has a step and wraps around: write two ranges")
    return f"{_range(low, 6 if kind is _WEEKDAY else kind.high)},{_range(kind.low, high)}"


def _range(low: int, high: int, step: str | None = None) -> str:
    if low == high:
        return str(low)
    return f"{low}-{high}" + (f"/{step}" if step else "")


def _fields(
    texts: list[str],
    expanded: list[list[int | str]],
    nth: dict[int, set[int | str]],
) -> Fields:
    six: list[list[int | str]] = [*expanded, [0]]
    minutes, hours, days, months, weekdays, seconds = map(_numbers, _KINDS, six)
    return Fields(
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        days=days,
        last_day="l" in expanded[2],
        months=months,
        weekdays=() if nth else tuple(day for day in weekdays if day < 7),
        nth=tuple(
            sorted(
                (weekday, LAST_ONE if n == "l" else int(n))
                for weekday, several in nth.items()
                for n in several
            )
        ),
        both=texts[2][0] in "*?" or texts[4][0] in "*?",
        interval=any(sign in text for text in (*texts[:2], *texts[5:]) for sign in "*-/"),
    )


def _numbers(kind: _Kind, values: Iterable[int | str]) -> tuple[int, ...]:
    found = set(values)
    if "*" in found:
        return tuple(range(kind.low, kind.high + 1))
    return tuple(sorted(value for value in found if isinstance(value, int)))
