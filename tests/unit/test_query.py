"""The query bar: what a line means, and what is said of one that means nothing."""

from __future__ import annotations

import random
import string

import pytest

from taskflow.query import EXAMPLES, LONGEST, Condition, QueryError, parse
from taskflow.states import TaskStatus

NOW = 1_763_800_000.0


def only(text: str) -> Condition:
    (condition,) = parse(text, NOW).conditions
    return condition


@pytest.mark.parametrize("text", ["", "   ", "\t\n"])
def test_a_line_of_blanks_is_a_query_without_conditions(text: str) -> None:
    assert not parse(text, NOW)


@pytest.mark.parametrize("example", EXAMPLES.values())
def test_every_example_that_is_told_can_be_written(example: str) -> None:
    assert only(example).field == example.replace(">", ":").partition(":")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status:failed,retrying", {"statuses": {TaskStatus.FAILED, TaskStatus.RETRYING}}),
        ("STATUS:Failed", {"statuses": {TaskStatus.FAILED}}),
        ("task:send_*", {"values": ("send_*",)}),
        ("task:shop:send", {"values": ("shop:send",)}),
        ("queue:a,b", {"values": ("a", "b")}),
        ('queue:"a,b"', {"values": ("a,b",)}),
        ('error:"no route"', {"values": ("no route",)}),
        ('error:"say \\"no\\""', {"values": ('say "no"',)}),
        ("wait>500ms", {"operator": ">", "number": 0.5}),
        ("run<2m", {"operator": "<", "number": 120.0}),
        ("run>1.5h", {"operator": ">", "number": 5400.0}),
        ("wait>7", {"operator": ">", "number": 7.0}),
        ("attempt>1", {"operator": ">", "number": 1.0}),
        ("attempt:2", {"operator": ":", "number": 2.0}),
        ("after:-2h", {"number": NOW - 7200}),
        ("before:1970-01-02", {"number": 86400.0}),
        ("before:1970-01-01T02:00+01:00", {"number": 3600.0}),
        ("word", {"field": "text", "values": ("word",)}),
        ('"two words"', {"field": "text", "values": ("two words",)}),
        ('"status:failed"', {"field": "text", "values": ("status:failed",)}),
        ("-status:success", {"negated": True, "statuses": {TaskStatus.SUCCESS}}),
        ('-"two words"', {"negated": True, "values": ("two words",)}),
    ],
)
def test_a_word_means_what_the_bar_says(text: str, expected: dict[str, object]) -> None:
    found = only(text)

    assert {name: getattr(found, name) for name in expected} == expected


def test_words_are_separated_by_blanks_of_any_kind() -> None:
    fields = [one.field for one in parse(' lane:cpu\t"a b"  wait>5s\n', NOW).conditions]

    assert fields == ["lane", "text", "wait"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour:red", "'colour:' is nothing to look for"),
        ("colour:red", "task:send_*"),
        ("status:dead", "interrupted"),
        ("status:", "status: says nothing"),
        ("task:", "task:send_*"),
        ("wait:5s", "wait>5s"),
        ("wait>soon", "500ms"),
        ("lane>cpu", "lane:cpu"),
        ("attempt>many", "attempt>1"),
        ("after:lunch", "after:-2h"),
        ("after:12026-01-01", "after:-2h"),
        ('error:"open', "quotation mark"),
        ("-", "'-' stands before nothing"),
        ("x" * (LONGEST + 1), "1001 characters"),
        ("a " * 21, "21 words"),
        ("error:a*b*c*d*e*f*g*", "wildcards"),
        ("\0", "character"),
        ("\ud800", "character"),
    ],
)
def test_a_line_that_means_nothing_is_refused_with_what_is_possible(text: str, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text, NOW)

    assert said in str(caught.value)
    str(caught.value).encode()


def test_any_line_is_a_query_or_refused() -> None:
    draw = random.Random(7)
    letters = string.printable + "\0\ud800é\u202e'\"%_*?:<>-," * 4
    for _ in range(2000):
        text = "".join(draw.choices(letters, k=draw.choice((1, 5, 40, 300))))
        for line in (text, f"status:{text}", f"after:{text}", f"wait>{text}", f'"{text}"'):
            try:
                parse(line, NOW)
            except QueryError as error:
                str(error).encode()


def test_the_statuses_of_a_query_are_those_that_all_words_leave_over() -> None:
    assert parse("status:failed,success -status:success", NOW).statuses == {TaskStatus.FAILED}
    assert parse("task:x", NOW).statuses == set(TaskStatus)
    assert parse("status:failed", NOW).within(frozenset({TaskStatus.PENDING})).statuses == set()
    assert not parse("status:failed", NOW).without_status()
