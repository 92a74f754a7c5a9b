"""Fields are read as sets of numbers, whatever the way they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.errors import ScheduleError
from taskflow.schedules.fields import LAST_ONE, parse_fields
from tests.model.cron_oracle import MONTHS, WEEKDAYS, numbers, weekdays


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("5", [5]),
        ("5,5,4", [4, 5]),
        ("5-5", [5]),
        ("0-0", [0]),
        ("1-1,3", [1, 3]),
        ("58-1", [0, 1, 58, 59]),
        ("*/20", [0, 20, 40]),
        ("5/20", [5, 25, 45]),
        ("5-30/20", [5, 25]),
        ("59/2", [59]),
        ("*", list(range(60))),
    ],
)
def test_a_field_is_a_set_of_numbers(text: str, minutes: list[int]) -> None:
    assert list(parse_fields(f"{text} * * * *").minutes) == minutes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", [0]),
        ("7", [0]),
        ("7-7", [0]),
        ("5-7", [0, 5, 6]),
        ("7-2", [0, 1, 2]),
        ("6-0", [0, 6]),
        ("0-7", [0, 1, 2, 3, 4, 5, 6]),
        ("1-7/2", [0, 1, 3, 5]),
        ("0-7/7", [0]),
        ("sat-Mon", [0, 1, 6]),
        ("FRI,1", [1, 5]),
    ],
)
def test_sunday_is_0_and_7(text: str, expected: list[int]) -> None:
    assert list(parse_fields(f"* * * * {text}").weekdays) == expected


def test_a_weekday_may_be_one_of_the_month() -> None:
    fields = parse_fields("0 0 * * 2#1,LFRI,7#3")

    assert fields.nth == ((0, 3), (2, 1), (5, LAST_ONE))
    assert fields.weekdays == ()


def test_seconds_come_last_and_are_0_unless_given() -> None:
    assert parse_fields("1 * * * *").seconds == (0,)
    assert parse_fields("1 * * * * 5,6").seconds == (5, 6)


@pytest.mark.parametrize(
    ("cron", "interval"),
    [
        ("30 2 * * *", False),
        ("0,30 2,4 1-5 */2 MON-FRI", False),
        ("30 2 * * * 15", False),
        ("*/5 2 * * *", True),
        ("30 * * * *", True),
        ("30 1-3 * * *", True),
        ("5/20 1 * * *", True),
        ("30 2 * * * *", True),
        ("@daily", False),
        ("@hourly", True),
    ],
)
def test_stars_ranges_and_steps_in_the_time_make_a_rule_of_real_time(
    cron: str, interval: bool
) -> None:
    assert parse_fields(cron).interval is interval


@pytest.mark.parametrize(
    ("cron", "both"),
    [("0 0 1 * 1", False), ("0 0 */2 * 1", True), ("0 0 1 * */2", True), ("0 0 ? * 1", True)],
)
def test_a_day_must_fit_both_fields_only_if_one_begins_with_a_star(cron: str, both: bool) -> None:
    assert parse_fields(cron).both is both


_KINDS = {"minutes": (0, 59), "hours": (0, 23), "days": (1, 31), "months": (1, 12)}


@given(st.sampled_from(sorted(_KINDS)), st.data())
def test_items_of_any_shape_are_read_as_a_plain_reader_reads_them(
    kind: str, data: st.DataObject
) -> None:
    low, high = _KINDS[kind]
    number = st.integers(low, high)
    first, last = data.draw(number), data.draw(number)
    step = data.draw(st.integers(1, high - low))
    shapes = [f"{first}", f"{first}-{last}", f"{first}/{step}", f"*/{step}"]
    if first <= last:
        shapes.append(f"{first}-{last}/{step}")
    text = ",".join(data.draw(st.lists(st.sampled_from(shapes), min_size=1, max_size=9)))
    texts = [text if name == kind else "*" for name in _KINDS]

    found = getattr(parse_fields(" ".join([*texts, "*"])), kind)

    assert set(found) == numbers(text, low, high, MONTHS)
    assert list(found) == sorted(found)


@given(st.integers(0, 7), st.integers(0, 7), st.integers(1, 6))
def test_weekdays_of_any_shape_are_read_as_a_plain_reader_reads_them(
    first: int, last: int, step: int
) -> None:
    shapes = [f"{first}", f"{first}-{last}", f"{WEEKDAYS[first % 7]}", f"*/{step}"]
    if first <= last:
        shapes.append(f"{first}-{last}/{step}")
    for text in shapes:
        assert set(parse_fields(f"* * * * {text}").weekdays) == weekdays(text), text


@given(st.text(st.sampled_from("0123456789*/-,#?LlHRW@ MONFRIJAN\0\n\t"), max_size=60))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    try:
        fields = parse_fields(text)
    except ScheduleError:
        return
    assert fields.minutes
    assert fields.weekdays or fields.nth
