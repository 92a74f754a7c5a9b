"""Which slots are fired when an instance looks: the one that is due, and what was missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.schedules.due import GRACE, MOST_CAUGHT_UP, Due, due
from taskflow.schedules.rule import parse_rule
from taskflow.schedules.spec import CatchUp

MINUTELY = parse_rule(every=60)
NOON = parse_rule(cron="0 12 * * *")
DAY = 86_400
#: A noon of 2026.
AT = 1_782_475_200


def test_nothing_is_due_before_the_next_slot() -> None:
    assert due(NOON, AT, AT + 3600, "all") == Due((), AT)


@pytest.mark.parametrize("catch_up", ["latest", "all", "skip"])
def test_a_slot_is_due_from_its_very_second_on_and_once(catch_up: CatchUp) -> None:
    assert due(NOON, AT - DAY, AT - 0.001, catch_up).slots == ()
    found = due(NOON, AT - DAY, AT, catch_up)
    assert found == Due((AT,), AT)
    assert due(NOON, found.position, AT + 1, catch_up).slots == ()


def test_of_those_that_were_missed_only_the_latest_is_fired() -> None:
    assert due(NOON, AT - 5 * DAY, AT + 7200, "latest") == Due((AT,), AT, dropped=True)


def test_all_that_were_missed_are_fired_in_order() -> None:
    found = due(NOON, AT - 3 * DAY, AT + 7200, "all")

    assert found == Due((AT - 2 * DAY, AT - DAY, AT), AT)


def test_of_very_many_only_the_latest_are_fired() -> None:
    found = due(MINUTELY, AT - 30 * DAY, AT, "all")

    assert found.slots == tuple(range(AT - 60 * (MOST_CAUGHT_UP - 1), AT + 1, 60))
    assert found.dropped


def test_those_that_were_missed_are_left_out_and_the_next_one_is_not() -> None:
    late = due(NOON, AT - 5 * DAY, AT + GRACE + 1, "skip")

    assert late == Due((), AT, dropped=True)
    assert due(NOON, late.position, AT + DAY + GRACE, "skip").slots == (AT + DAY,)


@given(
    looks=st.lists(st.floats(0.1, 5000), min_size=1, max_size=40),
    catch_up=st.sampled_from(["latest", "all", "skip"]),
)
def test_however_often_an_instance_looks_no_slot_is_fired_twice_and_all_of_them_by_all(
    looks: list[float], catch_up: CatchUp
) -> None:
    position, now, fired = float(AT), float(AT), list[int]()
    for pause in looks:
        now += pause
        found = due(MINUTELY, position, now, catch_up)
        assert found.position >= position
        position = found.position
        fired.extend(found.slots)

    assert fired == sorted(set(fired))
    if catch_up == "all":
        assert fired == list(range(AT + 60, int(now) + 1, 60))
    if catch_up == "latest":
        assert sum(pause >= 60 for pause in looks) <= len(fired) <= len(looks)
