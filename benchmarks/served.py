"""`benchmarks.served_app` in a process of its own, under uvicorn on uvloop."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from benchmarks.children import environment_for
from benchmarks.harness import scratch

UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error")
PATIENCE = 60.0


class Served:
    """The running app."""

    def __init__(self, port: int, pid: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.pid = pid

    def get(self, path: str) -> Any:
        """The answer as JSON."""
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            return json.load(answer)

    def post(self, path: str, **query: object) -> None:
        """Ask for something to be done."""
        request = urllib.request.Request(f"{self.url}{path}?{urlencode(query)}", method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE):
            pass

    def lane(self, name: str) -> dict[str, Any]:
        """A lane as the admin shows it."""
        lanes: list[dict[str, Any]] = self.get("/tasks/lanes")["items"]
        return next(lane for lane in lanes if lane["name"] == name)

    def until_running(self, lane: str, count: int) -> None:
        """Wait until so many tasks run in this lane."""
        wait_until(lambda: self.lane(lane)["running"] == count)


@contextmanager
def served(
    settings: Mapping[str, str] | None = None, *, app: str = "benchmarks.served_app:app"
) -> Iterator[Served]:
    """A fresh process that serves ``app``; killed at the end, whatever it has to do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port)]
    with scratch() as folder:
        extra = {
            "TASKFLOW_DB": str(folder / "tasks.db"),
            "TASKFLOW_SHUTDOWN_GRACE": "0",
            **(settings or {}),
        }
        with subprocess.Popen([*command, *UVICORN], env=environment_for(extra)) as process:
            try:
                running = Served(port, process.pid)
                wait_until(lambda: _answers(running, process))
                yield running
            finally:
                process.terminate()
                process.wait(PATIENCE)


def wait_until(holds: Callable[[], bool]) -> None:
    """Poll until it holds; raises `TimeoutError` if it never does."""
    until = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {PATIENCE:g} s")
        time.sleep(0.01)


def _answers(app: Served, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"the app ended with code {process.returncode}")
    try:
        app.get("/ping")
    except OSError:
        return False
    return True
