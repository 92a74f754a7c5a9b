"""What do open dashboards cost?

One app under uvicorn on uvloop that is asked for 200 tasks a second: how long a request takes with
20 event streams open, to one with none, in turns in one process. And 1,000 streams of which half
are never read from, while tasks go on: how much memory the process takes more, and how long it
takes to end.
"""

from __future__ import annotations

import http.client
import os
import signal
import statistics
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import psutil

from benchmarks.harness import Figure, Report, collect, first_line
from benchmarks.served import served
from benchmarks.watchers import watching

RATE = 200
TINY = {"rounds": 1, "seconds": 1, "few": 2, "many": 10}


def ask(url: str, seconds: float, rate: int = RATE) -> float:
    """Add ``rate`` tasks a second; the median of a request, in milliseconds."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 0)
    took: list[float] = []
    began = time.perf_counter()
    for number in range(max(1, int(seconds * rate))):
        time.sleep(max(0.0, began + number / rate - time.perf_counter()))
        sent = time.perf_counter()
        connection.request("POST", "/nothing")
        connection.getresponse().read()
        took.append(time.perf_counter() - sent)
    connection.close()
    return statistics.median(took) * 1000


def few_streams(streams: int, seconds: float, turns: int = 3) -> Mapping[str, float]:
    """A request with and without, in turns."""
    without: list[float] = []
    beside: list[float] = []
    with served() as app:
        ask(app.url, 1)
        for _ in range(turns):
            without.append(ask(app.url, seconds))
            with watching(app.url, streams):
                ask(app.url, 0.5)
                beside.append(ask(app.url, seconds))
    ratios = [one / other for one, other in zip(beside, without, strict=True)]
    return {
        "p50 without": statistics.median(without),
        "p50": statistics.median(beside),
        "ratio": statistics.median(ratios),
    }


def many_streams(streams: int, seconds: float) -> Mapping[str, float]:
    """Memory in MiB, and seconds to the end."""
    with served() as app:
        ask(app.url, 2)
        process = psutil.Process(app.pid)
        before = process.memory_info().rss
        with watching(app.url, streams // 2, streams - streams // 2):
            ask(app.url, seconds)
            grown = process.memory_info().rss - before
            began = time.perf_counter()
            os.kill(app.pid, signal.SIGTERM)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.005)
            return {"memory": grown / 2**20, "end": time.perf_counter() - began}


def run(rounds: int = 5, seconds: int = 5, few: int = 20, many: int = 1000) -> Report:
    """The figures of this benchmark; ``seconds`` are those of one load."""
    found = collect(rounds, lambda: few_streams(few, seconds), warm_up=False)
    crowd = collect(1, lambda: many_streams(many, seconds * 4), warm_up=False)
    return Report(
        first_line(__doc__),
        (
            Figure(f"request p50 at {RATE} tasks/s, nobody looks", "ms", found["p50 without"]),
            Figure(f"request p50 at {RATE} tasks/s, {few} streams", "ms", found["p50"]),
            Figure("the second to the first", "x", found["ratio"], at_most=1.1),
            Figure(f"memory of {many} streams, half not read", "MiB", crowd["memory"], at_most=60),
            Figure(f"the end of all {many} after SIGTERM", "s", crowd["end"], at_most=0.5),
        ),
        ("the clients share the cpus with the app",),
    )
