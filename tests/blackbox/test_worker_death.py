"""Worker processes die with their program, and never take more than their own call along.

``LANE_KILLS`` (default 10) says how many workers are killed one after another.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from executors import ProcessLane, Returned, WorkerLost
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("LANE_KILLS", "10"))
PATIENCE = 30.0

PROGRAM = """
import asyncio, sys, time
from executors import Call, ProcessLane

def spin():
    while True:
        pass

def double(number):
    return 2 * number

class Printed(Call):
    def on_done(self, outcome):
        print("outcome", getattr(outcome, "value", outcome), flush=True)
        ended.set()

async def main(how):
    global ended
    ended = asyncio.Event()
    lane = ProcessLane(limit=3, room=10, nice=None, spare=True)
    await lane.start()
    lane.submit(Printed(double, (21,)))
    await ended.wait()
    await lane.warm()
    for _ in range(2):
        lane.submit(Printed(spin))
    while len(lane.workers()) < 4:
        await asyncio.sleep(0.01)
    print("workers", *[worker.pid for worker in lane.workers()], flush=True)
    if how == "wait":
        await asyncio.Event().wait()
    if how == "stop":
        await lane.stop()
    if how == "raise":
        raise SystemExit(5)

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
    print("over", flush=True)
"""

WEB_APP = """
import os
from executors import Call, ProcessLane
import asyncio

def double(number):
    return 2 * number

class Answered(Call):
    def on_done(self, outcome):
        self.answer.set_result(outcome)

class Asked(Answered):
    __slots__ = ("answer",)

lane = ProcessLane(limit=2, room=10, nice=None)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await lane.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await lane.stop()
        await send({"type": "lifespan.shutdown.complete"})
        return
    call = Asked(double, (21,))
    call.answer = asyncio.get_running_loop().create_future()
    lane.submit(call)
    body = f"{(await call.answer).value} {lane.workers()[0].pid}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::ResourceWarning"}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def seconds_until_gone(pids: list[int]) -> float:
    began = time.monotonic()
    while any(alive(pid) for pid in pids):
        assert time.monotonic() - began < PATIENCE, f"still alive: {[p for p in pids if alive(p)]}"
        time.sleep(0.001)
    return time.monotonic() - began


# -- the death of the program ----------------------------------------------------------------------


def test_no_worker_outlives_a_program_that_was_killed(
    program: Path, environment: dict[str, str]
) -> None:
    with subprocess.Popen(
        [sys.executable, str(program), "wait"], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "outcome 42\n"
        workers = [int(word) for word in process.stdout.readline().split()[1:]]
        assert len(workers) == 4
        assert all(alive(pid) for pid in workers)

        process.kill()

        seconds = seconds_until_gone(workers)
    print(f"the last of {len(workers)} workers was gone after {seconds * 1000:.1f} ms")
    assert seconds <= 1.0


@pytest.mark.parametrize(("how", "code"), [("stop", 0), ("forget", 0), ("raise", 5)])
def test_a_program_ends_with_busy_workers_however_it_ends(
    program: Path, environment: dict[str, str], how: str, code: int
) -> None:
    done = subprocess.run(
        [sys.executable, str(program), how],
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE,
        check=False,
    )

    workers = [
        int(word)
        for line in done.stdout.splitlines()
        if line.startswith("workers")
        for word in line.split()[1:]
    ]
    assert done.returncode == code, done.stderr
    assert len(workers) == 4
    assert seconds_until_gone(workers) <= 1.0
    assert "leaked" not in done.stderr
    if how == "stop":
        assert done.stderr == ""
        assert done.stdout.count("Cancelled") == 2


@pytest.fixture
def port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ask(port: int) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        finally:
            connection.close()


def test_a_server_runs_calls_in_workers_and_leaves_none_behind(
    tmp_path: Path, environment: dict[str, str], port: int
) -> None:
    (tmp_path / "web_app.py").write_text(WEB_APP)
    command = [sys.executable, "-m", "uvicorn", "web_app:app", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--app-dir", str(tmp_path)], stderr=subprocess.DEVNULL, env=environment
    ) as server:
        try:
            answer, pid = ask(port).split()

            assert answer == "42"
            assert alive(int(pid))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE)

    assert seconds_until_gone([int(pid)]) <= 1.0


# -- the death of workers --------------------------------------------------------------------------


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench("cpu", tmp_path)
    yield bench
    await bench.close()


async def test_workers_killed_one_after_another_cost_one_call_each(bench: Bench) -> None:
    lane = await bench.lane(limit=3, room=10_000, spare=True)
    assert isinstance(lane, ProcessLane)
    await lane.warm()
    steady = await bench.hold(lane, "steady")
    small: list[Told] = []

    for number in range(KILLS):
        pid_file = bench.folder / f"{number}.pid"
        victim = bench.call(work.hold_and_tell, str(pid_file), str(bench.gate(f"v{number}")))
        lane.submit(victim)
        small += [bench.call(work.add, number, extra) for extra in range(20)]
        for call in small[-20:]:
            lane.submit(call)
        await until(pid_file.exists)

        os.kill(int(pid_file.read_text()), signal.SIGKILL)

        assert await victim.outcome() == WorkerLost("SIGKILL")

    assert [await call.outcome() for call in small] == [
        Returned(number + extra) for number in range(KILLS) for extra in range(20)
    ]
    bench.open("steady")
    assert await steady.outcome() == Returned("steady")
