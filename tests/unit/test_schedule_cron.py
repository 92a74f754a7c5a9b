"""A cron rule follows the clock of its place, and keeps its promise when that clock is changed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from taskflow.errors import ScheduleError
from taskflow.schedules.cron import Cron
from taskflow.schedules.zones import LAST, Zone, zone


def at(text: str) -> int:
    """A moment in UTC as seconds since the epoch."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def slots(cron: str, place: str, first: str, last: str) -> list[str]:
    """The runs from ``first`` to ``last`` (UTC), as the local clock shows them."""
    rule = Cron(cron, zone(place))
    found = []
    moment: float = at(first) - 1
    while (slot := rule.after(moment)) is not None and slot <= at(last):
        found.append(f"{rule.zone.local(slot):%d %H:%M %z}")
        moment = slot
    return found


@pytest.mark.parametrize(
    ("cron", "place", "day", "runs"),
    [
        # Times of the day run once a day, at the end of a gap ...
        ("30 2 * * *", "America/New_York", "2026-03-08", ["08 03:00 -0400"]),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03", ["04 02:30 +1100"]),
        ("0 0 * * *", "Africa/Cairo", "2026-04-23", ["24 01:00 +0300"]),
        ("0 0 * * *", "America/Asuncion", "2023-10-01", ["01 01:00 -0300"]),
        ("15,30,45 2 * * *", "Europe/Berlin", "2026-03-29", ["29 03:00 +0200"]),
        ("30 2,3 * * *", "Europe/Berlin", "2026-03-29", ["29 03:00 +0200", "29 03:30 +0200"]),
        ("0 2,3 * * *", "Europe/Berlin", "2026-03-29", ["29 03:00 +0200"]),
        # ... and the first time in a fold.
        ("30 1 * * *", "America/New_York", "2026-11-01", ["01 01:30 -0400"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["25 02:30 +0200"]),
        # What follows real time skips what does not exist and runs in both passes.
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-29", []),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            "2026-10-25",
            ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100"],
        ),
        (
            "0 1-3 * * *",
            "Europe/Berlin",
            "2026-10-25",
            ["25 02:00 +0200", "25 02:00 +0100", "25 03:00 +0100"],
        ),
    ],
)
def test_a_clock_change_neither_loses_nor_doubles_a_run(
    cron: str, place: str, day: str, runs: list[str]
) -> None:
    assert slots(cron, place, f"{day}T00:00", f"{day}T23:59") == runs


def test_a_day_that_a_country_skipped_has_its_run_when_the_next_day_begins() -> None:
    found = slots("30 2 * * *", "Pacific/Apia", "2011-12-29T00:00", "2011-12-31T00:00")

    assert found == ["29 02:30 -1000", "31 00:00 +1400", "31 02:30 +1400"]


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 0 13 * 5", [5, 12, 13, 19, 26]),
        ("0 0 13 * FRI", [5, 12, 13, 19, 26]),
        ("0 0 * * 5", [5, 12, 19, 26]),
        ("0 0 13 * *", [13]),
        ("0 0 13 * 0-7", list(range(1, 32))),
        ("0 0 */10 * 0", [21]),
        ("0 0 L * *", [31]),
        ("0 0 1,L * *", [1, 31]),
        ("0 0 * * 0", [7, 14, 21, 28]),
        ("0 0 * * 7", [7, 14, 21, 28]),
        ("0 0 * * SAT-MON", [1, 6, 7, 8, 13, 14, 15, 20, 21, 22, 27, 28, 29]),
        ("0 0 * * 2#1", [2]),
        ("0 0 * * TUE#1,L5", [2, 26]),
        ("0 0 * * 1#5", [29]),
        ("0 0 ? * 0", [7, 14, 21, 28]),
        ("0 0 30-2 * *", [1, 2, 30, 31]),
        ("@weekly", [7, 14, 21, 28]),
        ("@monthly", [1]),
    ],
)
def test_days_are_chosen_by_number_and_weekday(cron: str, days: list[int]) -> None:
    """January 2024, which begins with a Monday."""
    found = slots(cron, "UTC", "2024-01-01T00:00", "2024-01-31T23:59")

    assert [int(text[:2]) for text in found] == days


def test_the_sixth_field_is_the_second() -> None:
    rule = Cron("15 10 * * * 30")

    assert rule.after(at("2026-01-01T00:00")) == at("2026-01-01T10:15:30")


