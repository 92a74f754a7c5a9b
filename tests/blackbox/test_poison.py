"""Whatever a task does, it harms nobody else: a served app and the worst tasks there are.

The app runs on uvloop. Beside the poison harmless tasks run in every lane, one of them from before
the first poison until after the last, and somebody asks for ``/ping`` all the time. ``ROUNDS``
(default 1) says how often each poison is given.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.apps.server import FINAL, PATIENCE, Server, until

ROUNDS = int(os.environ.get("ROUNDS", "1"))
#: Seconds in which ``/ping`` must be answered, whatever else the machine is busy with.
PROMPT = 5.0

EVERYWHERE = ("async", "io", "cpu")
PROCESSES = ("cpu",)
#: A worker process whose task may take 64 MiB.
LIMITED = ("small cpu",)

#: What a failure of these tests tells of a task.
SHOWN = ("lane", "status", "error", "result_error", "crashes", "attempts")

Ends = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True)
class Poison:
    """One task of `tests.apps.poison`, and whether it ended as it should."""

    kind: str
    ends: Ends
    lanes: tuple[str, ...] = EVERYWHERE
    timeout: float | None = None


def fails(kind: str, *errors: str, lanes: tuple[str, ...] = EVERYWHERE) -> Poison:
    """It has failed, with one of these as the beginning of its error."""
    return Poison(
        kind, lambda task: task["status"] == "failed" and task["error"].startswith(errors), lanes
    )


def kills(kind: str, *reasons: str) -> Poison:
    errors = tuple(f"worker process died: {reason}" for reason in reasons)
    return Poison(
        kind,
        lambda task: (task["status"], task["crashes"]) == ("failed", 1) and task["error"] in errors,
        PROCESSES,
    )


def succeeds(kind: str, result_error: str = "", lanes: tuple[str, ...] = EVERYWHERE) -> Poison:
    """It is a success; its result could not be kept for this reason."""
    return Poison(
        kind,
        lambda task: task["status"] == "success" and result_error in (task["result_error"] or ""),
        lanes,
    )


def endless(kind: str, lane: str, what: str) -> Poison:
    error = f"timed out after 0.5 s ({what})"
    return Poison(
        kind, lambda task: (task["status"], task["error"]) == ("failed", error), (lane,), 0.5
    )


KILLED = "its worker process was killed"
POISONS: dict[str, tuple[Poison, ...]] = {
    "ends its process": (
        kills("leave", "exit code 3"),
        kills("leave_in_silence", "exit code 0"),
        kills("read_address_zero", "SIGSEGV"),
        kills("abort", "SIGABRT"),
        kills("kill", "SIGKILL"),
        kills("terminate", "SIGTERM"),
        kills("kill_the_group", "SIGKILL"),
        kills("close_every_file", "exit code 1", "SIGTERM", "SIGKILL"),
        succeeds("fork_and_return", lanes=PROCESSES),
    ),
    "raises": (
        fails("leave_in_order", "SystemExit: 3"),
        fails("raise_keyboard_interrupt", "KeyboardInterrupt"),
        fails("raise_generator_exit", "GeneratorExit"),
        fails("raise_cancelled", "CancelledError: by myself"),
        fails("raise_hostile", "HostileError: boo"),
        fails("raise_two_arguments", "TwoArgumentsError: one and two"),
        fails("raise_unpicklable", "LockedError: "),
        fails("raise_str_raises", "StrRaisesError: <str() of the exception raised RuntimeError>"),
        fails("raise_str_exits", "StrExitsError: <the exception could not be described"),
        fails("raise_long", "ValueError: xxx"),
        fails("raise_no_text", "ValueError: half a \\ud800 pair, a \\x00 and a \\x1b[31m"),
        fails("raise_in_a_circle", "ValueError: first"),
        fails("recurse", "RecursionError: maximum recursion depth exceeded"),
    ),
    "returns what will not do": (
        succeeds("return_lambda", "function"),
        succeeds("return_trap", "Trap"),
        succeeds("return_much", "takes 100,000,002 bytes"),
        succeeds("return_no_text", "surrogate"),
        succeeds("return_nests", "Maximum serialization depth"),
    ),
    "takes too much": (
        succeeds("flood_stdout"),
        fails("take_memory", "MemoryError: more than its memory limit of 64 MiB", lanes=LIMITED),
        succeeds("leave_threads"),
    ),
    "does not end": (
        endless("spin", "cpu", KILLED),
        endless("hold_the_interpreter", "cpu", KILLED),
        endless("backtrack_for_ever", "cpu", KILLED),
        endless("ignore_sigterm", "cpu", KILLED),
        endless("reset_every_handler", "cpu", KILLED),
        endless("sleep_long", "io", "its thread goes on"),
        endless("swallow_cancellation", "async", "ignored cancellation"),
    ),
}


class Pings:
    """Somebody who asks for ``/ping`` all the time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pings")
        self.count = 0
        self.slowest = 0.0
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=PROMPT) as http:
            while not self._over.wait(0.02):
                began = time.monotonic()
                try:
                    http.get(f"{self._url}/ping").raise_for_status()
                except httpx.HTTPError as error:
                    self.problems.append(repr(error))
                self.count += 1
                self.slowest = max(self.slowest, time.monotonic() - began)


