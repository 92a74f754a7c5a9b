"""A store that is locked, full or wrong: clear answers, a free event loop, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskflow import TaskManager
from taskflow.errors import StoreUnavailableError
from tests.apps.locks import locked
from tests.apps.server import PATIENCE, Server, until

ALL_LANES = ("async", "io", "cpu")


# -- locked ----------------------------------------------------------------------------------------


class Clients:
    """Light load from outside: one who adds, one who measures."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.acknowledged: list[str] = []
        #: (seconds it took, status code, moment of the answer)
        self.answers: list[tuple[float, int, float]] = []
        self.pings: list[float] = []
        self._stop = asyncio.Event()

    async def add(self) -> None:
        async with httpx.AsyncClient(base_url=self.server.url, timeout=PATIENCE) as http:
            while not self._stop.is_set():
                began = time.monotonic()
                answer = await http.post("/add", json={"lanes": ALL_LANES})
                now = time.monotonic()
                self.answers.append((now - began, answer.status_code, now))
                if answer.status_code == 200:
                    self.acknowledged += answer.json()
                await asyncio.sleep(0.05)

    async def ping(self) -> None:
        async with httpx.AsyncClient(base_url=self.server.url, timeout=PATIENCE) as http:
            while not self._stop.is_set():
                began = time.monotonic()
                await http.get("/ping")
                self.pings.append(time.monotonic() - began)
                await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(self.add())
            group.create_task(self.ping())
            yield
            self._stop.set()

    def codes(self) -> Counter[int]:
        return Counter(code for _, code, _ in self.answers)


@pytest.mark.alone  # how soon requests are answered meanwhile is the point
async def test_a_database_that_is_locked_for_ten_seconds_costs_refusals_and_nothing_else(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, length=1, enqueue_timeout=1, io_workers=8) as server:
        running = await asyncio.to_thread(server.add, *ALL_LANES)
        await asyncio.to_thread(server.wait_until_started, running)
        server.length(0)
        clients = Clients(server)

        with locked(server.database):
            lock_began = time.monotonic()
            async with clients.at_work():
                await asyncio.sleep(10 - (time.monotonic() - lock_began))
                # Whoever asks now will be answered when the lock is gone.
                refused_by_then = clients.codes()
                started_by_then = set(server.marks("start"))
        unlocked = time.monotonic()
        last = len(clients.answers)
        ids = await asyncio.to_thread(server.add, *ALL_LANES)
        healed = time.monotonic() - unlocked
        await asyncio.to_thread(server.wait_until_done, [*running, *ids, *clients.acknowledged])
        await asyncio.to_thread(until, lambda: "running" not in server.states().values(), "quiet")

        slowest = max(took for took, _, _ in clients.answers)
        p99 = sorted(clients.pings)[int(len(clients.pings) * 0.99)]
        print(
            f"{refused_by_then}, slowest {slowest:.2f} s, ping p99 {1000 * p99:.1f} ms "
            f"of {len(clients.pings)}, healed after {healed:.2f} s"
        )
        assert last and refused_by_then[503] >= 20
        assert set(refused_by_then) == {503}
        assert slowest < 1.5
        assert p99 < 0.05
        assert healed < 1.0
        assert server.marks("end").keys() >= set(running)
        # Who was answered 503 has not left anything behind that will still happen.
        promised = {*running, *ids, *clients.acknowledged}
        assert set(server.marks("start")) - started_by_then <= promised
        leftover = {i: s for i, s in server.states().items() if i not in promised}
        assert set(leftover.values()) <= {"cancelled", "success"}
        server.terminate()


async def test_an_eager_task_whose_insert_is_refused_is_stopped_and_leaves_no_row(
    db_path: Path,
) -> None:
    events: list[str] = []

    async def eager() -> None:
        events.append("began")
        try:
            await asyncio.sleep(60)
        finally:
            events.append("stopped")

    async def fine() -> str:
        return "fine"

    manager = TaskManager(db_path, enqueue_timeout=0.3, cpu_workers=1, shutdown_grace=5)
    manager.task(eager=True)(eager)
    manager.task(fine)
    async with manager:
        await (await manager.enqueue(fine)).result()
        with locked(db_path):
            began = time.monotonic()
            with pytest.raises(StoreUnavailableError):
                await manager.enqueue(eager)
            took = time.monotonic() - began
        await asyncio.wait_for(manager.join(), PATIENCE)

        assert events == ["began", "stopped"]
        assert took < 1.0
        assert await (await manager.enqueue(fine)).result(timeout=PATIENCE) == "fine"
    with contextlib.closing(sqlite3.connect(db_path)) as connection:
        states = Counter(connection.execute("SELECT func_name, status FROM tasks").fetchall())
    assert {status for name, status in states if name.endswith("eager")} <= {"cancelled"}
    assert len(states) >= 1


