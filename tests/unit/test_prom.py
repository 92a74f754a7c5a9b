"""The text format of Prometheus, read by its own parser."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from executors.histogram import Histogram, RecentHistogram
from taskflow.admin.prom import MARKS, Family, Sample, histogram, longer_than, render

#: What a name may hold beside letters: what the format escapes, what it separates with.
HOSTILE = [
    'a"b',
    "back\\slash",
    "\\",
    '\\"',
    "\\n",
    "two\nlines",
    "carriage\rreturn",
    'x"} 1\nforged_total{y="',
    "{}=,#",
    "# HELP x y",
    " spaces  ",
    "ümläut 😀",
    "\u2028\u2029\x85\x0b\x0c",
    "null\x00",
    "",
]


def gauge(*samples: Sample, text: str = "A number.") -> Family:
    return Family("some_gauge", "gauge", text, samples)


def read_labels(text: str) -> list[dict[str, str]]:
    (family,) = text_string_to_metric_families(text)
    return [sample.labels for sample in family.samples]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_comes_back_as_itself_and_forges_nothing(name: str) -> None:
    text = render([gauge(Sample(1, {"queue": name, "lane": "io"}))])

    assert read_labels(text) == [{"queue": name, "lane": "io"}]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_any_names_come_back_as_themselves(names: list[str]) -> None:
    text = render([gauge(Sample(1, {"a": "first"}), *(Sample(2, {"a": name}) for name in names))])

    assert read_labels(text) == [{"a": name} for name in ["first", *names]]


def test_half_a_character_is_shown_as_an_escape_and_can_be_sent() -> None:
    text = render([gauge(Sample(1, {"queue": "\ud800"}))])

    assert read_labels(text) == [{"queue": "\\ud800"}]
    assert text.encode()


def test_the_format_is_that_of_version_0_0_4_to_the_letter() -> None:
    family = gauge(
        Sample(1, {}), Sample(0.5, {"a": 'x"\\\n', "b": "y"}), text='a "quoted" \\ and\na line'
    )

    assert render([family, Family("none", "counter", "Nothing known.", ())]) == (
        '# HELP some_gauge a "quoted" \\\\ and\\na line\n'
        "# TYPE some_gauge gauge\n"
        "some_gauge 1\n"
        'some_gauge{a="x\\"\\\\\\n",b="y"} 0.5\n'
    )


@pytest.mark.parametrize("value", [0, 1e-300, 1e300, 0.1, 2**70, math.inf, -math.inf, math.nan])
def test_every_number_can_be_read(value: float) -> None:
    (family,) = text_string_to_metric_families(render([gauge(Sample(value, {}))]))

    assert repr(float(value)) == repr(float(family.samples[0].value))


# -- histograms ----------------------------------------------------------------------------------


def test_every_mark_is_a_bound_of_the_fine_histogram_and_there_are_20_with_infinity() -> None:
    assert set(MARKS) <= {bound for bound, _ in Histogram()}
    assert len(MARKS) + 1 <= 20


@given(st.lists(st.floats(0, 1e6), max_size=60))
def test_a_bucket_counts_exactly_what_is_not_longer_than_its_mark(durations: list[float]) -> None:
    found = Histogram()
    for seconds in durations:
        found.add(seconds)

    samples = list(histogram({"lane": "io"}, found))

    buckets = [sample for sample in samples if sample.suffix == "_bucket"]
    assert [sample.value for sample in buckets] == [
        sum(seconds <= mark for seconds in durations) for mark in (*MARKS, math.inf)
    ]
    assert [float(sample.labels["le"]) for sample in buckets[:-1]] == pytest.approx(MARKS)
    assert {s.suffix: s.value for s in samples if s.suffix != "_bucket"} == {
        "_sum": found.sum,
        "_count": len(durations),
    }


def test_counts_and_sums_never_fall_while_slices_of_time_go_by() -> None:
    found = RecentHistogram(slices=3)
    before = [0.0] * (len(MARKS) + 3)

    for number in range(200):
        found.add(1.1**number / 1e4)
        if number % 5 == 0:
            found.rotate()
        now = [sample.value for sample in histogram({}, found.total)]
        assert all(new >= old for new, old in zip(now, before, strict=True))
        before = now

    assert before[-1] == 200


def test_what_is_clearly_longer_is_counted_and_what_is_not_longer_is_not() -> None:
    found = Histogram()
    for seconds in (0.05, 0.1, 0.111, 0.2, 7.0):
        found.add(seconds)

    assert longer_than(found, 0.1) == 3
    assert longer_than(found, 7.0) == 0
