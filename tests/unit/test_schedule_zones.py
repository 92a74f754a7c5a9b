"""A zone is a row of stretches of constant offset."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from taskflow.errors import ScheduleError
from taskflow.schedules.zones import LAST, zone


@pytest.mark.parametrize("name", ["Europe/Berlin", "Africa/Casablanca", "Asia/Gaza", "Asia/Tokyo"])
def test_stretches_have_the_offsets_of_the_zone_and_lie_side_by_side(name: str) -> None:
    place, chance = zone(name), random.Random(name)

    for _ in range(300):
        moment = chance.randrange(0, 4_000_000_000)
        start, end, offset = place.stretch(moment)
        shown = datetime.fromtimestamp(moment, UTC).astimezone(ZoneInfo(name)).utcoffset()
        assert start <= moment < end
        assert shown is not None
        assert offset == shown.total_seconds()
        assert place.stretch(end)[0] == end


def test_utc_is_the_zone_when_none_is_given() -> None:
    assert zone(None) is zone("UTC")
    assert zone("UTC").offset(0) == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin"),
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("Berlin", "did you mean Europe/Berlin"),
        ("Mars/Olympus_Mons_Colony", "tzdata"),
        ("../../etc/passwd", "no such time zone"),
        ("/etc/passwd", "no such time zone"),
        ("Europe", "no such time zone"),
        ("right/UTC", "no such time zone"),
        ("localtime", "no such time zone"),
        ("a\0b", "no such time zone"),
        ("\ud800", "no such time zone"),
        ("+02:00", "Europe/Berlin"),
        ("", "Europe/Berlin"),
        ("x" * 10_000, "Europe/Berlin"),
        (5, "Europe/Berlin"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_an_unknown_zone_is_refused_with_what_was_probably_meant(name: object, says: str) -> None:
    with pytest.raises(ScheduleError, match=says) as caught:
        zone(name)
    assert len(str(caught.value)) < 300


def test_a_machine_without_time_zones_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskflow.schedules.zones.available_timezones", lambda: {"UTC"})

    with pytest.raises(ScheduleError, match="pip install tzdata"):
        zone("Nowhere/At_All")


def test_the_same_name_is_the_same_zone() -> None:
    assert zone("Asia/Tokyo") is zone("Asia/Tokyo")


def test_local_times_reach_to_the_end_of_what_a_datetime_can_show() -> None:
    assert zone("Pacific/Kiritimati").local(LAST).year == 9999
    assert zone("Pacific/Kiritimati").local(0).isoformat() == "1969-12-31T13:20:00-10:40"


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-06-01T12:00:00.5", "2026-06-01T10:00:00.5"),
        ("2026-03-29T02:30", "2026-03-29T01:00"),
        ("2026-10-25T02:30", "2026-10-25T00:30"),
    ],
)
def test_a_local_time_is_its_first_occurrence_or_the_end_of_its_gap(local: str, utc: str) -> None:
    moment = zone("Europe/Berlin").moment(datetime.fromisoformat(local))

    assert moment == datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()
