"""How much memory do 200,000 tasks take that wait behind one busy slot?

A lane's waiting room is bounded; what does not fit waits on disk. Each figure is the resident
memory of a fresh process over that of the same process when it was idle, tasks added in groups of
the size that a request would add. The peak is what the kernel saw while they were added.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.children import child
from benchmarks.harness import Figure, Report, check_all_done, collect, first_line, scratch

MIB = 1024 * 1024
#: Lane, and how many tasks are added at a time.
VARIANTS = (("async", 100), ("io", 100), ("async", 10), ("async", 1000))
TINY = {"rounds": 1, "tasks": 300, "variants": (("async", 10), ("io", 100))}


def waiting_memory(tasks: int, lane: str, group: int) -> tuple[float, float]:
    """MiB over idle with all tasks waiting, and at most while they were added."""
    with (
        scratch() as folder,
        child("benchmarks.memory_child", Path(folder) / "tasks.db", tasks, lane, group) as process,
    ):
        said = process.say()
    check_all_done(said["waiting"], tasks)
    return (said["after"] - said["idle"]) / MIB, (said["peak"] - said["idle"]) / MIB


def run(
    rounds: int = 3, tasks: int = 200_000, variants: tuple[tuple[str, int], ...] = VARIANTS
) -> Report:
    """The figures of this benchmark."""

    def one_round() -> dict[str, float]:
        found = {}
        for lane, group in variants:
            after, peak = waiting_memory(tasks, lane, group)
            found[f"{lane} lane, added {group} at a time"] = after
            found[f"{lane} lane, added {group} at a time, peak"] = peak
        return found

    found = collect(rounds, one_round, warm_up=False)
    return Report(
        first_line(__doc__),
        tuple(Figure(name, "MiB", values, at_most=60.0) for name, values in found.items()),
    )
