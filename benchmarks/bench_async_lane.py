"""How many durable no-op coroutine tasks a second go through one event loop?

Measured beside the bare sketch of a group-committing queue (`sketch.py`), with the same eight
producers that add a hundred tasks each and wait until these are on disk. Every task ends recorded.
"""

from __future__ import annotations

import uvloop

from benchmarks import work
from benchmarks.durable import sketch_rate, taskflow_rate
from benchmarks.harness import Figure, Report, first_line, in_turn, ratios

TINY = {"rounds": 1, "tasks": 50}


def run(rounds: int = 5, tasks: int = 40_000) -> Report:
    """The figures of this benchmark."""
    found = in_turn(
        rounds,
        sketch=lambda: uvloop.run(sketch_rate(tasks)),
        ours=lambda: uvloop.run(taskflow_rate(tasks, work.count_async)),
    )
    return Report(
        first_line(__doc__),
        (
            Figure("bare group-commit sketch", "tasks/s", found["sketch"]),
            Figure("taskflow, async lane", "tasks/s", found["ours"]),
            Figure("taskflow to sketch", "x", ratios(found["ours"], found["sketch"]), at_least=0.4),
        ),
    )
