"""Cron agrees with an oracle that looks at every minute around every clock change.

`ZONES=all` with `-m slow` takes every zone there is, otherwise it is twenty that have it all: gaps
at midnight and at 02:00, half an hour and two hours, Ramadan, changes of the standard offset.
"""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Iterator
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskflow.errors import ScheduleError
from taskflow.schedules.cron import Cron
from taskflow.schedules.zones import zone
from tests.model.cron_oracle import DAY, Plain, Window, changes

CHOSEN = (
    *("Africa/Cairo", "Africa/Casablanca", "Africa/Juba", "America/Asuncion", "America/Havana"),
    *("America/New_York", "America/Nuuk", "America/Santiago", "America/Scoresbysund"),
    *("Antarctica/Casey", "Antarctica/Troll", "Asia/Almaty", "Asia/Beirut", "Asia/Gaza"),
    *("Asia/Tehran", "Australia/Lord_Howe", "Europe/Berlin", "Europe/Dublin", "Europe/Volgograd"),
    "Pacific/Chatham",
)
#: Whole days that are skipped, offsets of odd seconds, changes by half and quarter hours.
ODD = (
    *("Africa/Monrovia", "America/Caracas", "Antarctica/Casey", "Australia/Lord_Howe"),
    *("Asia/Kathmandu", "Asia/Pyongyang", "Asia/Singapore", "Pacific/Apia", "Pacific/Enderbury"),
    "Pacific/Kwajalein",
)
EXPRESSIONS = (
    # Times of the day.
    *("30 2 * * *", "30 1 * * *", "0 0 * * *", "30 0 * * *", "0 3 * * *", "0 1 * * *"),
    *("15,30,45 2 * * *", "0,30 0,1,2,3 * * *", "5 1,2,23 * * *", "59 23 * * *"),
    # Real time.
    *("* * * * *", "*/5 * * * *", "0 * * * *", "30 * * * *", "*/30 2 * * *", "0 */2 * * *"),
    *("15 1-3 * * *", "0-10 2 * * *", "*/20 0 * * *", "7/15 1 * * *", "0 22-4 * * *"),
    # Days.
    *("30 2 * * SUN", "30 2 * * 7", "30 2 * * 1-5", "0 0 * * FRI-MON", "30 2 1-7 * SUN"),
    *("30 2 */2 * SUN", "0 0 1,15 * *", "0 0 L * *", "30 1 L,1 3,10 *", "30 2 * MAR,OCT *"),
    *("0 1 * * L0", "30 2 * * 0#2,0#1,L7", "30 1 * nov 0#1", "0 0 ? 9-4 FRI"),
    # Seconds.
    *("30 2 * * * 15", "0,30 0,1,2 * * * 59", "0 2 * * * */20", "* * * * * *", "0 3 * * 0 0"),
)
RULES = [Plain(expression) for expression in EXPRESSIONS]
#: Slots that are looked at on each side of a place of interest, for rules that have many.
MANY = 5
#: Seconds that are looked at on each side of a place of interest, for rules with seconds.
NEAR = 100


def places_of(moment: int, shift: int) -> tuple[int, int, int]:
    """A clock change, and where a gap would begin or a fold end."""
    return moment - abs(shift), moment, moment + abs(shift)


def compared_parts(
    window: Window, slots: list[int], moment: int, shift: int
) -> Iterator[tuple[list[int], int, int]]:
    """Slots to compare, with the first and last moment of a time that has no others."""
    for first, last in window.stretches:
        inside = [slot for slot in slots if first <= slot <= last]
        if len(inside) <= 4 * MANY:
            yield inside, first, last
            continue
        # Too many to look at all: those near the beginning, the end and the other end.
        for place in places_of(moment, shift):
            before = [slot for slot in inside if slot < place][-MANY:]
            some = before + [slot for slot in inside if slot >= place][:MANY]
            if some:
                yield some, some[0], some[-1]


def disagreements(rule: Cron, slots: list[int], first: int, last: int) -> Iterator[str]:
    """Where ``rule`` says other than ``slots``, which are all from ``first`` to ``last``."""
    previous: int | None = None
    for slot in slots:
        moment = first - 1 if previous is None else previous
        if rule.after(moment) != slot:
            yield f"after({moment}) = {rule.after(moment)}, not {slot}"
        if rule.before(slot) != slot:
            yield f"before({slot}) = {rule.before(slot)}"
        if (found := _inside(rule.before(slot - 1), first, last)) != previous:
            yield f"before({slot - 1}) = {found}, not {previous}"
        previous = slot
    moment = first - 1 if previous is None else previous
    if (found := _inside(rule.after(moment), first, last)) is not None:
        yield f"after({moment}) = {found}, and there is none"
    if (found := _inside(rule.before(last), first, last)) != previous:
        yield f"before({last}) = {found}, not {previous}"


def _inside(slot: int | None, first: int, last: int) -> int | None:
    return slot if slot is not None and first <= slot <= last else None


