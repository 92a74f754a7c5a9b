"""How late is a route answered while every slot of the cpu lane computes?

One app under uvicorn on uvloop with as many worker processes as there are cpus, asked by `wrk` over
two connections: first idle, then with a task in every slot that never lets go of its core. Beside
it the same route in an app without taskflow, and as many bare processes of the same priority that
compute: what the machine itself makes of that. And without lower priority
(``TASKFLOW_CPU_NICE=0``), which shows what that gives.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from benchmarks import wrk
from benchmarks.harness import Figure, Report, collect, first_line
from benchmarks.served import Served, served, wait_until

CONNECTIONS = 2
TINY = {"rounds": 1, "seconds": 1}
CPUS = os.cpu_count() or 1
#: The workers of the app and a spare.
WORKERS = CPUS + 1


def ask(app: Served, seconds: int) -> wrk.Load:
    """Drive the route."""
    return wrk.drive(f"{app.url}/ping", connections=CONNECTIONS, seconds=seconds)


def with_lanes(nice: str, seconds: int) -> tuple[wrk.Load, wrk.Load]:
    """Idle, then busy."""
    with served({"TASKFLOW_CPU_NICE": nice, "TASKFLOW_CPU_WORKERS": str(CPUS)}) as app:
        # A worker that still starts is no idle one.
        wait_until(lambda: len(app.lane("cpu")["workers"]) == WORKERS)
        ask(app, 1)
        idle = ask(app, seconds)
        app.post("/burn", count=CPUS, seconds=seconds + 30)
        app.until_running("cpu", CPUS)
        wait_until(lambda: len(app.lane("cpu")["workers"]) == WORKERS)
        return idle, ask(app, seconds)


@contextmanager
def burners() -> Iterator[None]:
    """Processes that compute, with the lowest priority there is."""
    command = [sys.executable, "-c", "import os; os.nice(19)\nwhile True: pass"]
    running = [subprocess.Popen(command) for _ in range(CPUS)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def without_lanes(seconds: int) -> tuple[wrk.Load, wrk.Load]:
    """The same with nothing of taskflow."""
    with served(app="benchmarks.bare_app:app") as app:
        ask(app, 1)
        idle = ask(app, seconds)
        with burners():
            return idle, ask(app, seconds)


def one_round(seconds: int) -> Mapping[str, float]:
    """Percentiles in milliseconds."""
    idle, busy = with_lanes("19", seconds)
    _, not_nice = with_lanes("0", seconds)
    _, bare = without_lanes(seconds)
    return {
        "idle p50": idle.p50,
        "idle p99": idle.p99,
        "p50": busy.p50,
        "p99": busy.p99,
        "ratio": busy.p99 / idle.p99,
        "bare": bare.p99,
        "to bare": busy.p99 / bare.p99,
        "not nice": not_nice.p99,
    }


def run(rounds: int = 5, seconds: int = 5) -> Report:
    """The figures of this benchmark; ``seconds`` are whole seconds of load."""
    if not wrk.is_there():
        return Report(first_line(__doc__), (), (wrk.MISSING,))
    found = collect(rounds, lambda: one_round(seconds), warm_up=False)
    return Report(
        first_line(__doc__),
        (
            Figure("p50, idle", "ms", found["idle p50"]),
            Figure("p99, idle", "ms", found["idle p99"]),
            Figure("p50, every slot computes", "ms", found["p50"]),
            Figure("p99, every slot computes", "ms", found["p99"], at_most=2.0),
            Figure("p99, busy to idle", "x", found["ratio"], at_most=3.0),
            Figure("p99, no taskflow, as many bare processes compute", "ms", found["bare"]),
            Figure("p99, taskflow to bare", "x", found["to bare"]),
            Figure("p99, every slot computes, TASKFLOW_CPU_NICE=0", "ms", found["not nice"]),
        ),
        (f"wrk -c{CONNECTIONS} shares {CPUS} cpus with the app and its workers",),
    )
