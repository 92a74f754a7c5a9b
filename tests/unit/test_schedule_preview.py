"""The runs to come are shown as the local clock shows them, with what a clock change did."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskflow.schedules.preview import runs
from taskflow.schedules.rule import parse_rule


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cron", "after", "shown"),
    [
        ("30 2 * * *", "2026-06-01T00:00", ["2026-06-01T02:30:00+02:00"]),
        (
            "30 2 * * *",
            "2026-03-29T00:00",
            ["2026-03-29T03:00:00+02:00 in the gap: moved from 02:30"],
        ),
        (
            "0,30 2,3 * * *",
            "2026-03-29T00:00",
            [
                "2026-03-29T03:00:00+02:00 in the gap: moved from 02:00, 02:30; one run with 03:00",
                "2026-03-29T03:30:00+02:00",
            ],
        ),
        (
            "0,10,20,30,40 2 * * *",
            "2026-03-29T00:00",
            ["2026-03-29T03:00:00+02:00 in the gap: moved from 02:00, 02:10, 02:20, 2 more"],
        ),
        (
            "30 2 * * *",
            "2026-10-25T00:00",
            ["2026-10-25T02:30:00+02:00 first of two 02:30", "2026-10-26T02:30:00+01:00"],
        ),
        (
            "*/30 2 * * *",
            "2026-10-25T00:15",
            [
                "2026-10-25T02:30:00+02:00 first of two 02:30",
                "2026-10-25T02:00:00+01:00 second of two 02:00",
                "2026-10-25T02:30:00+01:00 second of two 02:30",
                "2026-10-26T02:00:00+01:00",
            ],
        ),
        ("0 * * * *", "2026-03-29T00:30", ["2026-03-29T03:00:00+02:00"]),
    ],
)
def test_a_run_says_what_a_clock_change_did_to_it(cron: str, after: str, shown: list[str]) -> None:
    rule = parse_rule(cron=cron, timezone="Europe/Berlin")

    found = runs(rule, at(after), len(shown))

    assert [f"{run.local} {run.note}".rstrip() for run in found] == shown
    assert [run.slot for run in found] == [
        datetime.fromisoformat(run.local).timestamp() for run in found
    ]


def test_a_rule_that_ends_has_fewer_runs_than_were_asked_for() -> None:
    rule = parse_rule(cron="0 0 1 1 *")

    assert [run.local[:4] for run in runs(rule, at("9997-06-01T00:00"), 5)] == ["9998", "9999"]
    assert runs(rule, 1e18, 5) == []


def test_an_interval_is_shown_in_its_zone() -> None:
    rule = parse_rule(every=3600, timezone="Asia/Tokyo")

    assert [run.local for run in runs(rule, 0, 1)] == ["1970-01-01T10:00:00+09:00"]
