"""What a histogram tells of durations is what a sorted list would tell, within its precision."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.histogram import LONGEST, SHORTEST, Histogram, RecentHistogram

DURATIONS = st.floats(min_value=SHORTEST * 1.001, max_value=LONGEST)
#: The promise, and what floating point may add to it.
PRECISION = 0.05 + 1e-9


def histogram_of(*durations: float) -> Histogram:
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    return histogram


def exact(durations: list[float], q: float) -> float:
    """The smallest duration that at least the share ``q`` of all does not exceed."""
    return sorted(durations)[max(1, math.ceil(q * len(durations))) - 1]


@given(st.lists(DURATIONS, min_size=1, max_size=300), st.floats(0, 1))
def test_a_quantile_is_within_five_percent_of_the_exact_one(
    durations: list[float], q: float
) -> None:
    found = histogram_of(*durations).quantile(q)

    assert found == pytest.approx(exact(durations, q), rel=PRECISION)


@pytest.mark.parametrize("seconds", [2**-13 + n * 2**-20 for n in range(128)])
def test_every_place_inside_of_an_octave_is_as_precise(seconds: float) -> None:
    # A longer one keeps the estimate from being cut at the longest that was seen.
    assert histogram_of(seconds, 1.0).quantile(0.5) == pytest.approx(seconds, rel=PRECISION)


@given(st.lists(st.floats(0, 1e9), max_size=100))
def test_count_sum_and_maximum_are_exact(durations: list[float]) -> None:
    histogram = histogram_of(*durations)

    assert histogram.count == len(durations)
    assert histogram.sum == pytest.approx(sum(durations))
    assert histogram.max == max(durations, default=0.0)


@given(st.lists(st.floats(0, 1e7), max_size=100), st.lists(st.floats(0, 1e7), max_size=100))
def test_two_that_are_merged_tell_the_same_as_one(left: list[float], right: list[float]) -> None:
    merged, other = histogram_of(*left), histogram_of(*right)
    both = histogram_of(*left, *right)

    merged.merge(other)

    assert list(merged) == list(both)
    assert merged.max == both.max
    assert merged.sum == pytest.approx(both.sum)
    assert other.count == len(right)


def test_an_empty_one_has_no_quantiles() -> None:
    assert Histogram().quantile(0.5) is None
    assert (Histogram().count, Histogram().sum, Histogram().max) == (0, 0.0, 0.0)


def test_what_is_too_short_or_too_long_is_counted_all_the_same() -> None:
    histogram = histogram_of(0.0, 1e-9, 2 * LONGEST)

    assert histogram.count == 3
    assert histogram.quantile(0.5) == SHORTEST / 2
    assert histogram.quantile(1) == 2 * LONGEST


def test_the_estimate_never_exceeds_the_longest_that_was_seen() -> None:
    just_above_a_bound = SHORTEST * 1.0001

    assert histogram_of(*[just_above_a_bound] * 2).quantile(0.5) == just_above_a_bound


@given(st.lists(DURATIONS, min_size=1))
def test_the_whole_does_not_exceed_exactly_the_longest(durations: list[float]) -> None:
    assert histogram_of(*durations).quantile(1) == max(durations)


@pytest.mark.parametrize("seconds", [-1.0, math.nan])
def test_what_a_clock_that_was_set_yields_counts_as_nothing(seconds: float) -> None:
    histogram = histogram_of(seconds, 1.0)

    assert (histogram.count, histogram.sum, histogram.max) == (2, 1.0, 1.0)


@pytest.mark.parametrize("q", [-0.1, 1.1, 99, math.nan])
def test_a_share_that_is_none_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match=f"0 to 1, not {q}"):
        Histogram().quantile(q)


@given(DURATIONS | st.sampled_from([bound for bound, _ in Histogram()][:-1]))
def test_the_buckets_have_inclusive_upper_bounds_and_the_last_has_none(seconds: float) -> None:
    buckets = list(histogram_of(seconds))
    bounds = [bound for bound, _ in buckets]

    assert (bounds[0], bounds[-2], bounds[-1]) == (SHORTEST, LONGEST, math.inf)
    assert bounds == sorted(set(bounds))
    assert [bound for bound, count in buckets if count] == [min(b for b in bounds if b >= seconds)]


def test_neighbouring_bounds_are_at_most_ten_percent_apart() -> None:
    bounds = [bound for bound, _ in Histogram()][:-1]

    assert max(high / low for low, high in itertools.pairwise(bounds)) <= 1.1 + 1e-9


# -- the last minute -------------------------------------------------------------------------------


def test_what_was_added_is_recent_for_as_many_turns_as_there_are_slices() -> None:
    histogram = RecentHistogram(slices=3)
    histogram.add(1.0)
    seen = []

    for _ in range(4):
        seen.append((histogram.recent.count, histogram.total.count))
        histogram.rotate()

    assert seen == [(1, 1), (1, 1), (1, 1), (0, 1)]


@given(st.lists(st.lists(DURATIONS, max_size=5), max_size=20), st.integers(1, 8))
def test_the_slices_and_what_came_before_are_everything(
    turns: list[list[float]], slices: int
) -> None:
    histogram = RecentHistogram(slices)

    for durations in turns:
        histogram.rotate()
        for seconds in durations:
            histogram.add(seconds)

    recent = [seconds for turn in turns[-slices:] for seconds in turn]
    assert list(histogram.recent) == list(histogram_of(*recent))
    assert list(histogram.total) == list(histogram_of(*itertools.chain(*turns)))


def test_what_is_handed_out_does_not_change_any_more() -> None:
    histogram = RecentHistogram()
    histogram.add(1.0)
    recent, total = histogram.recent, histogram.total

    histogram.add(2.0)

    assert (recent.count, total.count) == (1, 1)


def test_a_slice_that_was_begun_before_a_turn_still_counts_when_it_is_added_to_late() -> None:
    histogram = RecentHistogram(slices=2)
    late = histogram._current.add  # what a thread holds that was interrupted in `add`

    histogram.rotate()
    late(1.0)

    assert (histogram.recent.count, histogram.total.count) == (1, 1)
    histogram.rotate()
    histogram.rotate()
    assert (histogram.recent.count, histogram.total.count) == (0, 1)


def test_no_slices_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        RecentHistogram(0)
