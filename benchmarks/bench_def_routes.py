"""How late is a `def` route answered while 200 tasks that block a thread wait or run?

FastAPI runs such routes in threads of its own, forty of them, and its `BackgroundTasks` in the same
ones: 200 tasks that sleep leave none for requests. taskflow has its own threads. The route is asked
for again and again over one connection at a time.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Mapping

from benchmarks.harness import Figure, Report, collect, first_line, percentile
from benchmarks.served import Served, served

TASKS = 200
TINY = {"rounds": 1, "requests": 5}


def ask(app: Served, requests: int) -> list[float]:
    """Milliseconds for each of so many requests."""
    found = []
    for _ in range(requests):
        began = time.perf_counter()
        with urllib.request.urlopen(f"{app.url}/ping-def", timeout=60) as answer:
            answer.read()
        found.append((time.perf_counter() - began) * 1000)
    return found


def one_round(requests: int) -> Mapping[str, float]:
    """Milliseconds, before and while the tasks are there."""
    with served() as app:
        ask(app, 5)
        idle = ask(app, requests)
        app.post("/sleep", count=TASKS, seconds=60)
        app.until_running("io", app.lane("io")["limit"])
        busy = ask(app, requests)
        lane = app.lane("io")
        if lane["running"] + lane["waiting"] != TASKS:
            raise AssertionError(f"{TASKS} tasks should be there, not {lane}")
    return {
        "idle p50": percentile(idle, 0.5),
        "idle max": max(idle),
        "p50": percentile(busy, 0.5),
        "p99": percentile(busy, 0.99),
        "max": max(busy),
    }


def run(rounds: int = 3, requests: int = 500) -> Report:
    """The figures of this benchmark."""
    found = collect(rounds, lambda: one_round(requests), warm_up=False)
    return Report(
        first_line(__doc__),
        (
            Figure("p50 without tasks", "ms", found["idle p50"]),
            Figure("slowest without tasks", "ms", found["idle max"]),
            Figure(f"p50 beside {TASKS} sleeping tasks", "ms", found["p50"]),
            Figure(f"p99 beside {TASKS} sleeping tasks", "ms", found["p99"]),
            Figure(f"slowest beside {TASKS} sleeping tasks", "ms", found["max"], at_most=50.0),
        ),
    )
