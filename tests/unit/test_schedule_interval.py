"""An interval is a grid of whole seconds, wherever it is asked."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.errors import ScheduleError
from taskflow.schedules.interval import LONGEST, Every
from taskflow.schedules.rule import parse_rule
from taskflow.schedules.zones import LAST


def test_slots_lie_on_the_grid_of_the_anchor() -> None:
    rule = Every(300, anchor=1_000_000_010.9)

    assert rule.after(1_000_000_010) == 1_000_000_310
    assert rule.after(1_000_000_009.5) == 1_000_000_010
    assert rule.before(1_000_000_309.9) == 1_000_000_010
    assert rule.before(1_000_000_009) == 1_000_000_010 - 300


@given(
    st.integers(1, LONGEST),
    st.floats(-1e12, 1e12),
    st.floats(allow_nan=True, allow_infinity=True),
)
def test_after_and_before_enclose_any_moment(every: int, anchor: float, moment: float) -> None:
    rule = Every(every, anchor)

    after, before = rule.after(moment), rule.before(moment)

    if after is not None:
        assert moment < after <= LAST
        assert rule.before(after) == after
    if before is not None:
        assert 0 <= before <= moment
        assert rule.after(before - 1) == before
    if after is not None and before is not None:
        assert after - before == every


@pytest.mark.parametrize("every", [300, 300.0, timedelta(minutes=5)])
def test_it_is_given_in_seconds_or_as_a_timedelta(every: float | timedelta) -> None:
    assert Every(every).after(0) == 300


@pytest.mark.parametrize(
    "every",
    [
        *(0, -5, 0.5, 1.5, float("nan"), float("inf"), -float("inf"), True, 10**9, 10**5000),
        *(timedelta(0), timedelta(milliseconds=1500), timedelta.max, "5", b"5", [], Decimal(5)),
    ],
    ids=lambda value: "huge" if value == 10**5000 else repr(value)[:30],
)
def test_what_is_no_interval_is_refused_with_its_value(every: object) -> None:
    with pytest.raises(ScheduleError, match=r"every=.*give") as caught:
        Every(every)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("anchor", [float("nan"), float("inf"), True, "0", None])
def test_what_is_no_anchor_is_refused(anchor: object) -> None:
    with pytest.raises(ScheduleError, match="anchor="):
        Every(5, anchor)  # type: ignore[arg-type]


def test_exactly_one_of_cron_and_every_makes_a_rule() -> None:
    assert parse_rule(every=60, timezone="Asia/Tokyo").zone.name == "Asia/Tokyo"
    assert parse_rule(cron="@daily", timezone="Asia/Tokyo").after(0) == 15 * 3600
    for cron, every in ((None, None), ("@daily", 60)):
        with pytest.raises(ScheduleError, match="one of the two"):
            parse_rule(cron=cron, every=every, timezone=None)


def test_an_error_of_a_schedule_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="every=0"):
        parse_rule(every=0)