def test_a_rule_may_be_decades_away() -> None:
    leap_fridays = Cron("0 0 */28 2 5#5")

    assert leap_fridays.after(at("2064-03-01T00:00")) == at("2092-02-29T00:00")
    assert leap_fridays.before(at("2092-02-28T23:59")) == at("2064-02-29T00:00")


def test_a_slot_is_not_after_itself_and_is_at_itself() -> None:
    rule, noon = Cron("0 12 * * *"), at("2026-05-05T12:00")

    assert rule.after(noon - 0.001) == noon
    assert rule.after(noon) == noon + 86_400
    assert rule.before(noon) == noon
    assert rule.before(noon - 0.001) == noon - 86_400


@pytest.mark.parametrize("cron", ["* * * * *", "30 22 * * *", "* * * * * *", "0 0 1 1 *"])
@pytest.mark.parametrize("place", ["UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/Nuuk"])
@pytest.mark.parametrize(
    "moment",
    [
        *(-(10**400), -1e308, float("-inf"), -1.0, 0, 1.5, 2.2e11, LAST - 1, LAST, 1e18, 10**400),
        *(float("inf"), float("nan")),
    ],
    ids=lambda moment: f"{moment:.20}" if isinstance(moment, float) else str(moment)[:20],
)
def test_no_moment_is_too_early_or_too_late_to_be_asked(
    cron: str, place: str, moment: float
) -> None:
    rule = Cron(cron, zone(place))

    after, before = rule.after(moment), rule.before(moment)

    assert after is None or (0 <= after <= LAST and after > moment)
    assert before is None or (0 <= before <= LAST and before <= moment)


def test_before_1970_and_after_9999_there_is_nothing() -> None:
    rule = Cron("* * * * *")

    assert rule.before(-1) is None
    assert rule.after(-1e12) == 0
    assert rule.before(0) == 0
    assert rule.after(LAST) is None
    assert rule.before(1e18) == LAST - 59


def test_a_rule_whose_times_all_fall_into_gaps_ends_its_search() -> None:
    looked_at = []

    class Watched(Zone):
        def stretch(self, moment: int) -> tuple[int, int, int]:
            looked_at.append(moment)
            return super().stretch(moment)

    place = Watched("America/New_York", ZoneInfo("America/New_York"))
    rule = Cron("*/5 2 8-14 3 */7", place)  # the second Sunday of March

    assert rule.after(at("2026-01-01T00:00")) is None
    assert max(looked_at) < at("2127-01-01T00:00")
    assert rule.before(at("2026-01-01T00:00")) == at("2006-03-12T07:55")


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("75 * * * *", "minute field '75'.* 0 to 59"),
        ("* 24 * * *", "hour field '24'.* 0 to 23"),
        ("* * 0 * *", "day of month field '0'.* 1 to 31"),
        ("* * * 13 *", "month field '13'.* JAN to DEC"),
        ("* * * FOO *", "month field 'FOO'"),
        ("* * * * 8", "weekday field '8'.* SUN to SAT"),
        ("* * * * * 60", "second field '60'.* 0 to 59"),
        ("*/90 * * * *", "step of 90 .*every="),
        ("*/0 * * * *", "step of 0"),
        ("50-10/7 * * * *", "write two ranges"),
        ("1,,2 * * * *", "between two commas"),
        ("1-2-3 * * * *", "not understood"),
        ("*-5 * * * *", "not understood"),
        ("0 0 15W * *", "15W is not understood"),
        ("0 0 29-L * *", "29-L is not understood"),
        ("0 0 * * 5L", "L5 for the last Friday"),
        ("0 0 * * 2#6", "2#6 is not understood"),
        ("0 0 * * 1,5#2", "two schedules"),
        ("٣ * * * *", "plain characters"),
        ("0\0 * * * *", "plain characters"),
        ("H * * * *", "hashed"),
        ("0 R(1-5) * * *", "random"),
        ("@reboot", "@hourly"),
        ("@", "@hourly"),
        ("0 0 1 1 * 0 2030", "years"),
        ("", "0 fields"),
        (" \t\n", "0 fields"),
        ("* * * *", "4 fields: give five .*second last"),
        ("* " * 5_000, "200 characters"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 */30 2 0#5", "never comes"),
        (None, "a string"),
        (5, "a string"),
        (b"* * * * *", "a string"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_cannot_work_is_refused_with_the_field_and_the_way_out(
    cron: object, says: str
) -> None:
    with pytest.raises(ScheduleError, match=says) as caught:
        Cron(cron)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()
