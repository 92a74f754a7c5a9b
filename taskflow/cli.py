"""The command line: ``python -m taskflow schedule "30 2 * * *" --tz Europe/Berlin``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

import taskflow
from taskflow.clock import Clock, SystemClock, as_epoch
from taskflow.errors import ScheduleError
from taskflow.schedules.preview import Run, runs
from taskflow.schedules.rule import parse_rule
from taskflow.schedules.zones import EPOCH, Zone

#: Exit status for what the user got wrong, the same as argparse's own.
WRONG = 2
_MOST_RUNS = 10_000


def main(arguments: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Run one command; returns the exit status. ``arguments`` are those of the process if None."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _schedule(options, clock or SystemClock())
    except ScheduleError as error:
        sys.stderr.write(f"{parser.prog} {options.command}: {error}\n")
        return WRONG
    except BrokenPipeError:
        # Whoever read has enough, as `head` has. Nothing is to be flushed at exit any more.
        sys.stderr.close()
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m taskflow", description="Durable background tasks for FastAPI."
    )
    parser.add_argument("--version", action="version", version=f"taskflow {taskflow.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    schedule = commands.add_parser(
        "schedule",
        help="say in words what a schedule means, and when it runs",
        description="Says in words what a schedule means, and when it runs next.",
    )
    rule = schedule.add_mutually_exclusive_group(required=True)
    rule.add_argument(
        "cron",
        nargs="?",
        help="minute hour day-of-month month weekday, quoted; a sixth field is the second",
    )
    rule.add_argument("--every", type=float, metavar="SECONDS", help="every so many seconds")
    schedule.add_argument("--tz", default="UTC", metavar="ZONE", help="default: UTC")
    schedule.add_argument(
        "--after",
        metavar="TIME",
        help="as 2026-10-24T00:00, in the zone unless it has an offset; default: now",
    )
    schedule.add_argument(
        "-n",
        type=_count,
        default=5,
        dest="count",
        metavar="COUNT",
        help="how many runs; default: 5",
    )
    return parser


def _count(text: str) -> int:
    count = int(text) if text.isdecimal() else 0
    if not 1 <= count <= _MOST_RUNS:
        raise argparse.ArgumentTypeError(f"{text}: give a number from 1 to {_MOST_RUNS}")
    return count


def _schedule(options: argparse.Namespace, clock: Clock) -> None:
    """The command ``schedule``."""
    rule = parse_rule(cron=options.cron, every=options.every, timezone=options.tz)
    after = clock.now() if options.after is None else _moment(options.after, rule.zone)
    lines = [f"{rule.words} ({rule.zone.name})", *_table(runs(rule, after, options.count))]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _moment(text: str, zone: Zone) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ScheduleError(
            f"--after {text!r:.60}: give a time such as 2026-10-24T00:00 or 2026-10-24T00:00+02:00"
        ) from None
    return zone.moment(moment) if moment.tzinfo is None else as_epoch(moment)


def _table(found: list[Run]) -> list[str]:
    if not found:
        return ["never again"]
    rows = [("local", "UTC", "")]
    rows += [
        (
            run.local.replace("T", " "),
            f"{EPOCH + timedelta(seconds=run.slot):%Y-%m-%d %H:%M:%SZ}",
            run.note,
        )
        for run in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [f"{a:{widths[0]}}  {b:{widths[1]}}  {c}".rstrip() for a, b, c in rows]
