"""Rules are said in plain English, and what sounds the same is the same."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskflow.schedules.fields import Fields, parse_fields
from taskflow.schedules.rule import parse_rule
from taskflow.schedules.walls import Walls
from taskflow.schedules.words import cron_words


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/1 * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("*/7 * * * *", "every hour at :00, :07, :14, :21, :28, :35, :42, :49 and :56"),
        ("0 * * * *", "every hour at :00"),
        ("15 * * * *", "every hour at :15"),
        ("15,45 * * * *", "every hour at :15 and :45"),
        ("0-10 * * * *", "every hour at :00 to :10"),
        ("0 */2 * * *", "every 2 hours"),
        ("10 */6 * * *", "every 6 hours at :10"),
        ("0 */7 * * *", "at :00 in the hours 00, 07, 14 and 21"),
        ("0 9-17 * * *", "every hour from 09:00 to 17:00"),
        ("*/5 9-17 * * MON-FRI", "every 5 minutes from 09:00 to 17:59 on Monday to Friday"),
        ("* 22-6 * * *", "every minute from 00:00 to 06:59 and from 22:00 to 23:59"),
        ("30 2 * * *", "at 02:30 every day"),
        ("0 0,12 * * *", "at 00:00 and 12:00 every day"),
        ("30 2 * * 1-5", "at 02:30 on Monday to Friday"),
        ("0 9 * * 1,3", "at 09:00 on Monday and Wednesday"),
        ("0 0 * * 0", "at 00:00 on Sunday"),
        ("0 0 * * FRI-MON", "at 00:00 on Monday and Friday to Sunday"),
        ("0 0 1 * *", "at 00:00 on the 1st of every month"),
        ("0 0 1,22,23 * *", "at 00:00 on the 1st, 22nd and 23rd of every month"),
        ("0 0 11-13 * *", "at 00:00 on the 11th to 13th of every month"),
        ("0 0 L * *", "at 00:00 on the last day of every month"),
        ("0 0 15,L 1,7 *", "at 00:00 on the 15th and last day of January and July"),
        ("0 9 * * 2#2", "at 09:00 on the second Tuesday of every month"),
        ("0 9 * 6 2#2,L5", "at 09:00 on the second Tuesday and the last Friday of June"),
        ("0 0 * JAN-MAR *", "at 00:00 every day in January to March"),
        ("*/5 * * JUL *", "every 5 minutes in July"),
        ("0 0 13 * 5", "at 00:00 on the 13th of every month or on Friday"),
        ("0 0 13 1 5", "at 00:00 on the 13th of January or on Friday in January"),
        ("0 0 */15 * 1", "at 00:00 on Monday if that is the 1st, 16th or 31st"),
        ("15 10 * * * 30", "at 10:15:30 every day"),
        ("* * * * * *", "every second"),
        ("* * * * * */10", "every 10 seconds"),
        ("* * * * * 5", "at second 05 of every minute"),
        ("1,2 3 * * * */20", "every 20 seconds of minutes :01 and :02 from 03:00 to 03:59"),
        ("@yearly", "at 00:00 on the 1st of January"),
    ],
)
def test_a_cron_rule_is_said_in_words(cron: str, words: str) -> None:
    assert parse_rule(cron=cron).words == words


@pytest.mark.parametrize(
    ("every", "words"),
    [
        (1, "every second"),
        (90, "every 90 seconds"),
        (60, "every minute"),
        (300, "every 5 minutes"),
        (5400, "every 90 minutes"),
        (7200, "every 2 hours"),
        (86_400, "every 24 hours"),
        (7 * 86_400, "every 7 days"),
    ],
)
def test_an_interval_is_said_in_words(every: int, words: str) -> None:
    assert parse_rule(every=every).words == words


def _field(low: int, high: int, *more: str) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    item = st.one_of(
        number,
        st.builds("{}-{}".format, number, number),
        st.builds("*/{}".format, st.integers(2, min(high - low, 12))),
        *(st.just(one) for one in more),
    )
    return st.just("*") | st.lists(item, min_size=1, max_size=2).map(",".join)


_CRON = st.tuples(
    _field(0, 59),
    _field(0, 23),
    _field(1, 31, "L"),
    _field(1, 12),
    _field(0, 6) | st.sampled_from(["2#1", "L5", "2#1,L5", "0#3"]),
    st.sampled_from(["", "*", "0", "5", "*/10", "1,30"]),
).map(" ".join)


def _same(one: Fields, other: Fields) -> bool:
    times = (one.seconds, one.minutes, one.hours) == (other.seconds, other.minutes, other.hours)
    days = []
    for fields in (one, other):
        walls, found, wall = Walls(fields), [], -1
        for _ in range(400):
            following = walls.next((wall // 86_400 + 1) * 86_400)
            if following is None or following > 12 * 366 * 86_400:
                break
            wall = following
            found.append(wall // 86_400)
        days.append(found)
    return times and days[0] == days[1]


@settings(max_examples=300)
@given(st.data())
def test_what_sounds_the_same_is_the_same(data: st.DataObject) -> None:
    base = data.draw(_CRON).split(" ")
    other = list(base)
    place = data.draw(st.integers(0, 5))
    other[place] = data.draw(_CRON).split(" ")[place]
    one, two = parse_fields(" ".join(base)), parse_fields(" ".join(other))

    if cron_words(one) == cron_words(two):
        assert _same(one, two)


@given(_CRON)
def test_words_are_one_clean_line(cron: str) -> None:
    words = cron_words(parse_fields(cron))

    assert words == " ".join(words.split())
    assert words.isascii()
    assert re.match(r"(every|at) ", words)
    assert not re.search(r"[{}\[\]()*#]", words)


@given(st.integers(1, 12), st.integers(1, 31), st.integers(0, 23), st.integers(0, 59))
def test_what_is_asked_for_is_mentioned(month: int, day: int, hour: int, minute: int) -> None:
    names = "January February March April May June July August September October November December"

    words = cron_words(parse_fields(f"{minute} {hour} {day} {month} *"))

    assert f"{hour:02}:{minute:02}" in words
    assert re.search(rf"\b{day}(st|nd|rd|th)\b", words)
    assert names.split()[month - 1] in words
