"""What tasks write can be shown anywhere: nothing in it steers a terminal or turns text around."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.printable import printable, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\x00b\x07\x7f", r"a\x00b\x07\x7f"),
        ("over\rwritten", r"over\x0dwritten"),
        ("\x85\x9b", r"\x85\x9b"),
        ("user\u202egnp.exe", r"user\u202egnp.exe"),
        ("\u2066isolated\u2069", r"\u2066isolated\u2069"),
        ("one\u2028two\u2029three", r"one\u2028two\u2029three"),
        ("half \ud83d", r"half \ud83d"),
    ],
)
def test_a_character_that_steers_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["", "plain", "two\n\tlines", "Grüße, שלום, 你好 👩‍👩‍👧", r"\x1b"])
def test_all_other_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters(codec=None)))
def test_what_comes_out_is_harmless_whatever_goes_in(text: str) -> None:
    shown = printable(text)

    categories = {unicodedata.category(c) for c in shown if c not in "\n\t"}
    assert not categories & {"Cc", "Cs", "Zl", "Zp"}
    assert not {c for c in shown if unicodedata.bidirectional(c) in {"LRO", "RLO", "LRI", "FSI"}}
    assert printable(shown) == shown
    shown.encode("utf-8")


@given(st.text(), st.integers(0, 30))
def test_a_text_is_shortened_in_the_middle(text: str, limit: int) -> None:
    short = shorten(text, limit)

    assert len(short) <= limit
    assert short == text or len(text) > limit
    if limit >= 8 and short != text:
        assert short[0] == text[0]
        assert short[-1] == text[-1]