def compare(name: str, first_year: int, last_year: int) -> tuple[int, list[str]]:
    """How many (rule, clock change) were compared, and what was different."""
    place, rules = ZoneInfo(name), [Cron(plain.expression, zone(name)) for plain in RULES]
    compared, wrong = 0, []
    for moment, shift in changes(place, first_year, last_year):
        wide, step = abs(shift) + 3 * 3600, 1 if shift % 60 or moment % 60 else 60
        start = (moment - wide) // step * step
        windows = [
            Window(place, [(start, moment + wide)], step),
            Window(place, [(at - NEAR, at + NEAR) for at in places_of(moment, shift)], 1),
        ]
        for plain, rule in zip(RULES, rules, strict=True):
            window = windows[plain.by_second]
            compared += 1
            for some, first, last in compared_parts(window, window.slots(plain), moment, shift):
                wrong += [
                    f"{name}, {moment}, {plain.expression}: {text}"
                    for text in disagreements(rule, some, first, last)
                ]
    return compared, wrong


def test_there_are_forty_expressions() -> None:
    assert len(set(EXPRESSIONS)) == 40


@pytest.mark.parametrize("name", CHOSEN)
def test_every_clock_change_from_2020_to_2037_has_the_runs_the_rules_say(name: str) -> None:
    _, wrong = compare(name, 2020, 2037)

    assert not wrong, wrong[:10]


@pytest.mark.parametrize("name", ODD)
def test_odd_clock_changes_since_1970_have_the_runs_the_rules_say(name: str) -> None:
    compared, wrong = compare(name, 1970, 2019)

    assert compared
    assert not wrong, wrong[:10]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(os.environ.get("ZONES") != "all", reason="ZONES=all takes every zone there is")
def test_every_zone_there_is_has_the_runs_the_rules_say() -> None:
    total, wrong = 0, []
    for name in sorted(available_timezones() - {"localtime", "Factory"}):
        compared, different = compare(name, 2020, 2037)
        total += compared
        wrong += different

    print(f"{total} comparisons, {len(wrong)} differences")
    assert not wrong, wrong[:10]


# -- random rules, zones and times ---------------------------------------------------------------


def _items(low: int, high: int, names: list[str] | None = None) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    word = number if not names else number | st.sampled_from(names)
    straight = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    step = st.integers(1, high - low)
    return st.one_of(
        word,
        st.builds("{}-{}".format, word, word),
        straight.flatmap(lambda ends: step.map(lambda n: f"{ends[0]}-{ends[1]}/{n}")),
        st.builds("{}/{}".format, number, step),
        st.builds("*/{}".format, step),
    )


def _field(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.just("*") | st.lists(items, min_size=1, max_size=3).map(",".join)


_TIMES = st.tuples(_field(_items(0, 59)), _field(_items(0, 23))) | st.tuples(
    st.integers(0, 59).map(str), st.integers(0, 4).map(str)
)
_DAYS = _field(_items(1, 31) | st.just("L")) | st.just("*")
_WEEKDAYS = _field(_items(0, 6, ["SUN", "mon", "Fri"])) | st.lists(
    st.builds("{}#{}".format, st.integers(0, 7), st.integers(1, 5))
    | st.integers(0, 7).map("L{}".format),
    min_size=1,
    max_size=3,
).map(",".join)
_MONTHS = st.just("*") | _field(_items(1, 12, ["JAN", "feb", "Dec"]))
_EXPRESSIONS = st.builds("{0[0]} {0[1]} {1} {2} {3}".format, _TIMES, _DAYS, _MONTHS, _WEEKDAYS)


@functools.cache
def _turns(name: str) -> list[int]:
    return [moment for moment, _ in changes(ZoneInfo(name), 2018, 2021)]


def _cron(expression: str, name: str) -> Cron | None:
    try:
        return Cron(expression, zone(name))
    except ScheduleError as error:
        if "never comes" not in str(error):
            raise
        return None


@settings(max_examples=150)
@given(_EXPRESSIONS, st.sampled_from(CHOSEN + ODD), st.integers(0, 67 * 365), st.randoms())
def test_random_rules_have_the_runs_the_rules_say_on_random_days(
    expression: str, name: str, day: int, chance: random.Random
) -> None:
    rule = _cron(expression, name)
    place = ZoneInfo(name)
    turns = _turns(name)
    start = max(chance.choice([day * DAY, *turns]) // 60 * 60 - 28 * 3600, 2 * DAY)
    window = Window(place, [(start, start + 56 * 3600)], 60)

    if rule is not None and not any(wall % 60 for wall in window.shown):
        # A fold at the beginning of the window hides what came first.
        first = start + 26 * 3600
        slots = [slot for slot in window.slots(Plain(expression)) if slot >= first][:40]
        last = slots[-1] if len(slots) == 40 else start + 56 * 3600
        assert not list(disagreements(rule, slots, first, last))


@settings(max_examples=200)
@given(_EXPRESSIONS, st.sampled_from(CHOSEN + ODD), st.floats(0, 253_402_300_799))
def test_after_and_before_are_each_others_inverse(
    expression: str, name: str, moment: float
) -> None:
    rule = _cron(expression, name)
    if rule is None:
        return

    slots: list[int] = []
    at: float = moment
    while len(slots) < 5 and (slot := rule.after(at)) is not None:
        slots.append(slot)
        at = slot

    assert all(earlier < later for earlier, later in pairwise([moment, *slots]))
    assert all(rule.before(slot) == slot for slot in slots)
    assert all(rule.before(later - 1) == earlier for earlier, later in pairwise(slots))
    last = rule.before(moment)
    if last is not None:
        assert last <= moment
        assert rule.before(last) == last
        assert rule.after(last - 1) == last
        assert rule.after(last) == (slots[0] if slots else None)
