"""What does adding one task cost a request, compared with FastAPI's own BackgroundTasks?

Two apps in fresh processes under uvicorn (uvloop, httptools, no access log), driven in turn by
`wrk`: A runs its no-op coroutine after the response and forgets it, B commits it with an fsync
before the response. A second route adds nothing: that is the price of the middleware alone.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import wrk
from benchmarks.children import environment_for
from benchmarks.harness import Figure, Report, check_all_done, collect, first_line, scratch

MANY = 64
PATIENCE = 30.0
TINY = {"rounds": 1, "seconds": 1, "warm_up": 0, "stages": (("/add", 4),)}
#: Route and connections. The first stage is what a busy app sees, the second a quiet one.
STAGES = (("/add", MANY), ("/add", 1), ("/nothing", MANY), ("/nothing", 1))
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


class Server:
    """One app and what it was asked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        #: Requests to ``/add`` that were answered.
        self.asked = 0

    def drive(self, route: str, connections: int, seconds: int) -> wrk.Load:
        load = wrk.drive(self.url + route, connections=connections, seconds=seconds)
        if route == "/add":
            self.asked += load.requests
        return load

    def get(self, route: str) -> dict[str, int]:
        with urllib.request.urlopen(self.url + route, timeout=PATIENCE) as response:
            found: dict[str, int] = json.load(response)
        return found

    def check_books(self) -> None:
        """Every request's task ran and, where there is a store, is recorded in it."""
        books = self.get("/books")
        # wrk does not count what it left unanswered at its end.
        if books["added"] < self.asked:
            raise AssertionError(f"{self.asked} requests were answered, only {books} were added")
        check_all_done(books["done"], books["added"])
        check_all_done(books["recorded"], books["added"])


@contextmanager
def server(folder: Path, *, managed: bool) -> Iterator[Server]:
    """A fresh process that serves the app."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    extra = {
        "TASKFLOW_DB": str(folder / "tasks.db"),
        **({"BENCH_TASKFLOW": "1"} if managed else {}),
    }
    command = [sys.executable, "-m", "uvicorn", "benchmarks.route_app:app", "--port", str(port)]
    with subprocess.Popen([*command, *UVICORN], env=environment_for(extra)) as process:
        try:
            found = Server(port)
            _wait_until_it_answers(found, process)
            yield found
        finally:
            process.terminate()


def _wait_until_it_answers(found: Server, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            found.get("/nothing")
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.02)


def one_round(
    stages: tuple[tuple[str, int], ...], seconds: int, warm_up: int
) -> Iterator[tuple[str, float]]:
    """Figures by name, both servers driven in turn stage by stage."""
    with (
        scratch() as folder,
        server(folder, managed=False) as plain,
        server(folder, managed=True) as ours,
    ):
        for route, connections in stages:
            if warm_up:
                for one in (plain, ours):
                    one.drive(route, connections, warm_up)
            a = plain.drive(route, connections, seconds)
            b = ours.drive(route, connections, seconds)
            what = f"{route} at {connections}"
            yield f"{what}: plain requests", a.rate
            yield f"{what}: taskflow requests", b.rate
            yield f"{what}: taskflow to plain, requests", b.rate / a.rate
            yield f"{what}: plain median", a.p50
            yield f"{what}: taskflow median", b.p50
            yield f"{what}: median more", b.p50 - a.p50
            yield f"{what}: plain p99", a.p99
            yield f"{what}: taskflow p99", b.p99
            yield f"{what}: taskflow to plain, p99", b.p99 / a.p99
        for one in (plain, ours):
            one.check_books()


def run(
    rounds: int = 5,
    seconds: int = 3,
    warm_up: int = 1,
    stages: tuple[tuple[str, int], ...] = STAGES,
) -> Report:
    """The figures of this benchmark; ``seconds`` and ``warm_up`` are whole seconds of load."""
    if not wrk.is_there():
        return Report(first_line(__doc__), (), (wrk.MISSING,))
    found = collect(rounds, lambda: dict(one_round(stages, seconds, warm_up)), warm_up=False)
    return Report(first_line(__doc__), tuple(_figure(*item) for item in found.items()))


def _figure(name: str, values: tuple[float, ...]) -> Figure:
    unit = "req/s" if name.endswith(" requests") else "ms"
    if "taskflow to plain" in name:
        unit = "x"
    return Figure(
        name,
        unit,
        values,
        at_least={f"/add at {MANY}: taskflow to plain, requests": 0.6}.get(name),
        at_most={f"/add at {MANY}: taskflow to plain, p99": 3.0, "/add at 1: median more": 0.4}.get(
            name
        ),
    )
