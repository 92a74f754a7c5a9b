"""A rate holds in every stretch of time, wherever it begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.rate import Rate, RateLog, parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, 1)),
        ("100/min", Rate(100, 60)),
        ("100/m", Rate(100, 60)),
        ("5/10s", Rate(5, 10)),
        (" 1 / 2 h ", Rate(1, 7200)),
        ("3/d", Rate(3, 86400)),
    ],
)
def test_a_rate_is_a_number_in_a_time(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "10", "0/s", "-1/s", "10/0s", "1.5/s", "10/week", 10, None])
def test_what_is_no_rate_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="10/s") as caught:
        parse_rate(text)
    assert repr(text) in str(caught.value)


@given(
    st.integers(1, 6),
    st.floats(0.1, 10),
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_stretch_of_the_period_has_more_than_the_rate(
    count: int, period: float, gaps: list[float]
) -> None:
    log = RateLog(Rate(count, period))
    now, done = 0.0, []
    for gap in gaps:
        now += gap
        while log.free(now) > 0:
            log.note(now)
            done.append(now)
    for begin in done:
        assert sum(begin <= moment < begin + period for moment in done) <= count


@given(st.integers(1, 5), st.lists(st.floats(0, 2), max_size=20), st.integers(1, 6))
def test_it_knows_when_there_will_be_so_many_free(
    count: int, gaps: list[float], wanted: int
) -> None:
    log = RateLog(Rate(count, 1.0))
    now = 0.0
    for gap in gaps:
        now += gap
        if log.free(now):
            log.note(now)
    free_now = log.free(now)
    free_at = log.free_at(now, wanted)
    if wanted > count:
        assert free_at is None
        return
    assert free_at is not None
    assert (free_at > now) == (free_now < wanted)
    assert log.free(free_at + 1e-9) >= wanted


def test_a_change_of_the_rate_forgets_nothing() -> None:
    log = RateLog(Rate(2, 1.0))
    log.note(0.0)
    log.note(0.5)
    log.change(Rate(3, 10.0))
    assert log.free(5.0) == 1
    assert log.free(10.1) == 2
