"""What a worker process sends while it works: read back as it was, or ignored."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.messages import (
    LastWord,
    LeftOut,
    Line,
    Message,
    Progress,
    decode,
    make_progress,
)

FINITE = st.one_of(
    st.integers(-(10**300), 10**300), st.floats(allow_nan=False, allow_infinity=False)
)
MESSAGES = st.one_of(
    st.builds(Line, st.floats(0, 1e12), st.text(), st.text()),
    st.builds(make_progress, FINITE, st.none() | st.integers(1, 10**300), st.text()),
    st.builds(LeftOut, st.integers(0, 10**9)),
    st.builds(LastWord, st.text(st.characters(exclude_characters="\0"))),
)


@given(MESSAGES)
def test_a_message_is_read_back_as_it_was_sent(message: Message) -> None:
    read = decode(message.encode())

    assert read == message
    assert type(read) is type(message)
    assert b"\n" not in message.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"nonsense",
        b"{}",
        b"[]",
        b"[[]]",
        b"7",
        b"null",
        b'"line"',
        b'["line"]',
        b'["unknown", 1]',
        b'["line", "now", "info", "text"]',
        b'["line", NaN, "info", "text"]',
        b'["line", 1.0, "info", 7]',
        b'["line", 1.0, null, "text"]',
        b'["progress", "much", 10, ""]',
        b'["progress", NaN, null, ""]',
        b'["progress", 1, 0, ""]',
        b'["left out", -1]',
        b'["left out", 1.5]',
        b'["last word", 7]',
        b'["last word", "a\\u0000b"]',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_ignored(data: bytes) -> None:
    assert decode(data) is None


@given(st.binary())
def test_no_bytes_at_all_are_an_error(data: bytes) -> None:
    decode(data)


def test_progress_may_be_any_kind_of_number() -> None:
    assert make_progress(3) == Progress(3, None, "")
    assert make_progress(0.5, 1, "half") == Progress(0.5, 1, "half")
    assert make_progress(Decimal("2.5"), Decimal(4)) == Progress(2.5, 4.0, "")
    assert make_progress(len("x") == 1, 2) == Progress(1, 2, "")


def test_more_than_the_total_may_be_done() -> None:
    assert make_progress(11, 10).done == 11


@pytest.mark.parametrize("wrong", ["3", None, [], 1j])
def test_what_is_not_a_number_is_refused_with_its_name(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"done=.* is not a number"):
        make_progress(wrong)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 10**400])
def test_a_number_that_is_not_finite_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="done"):
        make_progress(wrong)
    with pytest.raises(ValueError, match="total"):
        make_progress(1, abs(wrong))


@pytest.mark.parametrize("wrong", [0, -1, -0.5])
def test_a_total_has_to_be_more_than_nothing(wrong: float) -> None:
    with pytest.raises(ValueError, match="leave it out"):
        make_progress(1, wrong)


def test_the_message_of_a_progress_is_cut_and_made_harmless() -> None:
    assert len(make_progress(1, message="\x1b" * 500).message) == 200
    assert make_progress(1, message="a\x1bb").message == r"a\x1bb"
    assert make_progress(1, message=7).message == "7"
