"""The demo, as a person starts it: a process that is watched from outside."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[2]
#: Seconds a busy machine may take for what takes a second or two on an idle one.
PATIENCE = 90.0

WORK = {
    "/signup": {"name": "Ada", "email": "ada@example.com"},
    "/reports": {"title": "Sales"},
    "/orders": {"customer": 7},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Demo:
    """The running process and its API."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
        self.process = process
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20)
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text("utf-8", "replace")

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass  # it does not listen yet
            assert self.process.poll() is None, f"the demo ended:\n{self.output}"
            assert time.monotonic() < until, f"no {what}:\n{self.output}"
            time.sleep(0.1)

    def tasks(self, name: str) -> list[dict[str, Any]]:
        response = self.client.get("/tasks", params={"q": name, "limit": 100})
        response.raise_for_status()
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    def has(self, name: str, **wanted: object) -> bool:
        return any(wanted.items() <= task.items() for task in self.tasks(name))


@contextmanager
def running(directory: Path, **environment: str) -> Iterator[Demo]:
    port, output = free_port(), directory / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo"],
            cwd=ROOT,
            env={
                **os.environ,
                "PORT": str(port),
                "DEMO_DATA": str(directory / "data"),
                "TASKFLOW_CPU_WORKERS": "1",
                **environment,
            },
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    demo = Demo(process, port, output)
    try:
        demo.wait_for("answer", lambda: demo.client.get("/").status_code == 200)
        yield demo
    finally:
        demo.client.close()
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)


def test_the_demo_does_work_in_every_lane_and_stops_cleanly(tmp_path: Path) -> None:
    with running(tmp_path, DEMO_LOAD="0") as demo:
        for path, body in WORK.items():
            answer = demo.client.post(path, json=body)
            assert answer.status_code == 202
            assert all(
                demo.client.get(f"/tasks/{task}").is_success for task in answer.json()["task_ids"]
            )
        for _ in range(4):  # the mail server refuses the fifth message
            demo.client.post("/signup", json=WORK["/signup"])

        demo.wait_for("chart", lambda: demo.has("render_report", status="success", lane="cpu"))
        demo.wait_for("delivery", lambda: demo.has("deliver_webhook", status="success"))
        demo.wait_for("audit line", lambda: demo.has("write_audit_line", status="success"))
        demo.wait_for(
            "second attempt",
            lambda: demo.has("send_welcome_email", status="success", attempts=2, lane="io"),
        )
        assert demo.client.get("/files/report-1.png").headers["content-type"] == "image/png"
        family = [psutil.Process(demo.process.pid), *children_of(demo.process.pid)]
        assert len(family) > 1, "no worker process"

        demo.process.terminate()
        code = demo.process.wait(PATIENCE)

    # The server ends by the signal it was sent, as a shell expects, or in peace.
    assert code in {0, -signal.SIGTERM}, demo.output
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert "Traceback" not in demo.output
    audit = (tmp_path / "data" / "audit.csv").read_text("utf-8").splitlines()
    assert len(audit) == 5


def test_the_demo_says_what_runs_where_and_visits_itself(tmp_path: Path) -> None:
    with running(tmp_path) as demo:
        demo.wait_for("signup", lambda: demo.has("send_welcome_email"))
        demo.process.send_signal(signal.SIGINT)  # Ctrl-C
        code = demo.process.wait(PATIENCE)

    assert code in {0, -signal.SIGINT}, demo.output
    assert "Traceback" not in demo.output
    port = demo.client.base_url.port
    assert re.search(r"async +1,000 coroutines +5,000", demo.output)
    assert re.search(r"io +\d+ threads +2,000", demo.output)
    assert re.search(r"cpu +1 worker processes +1,000", demo.output)
    assert str(tmp_path / "data" / "demo.db") in demo.output
    assert f"http://127.0.0.1:{port}/tasks/dashboard" in demo.output
    assert f"http://127.0.0.1:{port}/docs" in demo.output


def children_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)
