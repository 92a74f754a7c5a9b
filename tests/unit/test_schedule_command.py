"""`python -m taskflow schedule` shows what a schedule means before it is deployed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import taskflow
from taskflow.cli import main


class Stopped:
    """A clock that shows 2026-03-28T12:00:00Z."""

    def now(self) -> float:
        return 1_774_699_200.0

    def monotonic(self) -> float:
        return 0.0


def test_it_runs_as_a_program() -> None:
    words = [sys.executable, "-m", "taskflow", "schedule", "30 2 * * *"]
    more = ["--tz", "Europe/Berlin", "--after", "2026-10-24T00:00", "-n", "2"]

    done = subprocess.run(
        [*words, *more], check=True, stdout=subprocess.PIPE, text=True, timeout=60
    )

    assert done.stdout.splitlines() == [
        "at 02:30 every day (Europe/Berlin)",
        "local                      UTC",
        "2026-10-24 02:30:00+02:00  2026-10-24 00:30:00Z",
        "2026-10-25 02:30:00+02:00  2026-10-25 00:30:00Z  first of two 02:30",
    ]


def test_runs_come_after_now_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["schedule", "30 2 * * *", "--tz", "Europe/Berlin", "-n", "1"], Stopped())

    assert status == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "2026-03-29 03:00:00+02:00  2026-03-29 01:00:00Z  in the gap: moved from 02:30"
    ]


def test_an_interval_is_given_in_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "--every", "300", "-n", "3"], Stopped()) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "every 5 minutes (UTC)"
    assert len(lines) == 5


@pytest.mark.parametrize("after", ["2026-10-25T02:30+01:00", "2026-10-25T01:30Z"])
def test_after_may_have_an_offset(after: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["schedule", "@daily", "--tz", "Europe/Berlin", "--after", after, "-n", "1"])

    assert "2026-10-26 00:00:00+01:00" in capsys.readouterr().out


def test_a_rule_that_never_comes_again_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "0 0 1 1 *", "--after", "9999-02-01"]) == 0

    assert "never again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("after", "first"), [("0001-01-01", "1970-01-01 00:00"), ("9999-12-31T23:59", "never again")]
)
@pytest.mark.parametrize("place", ["UTC", "America/New_York", "Pacific/Kiritimati"])
def test_after_may_be_any_time_there_is(
    after: str, first: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schedule", "@daily", "--tz", place, "--after", after, "-n", "2"]) == 0

    assert first in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["75 * * * *"], "minute field '75'"),
        (["@daily", "--tz", "Europe/Berln"], "did you mean Europe/Berlin"),
        (["@daily", "--after", "soon"], "--after 'soon'"),
        (["--every", "0"], "every=0.0"),
        (["--every", "nan"], "every=nan"),
    ],
)
def test_bad_input_is_a_message_and_exit_status_2(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schedule", *words]) == 2

    captured = capsys.readouterr()
    assert says in captured.err
    assert not captured.out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["schedule"],
        ["schedule", "@daily", "--every", "5"],
        ["schedule", "@daily", "-n", "0"],
        ["schedule", "@daily", "-n", "many"],
        ["schedule", "--every", "often"],
        ["sing"],
    ],
)
def test_a_wrong_command_line_is_explained(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: python -m taskflow" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "says"), [("--version", f"taskflow {taskflow.__version__}"), ("--help", "schedule")]
)
def test_it_says_its_version_and_its_commands(
    option: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([option])
    assert caught.value.code == 0
    assert says in capsys.readouterr().out