async def test_a_caller_that_gives_up_while_the_store_is_locked_leaves_no_slot_taken(
    db_path: Path,
) -> None:
    ran: list[int] = []

    async def note(number: int) -> None:
        ran.append(number)

    manager = TaskManager(db_path, enqueue_timeout=30, async_limit=1, async_queue=0, cpu_workers=1)
    manager.task(note)
    async with manager:
        await manager.enqueue(note, 0)
        await manager.join()
        with locked(db_path):
            for number in (1, 2, 3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(manager.enqueue(note, number), 0.1)
        await asyncio.wait_for(manager.join(), PATIENCE)
        last = await manager.enqueue(note, 4)

        await last.result(timeout=PATIENCE)
        await asyncio.wait_for(manager.join(), PATIENCE)
        assert set(ran) >= {0, 4}
        assert len(ran) == len(set(ran))


async def test_what_was_refused_never_runs_even_if_the_store_fails_again_and_again(
    db_path: Path,
) -> None:
    ran: list[int] = []

    async def note(number: int) -> None:
        ran.append(number)

    manager = TaskManager(db_path, enqueue_timeout=0.1, async_limit=1, async_queue=0, cpu_workers=1)
    manager.task(note)
    accepted, refused = [], []
    async with manager:
        blocker = asyncio.Event()

        async def block() -> None:
            await blocker.wait()

        await manager.enqueue(block)  # so that all others wait on disk, owned by nobody
        for number in range(25):
            lock = locked(db_path)
            if number % 5 == 0:
                await asyncio.to_thread(lock.__enter__)
            for part in range(4):
                try:
                    await manager.enqueue(note, 4 * number + part)
                    accepted.append(4 * number + part)
                except StoreUnavailableError:
                    refused.append(4 * number + part)
                if part == 1 and number % 5 == 0:
                    await asyncio.to_thread(lock.__exit__, None, None, None)
        blocker.set()
        await asyncio.wait_for(manager.join(), PATIENCE)

    assert refused and accepted
    assert sorted(ran) == accepted


def test_a_server_stops_in_time_while_its_database_is_locked_and_loses_nothing(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, length=60, shutdown_grace=0.5, enqueue_timeout=1) as server:
        ids = server.add(*ALL_LANES)
        server.wait_until_started(ids)

        with locked(server.database):
            took = server.terminate()

        print(f"stopped within {took:.2f} s")
        assert took < 6.0
        assert server.survivors() == []

        server.length(0)
        server.start()
        server.wait_until_done(ids)
        server.terminate()


# -- full ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "8m") -> Iterator[Path]:
    """A file system of its own, which can be filled or made read-only without harm."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root on Linux")
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Leave not one byte."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return ballast


def test_a_full_disk_is_answered_with_503_and_heals_when_there_is_space_again(
    tmp_path: Path,
) -> None:
    with (
        small_disk(tmp_path) as disk,
        Server(tmp_path, database=disk / "tasks.db", enqueue_timeout=1) as server,
    ):
        acknowledged: list[str] = []
        pid = server.http.get("/ping").json()

        def add() -> int:
            answer = server.http.post("/add", json={"lanes": ["async"] * 50})
            if answer.status_code == 200:
                acknowledged.extend(answer.json())
            return answer.status_code

        assert add() == 200
        ballast = fill(disk)
        until(lambda: add() == 503, "the disk is full")
        codes = {add() for _ in range(5)}
        alive = server.http.get("/ping").json()
        ballast.unlink()
        healed = until(lambda: add() == 200, "it heals by itself")
        server.wait_until_done(acknowledged)

        print(f"healed after {healed:.2f} s, {len(acknowledged)} acknowledged")
        assert codes == {503}
        assert alive == pid
        assert healed < 2.0
        assert server.marks("end").keys() >= set(acknowledged)
        server.terminate()


# -- wrong from the start --------------------------------------------------------------------------


def refusal(folder: Path, database: Path, **settings: Any) -> str:
    """What a server says that does not come up; it must say so soon, and exit with an error."""
    server = Server(folder, database=database, **settings)
    with contextlib.ExitStack() as stack:
        stack.push(server.__exit__)
        server.start()
        server.wait_for_exit()
        assert server.process.returncode not in {0, -signal.SIGTERM}
        return server.log.read_text()


def assert_one_clear_line(log: str, *words: str) -> None:
    lines = [line for line in log.splitlines() if all(word in line for word in words)]
    assert lines, f"no line with {words} in:\n{log}"


def test_a_missing_directory_is_named_at_the_start(tmp_path: Path) -> None:
    log = refusal(tmp_path, tmp_path / "nowhere" / "tasks.db")

    assert_one_clear_line(log, "StoreError", str(tmp_path / "nowhere"))


def test_a_directory_in_the_place_of_the_database_is_named_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").mkdir()

    log = refusal(tmp_path, tmp_path / "tasks.db")

    assert_one_clear_line(log, "StoreError", str(tmp_path / "tasks.db"), "directory")


def test_a_text_in_the_place_of_the_database_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").write_text("shopping list\n" * 1000)

    log = refusal(tmp_path, tmp_path / "tasks.db")

    assert_one_clear_line(log, "StoreError", str(tmp_path / "tasks.db"), "not an SQLite database")
    assert (tmp_path / "tasks.db").read_text() == "shopping list\n" * 1000


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        ids = server.add("async")
        server.wait_until_done(ids)
        server.terminate()
    with server.rows() as connection:
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'schema_version'")
        connection.commit()

    log = refusal(tmp_path, server.database)

    assert_one_clear_line(log, "StoreError", str(server.database), "newer")
    assert server.states() == dict.fromkeys(ids, "success")


def test_a_read_only_directory_is_named_at_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

        log = refusal(tmp_path, disk / "tasks.db")

        assert_one_clear_line(log, "StoreError", str(disk))


def test_a_database_that_is_locked_at_the_start_is_named(tmp_path: Path) -> None:
    database = tmp_path / "tasks.db"

    with locked(database):
        log = refusal(tmp_path, database, enqueue_timeout=0.5)

    assert_one_clear_line(log, "StoreUnavailableError", str(database), "locked")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("io_workers", "abc", "an integer from 1 to 1024"),
        ("cpu_workers", "0", "an integer from 1 to 256"),
    ],
)
def test_a_wrong_setting_is_named_at_the_start(
    tmp_path: Path, name: str, value: str, allowed: str
) -> None:
    log = refusal(tmp_path, tmp_path / "tasks.db", **{name: value})

    assert_one_clear_line(log, "SettingsError", f"TASKFLOW_{name.upper()}={value}", allowed)
