"""What does an idle manager cost, and how much of that is looking at processes and at the loop?

CPU time of the app's own process as a share of one core, with two worker processes that do nothing.
Without the sampler means one look in an hour; without the guard, that no stall is looked for.
"""

from __future__ import annotations

from benchmarks.children import child
from benchmarks.harness import Figure, Report, first_line, in_turn, scratch

CHILD = "benchmarks.idle_child"
TINY = {"rounds": 1, "seconds": 0.1}
NO_SAMPLER = "sample_interval=3600"
NO_GUARD = "loop_stall_ms=0"


def percent(seconds: float, *settings: str) -> float:
    """Percent of a core that the process takes."""
    with scratch() as folder, child(CHILD, folder / "tasks.db", seconds, *settings) as process:
        return 100 * float(process.say()["share"])


def run(rounds: int = 3, seconds: float = 10.0) -> Report:
    """The figures of this benchmark."""
    found = in_turn(
        rounds,
        all=lambda: percent(seconds),
        no_sampler=lambda: percent(seconds, NO_SAMPLER),
        no_guard=lambda: percent(seconds, NO_GUARD),
        neither=lambda: percent(seconds, NO_SAMPLER, NO_GUARD),
    )
    sampler = tuple(a - b for a, b in zip(found["all"], found["no_sampler"], strict=True))
    guard = tuple(a - b for a, b in zip(found["all"], found["no_guard"], strict=True))
    return Report(
        first_line(__doc__),
        (
            Figure("idle, as it comes", "% core", found["all"]),
            Figure("idle, without sampler and stalls", "% core", found["neither"]),
            Figure("of which the sampler", "% core", sampler, at_most=0.5),
            Figure("of which looking for stalls", "% core", guard),
        ),
    )
