"""How punctual are schedules, does each slot become one task, and what do 5,000 of them cost?

``every=1`` on an idle app: from the slot to the first line of the task; with one instance, then
with three processes on one file. Then the CPU time of an app with thousands of daily schedules,
beside that of one with none.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import statistics
from collections.abc import Mapping
from pathlib import Path

from benchmarks.children import child
from benchmarks.harness import Figure, Report, collect, first_line, scratch

CHILD = "benchmarks.schedules_child"
TINY = {"rounds": 1, "seconds": 2.0, "daily": 50}


def firings(database: Path) -> tuple[int, int]:
    """How many tasks have a slot, and how many slots more than one task."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT tags FROM tasks WHERE tags LIKE '%slot%'").fetchall()
    slots = sorted(json.loads(tags)["slot"] for (tags,) in rows)
    return len(slots), len(slots) - len(set(slots))


def punctual(instances: int, seconds: float) -> dict[str, float]:
    """One schedule of each second."""
    with scratch() as folder, contextlib.ExitStack() as stack:
        database = folder / "tasks.db"
        running = [
            stack.enter_context(child(CHILD, database, seconds, 1, 0)) for _ in range(instances)
        ]
        lateness = [late for process in running for late in process.say()["lateness"]]
        stack.close()
        count, doubled = firings(database)
    lateness.sort()
    return {
        "p50": 1000 * statistics.median(lateness),
        "p99": 1000 * lateness[min(int(len(lateness) * 0.99), len(lateness) - 1)],
        "fired": len(lateness),
        "stored": count,
        "doubled": doubled,
    }


def share(seconds: float, daily: int) -> float:
    """Percent of a core."""
    with scratch() as folder, child(CHILD, folder / "tasks.db", seconds, 0, daily) as process:
        return 100 * float(process.say()["share"])


def one_round(seconds: float, daily: int) -> Mapping[str, float]:
    """All of it once."""
    one, three = punctual(1, seconds), punctual(3, seconds)
    return {
        **{f"one: {name}": value for name, value in one.items()},
        **{f"three: {name}": value for name, value in three.items()},
        "none": share(seconds / 3, 0),
        "many": share(seconds / 3, daily),
    }


def run(rounds: int = 1, seconds: float = 60.0, daily: int = 5000) -> Report:
    """The figures of this benchmark."""
    found = collect(rounds, lambda: one_round(seconds, daily), warm_up=False)
    return Report(
        first_line(__doc__),
        (
            Figure("one instance: lateness, p50", "ms", found["one: p50"]),
            Figure("one instance: lateness, p99", "ms", found["one: p99"], at_most=20.0),
            Figure(f"one instance: tasks in {seconds:g} s", "tasks", found["one: fired"]),
            Figure("one instance: slots fired twice", "slots", found["one: doubled"], at_most=0),
            Figure("three instances: lateness, p99", "ms", found["three: p99"], at_most=20.0),
            Figure(f"three instances: tasks in {seconds:g} s", "tasks", found["three: fired"]),
            Figure(
                "three instances: slots fired twice", "slots", found["three: doubled"], at_most=0
            ),
            Figure("idle app without schedules", "% core", found["none"]),
            Figure(f"idle app with {daily} schedules", "% core", found["many"], at_most=1.0),
        ),
    )
