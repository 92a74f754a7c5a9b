"""How many durable no-op functions a second go through the threads of the io lane?

What nobody can beat is a plain thread pool for the calls, and after that the bare sketch of a
group-committing queue for as many rows: N tasks in the sum of both times.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import uvloop

from benchmarks import work
from benchmarks.durable import sketch_rate, taskflow_rate
from benchmarks.harness import Figure, Report, check_all_done, first_line, in_turn, ratios

THREADS = 8
TINY = {"rounds": 1, "tasks": 50}


def pool_rate(total: int) -> float:
    """Calls a second through a plain pool of threads, nothing stored."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work.nothing, range(16)))
        began = time.perf_counter()
        futures = [pool.submit(work.nothing, number) for number in range(total)]
        ended = [future.exception() for future in futures]
        took = time.perf_counter() - began
    check_all_done(ended.count(None), total)
    return total / took


def run(rounds: int = 5, tasks: int = 20_000) -> Report:
    """The figures of this benchmark."""
    found = in_turn(
        rounds,
        pool=lambda: pool_rate(tasks),
        sketch=lambda: uvloop.run(sketch_rate(tasks)),
        ours=lambda: uvloop.run(taskflow_rate(tasks, work.nothing, io_workers=THREADS)),
    )
    both = tuple(
        1 / (1 / pool + 1 / sketch)
        for pool, sketch in zip(found["pool"], found["sketch"], strict=True)
    )
    return Report(
        first_line(__doc__),
        (
            Figure(
                f"plain ThreadPoolExecutor({THREADS}), nothing stored", "calls/s", found["pool"]
            ),
            Figure("bare group-commit sketch", "tasks/s", found["sketch"]),
            Figure("both, one after the other", "tasks/s", both),
            Figure(f"taskflow, io lane of {THREADS} threads", "tasks/s", found["ours"]),
            Figure("taskflow to both", "x", ratios(found["ours"], both), at_least=0.45),
        ),
    )
