"""How many no-op calls a second go through the worker processes of the cpu lane?

Each task is committed, run in a worker process and recorded; beside it a plain pool of two
processes that stores nothing. All workers are up before the clock starts.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import uvloop

from benchmarks import work
from benchmarks.durable import taskflow_rate
from benchmarks.harness import Figure, Report, check_all_done, first_line, in_turn, ratios

WORKERS = 2
TINY = {"rounds": 1, "tasks": 50}


def pool_rate(total: int) -> float:
    """Calls a second through a plain pool of processes, nothing stored."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        for future in [pool.submit(work.rest) for _ in range(WORKERS)]:
            future.result()
        list(pool.map(work.nothing, range(16)))
        began = time.perf_counter()
        futures = [pool.submit(work.nothing, number) for number in range(total)]
        ended = [future.exception() for future in futures]
        took = time.perf_counter() - began
    check_all_done(ended.count(None), total)
    return total / took


def run(rounds: int = 5, tasks: int = 10_000) -> Report:
    """The figures of this benchmark."""
    found = in_turn(
        rounds,
        pool=lambda: pool_rate(tasks),
        ours=lambda: uvloop.run(taskflow_rate(tasks, work.nothing, "cpu", cpu_workers=WORKERS)),
    )
    return Report(
        first_line(__doc__),
        (
            Figure(
                f"plain ProcessPoolExecutor({WORKERS}), nothing stored", "calls/s", found["pool"]
            ),
            Figure(f"taskflow, cpu lane of {WORKERS} slots", "tasks/s", found["ours"]),
            Figure("taskflow to pool", "x", ratios(found["ours"], found["pool"]), at_least=0.5),
        ),
    )