@dataclass
class House:
    """The app, and who lives there."""

    server: Server
    http: httpx.Client
    steady: str
    pings: Pings
    #: The harmless tasks of the test that runs.
    neighbours: list[str] = field(default_factory=list)

    def give(self, poison: Poison, lane: str) -> str:
        wanted = {} if poison.timeout is None else {"timeout": poison.timeout}
        answer = self.http.post(f"/poison/{lane}/{poison.kind}", params=wanted)
        task_id: str = answer.raise_for_status().json()
        return task_id

    def visit(self) -> None:
        """Five harmless tasks come to each lane."""
        for lane in EVERYWHERE:
            self.neighbours += self.http.post(f"/beside/{lane}").raise_for_status().json()

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/tasks/{task_id}").raise_for_status().json()
        return found

    def when_final(self, task_id: str) -> dict[str, Any]:
        until(lambda: self.server.states([task_id])[task_id] in FINAL, f"{task_id} is final")
        return self.task(task_id)

    def idle_workers(self) -> list[int]:
        """Their pids."""
        lanes = self.http.get("/tasks/lanes").raise_for_status().json()["items"]
        (cpu,) = (lane for lane in lanes if lane["name"] == "cpu")
        return [worker["pid"] for worker in cpu["workers"] if not worker["busy"]]

    def check_neighbours(self) -> None:
        """All of them are successes at the first attempt."""
        ids, self.neighbours = self.neighbours, []
        self.server.wait_until_done(ids)
        with self.server.rows() as connection:
            rows = connection.execute(
                "SELECT task_id, attempt, crashes, result FROM tasks"
                " WHERE func_name LIKE '%beside%'"
            ).fetchall()
        found = {task_id: rest for task_id, *rest in rows}
        assert [found[task_id] for task_id in ids] == [
            [1, 0, str(2 * (number % 5))] for number in range(len(ids))
        ]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings: dict[str, Any] = {"cpu_workers": 3, "io_workers": 4, "io_max_stuck": 1000}
    server = Server(tmp_path, app="tests.apps.poison:app", flags=("--loop", "uvloop"), **settings)
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        http = stack.enter_context(httpx.Client(base_url=server.url, timeout=PATIENCE))
        steady = http.post("/steady").raise_for_status().json()
        pings = stack.enter_context(Pings(server.url))
        yield House(server, http, steady, pings)


@pytest.mark.parametrize("kind", POISONS)
def test_poisonous_tasks_harm_only_themselves(house: House, kind: str) -> None:
    for _ in range(ROUNDS):
        house.visit()
        given = [
            (poison, house.give(poison, lane)) for poison in POISONS[kind] for lane in poison.lanes
        ]
        house.visit()

        for poison, task_id in given:
            task = house.when_final(task_id)
            assert poison.ends(task), (poison.kind, {k: task[k] for k in SHOWN})
        house.check_neighbours()

    assert_all_is_well(house)


def test_a_worker_that_is_killed_while_idle_costs_no_task(house: House) -> None:
    for _ in range(ROUNDS):
        house.visit()
        house.check_neighbours()
        for pid in house.idle_workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        house.visit()
        house.check_neighbours()

    assert_all_is_well(house)


def assert_all_is_well(house: House) -> None:
    """The app has answered throughout, what ran from the beginning ends well, nothing is left."""
    print(f"{house.pings.count} pings, the slowest took {house.pings.slowest * 1000:.0f} ms")
    assert house.pings.problems == []
    assert house.pings.count > 10
    assert house.task(house.steady)["status"] == "running"
    (house.server.folder / "gate").touch()
    task = house.when_final(house.steady)
    assert (task["status"], task["result"], task["attempts"]) == ("success", 42, 1)
    house.pings.stop()
    assert house.server.terminate() < PATIENCE
    assert house.server.survivors() == []
