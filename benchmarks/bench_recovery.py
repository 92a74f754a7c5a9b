"""How soon after a `kill -9` do the tasks run that the dead instance left over?

Two ways: the next start of the app finds them, or a sibling that lives on the same database takes
them over. The clock runs from the call of `TaskManager.startup()`, or from the kill, to the first
line of the first such task and to the last recorded end.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.children import child
from benchmarks.harness import Figure, Report, check_all_done, collect, first_line, scratch

CHILD = "benchmarks.recovery_child"
HOLD = {"BENCH_HOLD": "1"}
TINY = {"rounds": 1, "tasks": 50}


def next_start(tasks: int) -> dict[str, float]:
    """An instance is killed with all its tasks unfinished; another one is started."""
    with scratch() as folder:
        database = Path(folder) / "tasks.db"
        with child(CHILD, "leave", database, tasks, environment=HOLD) as victim:
            check_all_done(victim.say()["unfinished"], tasks)
            victim.kill()
        with child(CHILD, "start", database, tasks) as heir:
            said = heir.say()
    check_all_done(said["success"], tasks)
    return {
        "import": said["imported"],
        "first": said["first"] - said["began"],
        "all": said["last"] - said["began"],
    }


def sibling(tasks: int) -> dict[str, float]:
    """An instance is killed beside another one that has been idle."""
    with scratch() as folder:
        database = Path(folder) / "tasks.db"
        with child(CHILD, "leave", database, tasks, environment=HOLD) as victim:
            check_all_done(victim.say()["unfinished"], tasks)
            with child(CHILD, "watch", database, tasks) as heir:
                heir.say()
                began = time.monotonic()
                victim.kill()
                said = heir.say()
    check_all_done(said["success"], tasks)
    return {"sibling first": said["first"] - began, "sibling all": said["last"] - began}


def run(rounds: int = 5, tasks: int = 10_000) -> Report:
    """The figures of this benchmark."""
    # A lane has places for 6000: a sibling must not find tasks that nobody holds yet.
    owned = min(tasks, 5000)
    found = collect(rounds, lambda: {**next_start(tasks), **sibling(owned)}, warm_up=False)
    return Report(
        first_line(__doc__),
        (
            Figure("import of the app, not counted below", "s", found["import"]),
            Figure(f"next start, {tasks} left over: first runs", "s", found["first"], at_most=1.0),
            Figure(f"next start, {tasks} left over: all done", "s", found["all"]),
            Figure(
                f"sibling, {owned} left over: first runs", "s", found["sibling first"], at_most=2.0
            ),
            Figure(f"sibling, {owned} left over: all done", "s", found["sibling all"]),
        ),
    )
