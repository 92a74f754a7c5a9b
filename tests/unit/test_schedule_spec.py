"""What a schedule is asked to do: checked at once, stored, changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from taskflow import ScheduleError
from taskflow.schedules.spec import ScheduleSpec, check_name, make_spec

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "give one of the two"),
    ({"cron": "0 2 * * *", "every": 60}, "give one of the two"),
    ({"cron": "0 25 * * *"}, "hour"),
    ({"cron": "0 0 30 2 *"}, "never"),
    ({"cron": 5}, "5"),
    ({"every": 0}, "at least 1 second"),
    ({"every": -5}, "at least 1 second"),
    ({"every": 0.5}, "at least 1 second"),
    ({"every": 1.5}, "whole seconds"),
    ({"every": True}, "seconds"),
    ({"every": float("nan")}, "nan"),
    ({"every": 60, "timezone": "Europe/Berlim"}, "Europe/Berlin"),
    ({"every": 60, "catch_up": "some"}, "'latest', 'all', 'skip'"),
    ({"every": 60, "overlap": "maybe"}, "'skip', 'queue', 'allow'"),
    ({"every": 60, "jitter": -1}, "jitter=-1"),
    ({"every": 60, "jitter": float("inf")}, "jitter=inf"),
    ({"every": 60, "jitter": "5"}, "jitter='5'"),
    ({"every": 60, "jitter": 10**400}, "jitter="),
    ({"every": 60, "jitter": 60}, "would leave out the next ones"),
    ({"every": 60, "run_on_startup": 1}, "True or False"),
]


@pytest.mark.parametrize(("given", "says"), WRONG)
def test_what_cannot_work_is_refused_with_the_value_and_the_way_out(
    given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ScheduleError) as caught:
        ScheduleSpec(**given)

    assert says in str(caught.value)
    assert len(str(caught.value)) < 500


def test_it_is_stored_as_what_is_not_the_default_and_comes_back() -> None:
    spec = make_spec(
        cron="30 2 * * *",
        timezone="Europe/Berlin",
        jitter=timedelta(minutes=1),
        args='{"args":[1]}',
    )

    assert spec.jitter == 60.0
    assert ScheduleSpec.load(spec.dump()) == spec
    assert make_spec(every=timedelta(minutes=5)).dump() == '{"every": 300}'


@pytest.mark.parametrize("text", ["", "[]", "[1]", '"x"', "null", '{"colour": 1}', "[" * 9999])
def test_what_something_else_has_written_is_an_error_that_says_so(text: str) -> None:
    with pytest.raises(ScheduleError, match="stored as"):
        ScheduleSpec.load(text)


def test_a_change_of_the_rule_replaces_it_whichever_kind_it_was() -> None:
    daily = ScheduleSpec(cron="0 2 * * *", timezone="Europe/Berlin")

    assert daily.changed({"every": 60}) == ScheduleSpec(every=60, timezone="Europe/Berlin")
    assert daily.changed({"every": 60}).changed({"cron": "@hourly"}).every is None
    assert daily.changed({"overlap": "allow"}).cron == "0 2 * * *"
    with pytest.raises(ScheduleError, match="colour"):
        daily.changed({"colour": "red"})


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "a\0b", "\x1b[31m", 5, None, "\ud800"])
def test_a_name_is_one_printable_line(name: object) -> None:
    with pytest.raises(ScheduleError, match="name="):
        check_name(name)


def test_an_ordinary_name_is_one() -> None:
    assert check_name("app.tasks:send_report") == "app.tasks:send_report"
