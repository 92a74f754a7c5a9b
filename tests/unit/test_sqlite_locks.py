"""Whoever holds the lock of the database is waited for, and not for ever."""

# ruff: noqa: ASYNC240, SIM117 - nested for the order of events; a look at a file is no harm here

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from taskflow.errors import StoreUnavailableError
from taskflow.record import Batch, TaskRecord, insert_row
from taskflow.stores.sqlite.gate import Gate
from taskflow.stores.sqlite.store import SQLiteStore

NOW = 1_700_000_000.0


def one(number: int = 1) -> Batch:
    return Batch(inserts=[insert_row(TaskRecord(f"id-{number}", "app:f", "io", NOW))])


@pytest.fixture
async def store(db_path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(db_path, busy_timeout=0.3)
    await store.open("me", NOW)
    yield store
    await store.close()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """The database while a program that knows nothing of taskflow holds its lock."""
    stranger = sqlite3.connect(path, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    try:
        yield stranger
    finally:
        stranger.close()


async def test_a_write_waits_for_a_lock_that_is_given_back(db_path: Path) -> None:
    store = SQLiteStore(db_path, busy_timeout=60)
    await store.open("me", NOW)
    with locked(db_path) as stranger:
        writing = asyncio.create_task(store.commit(one()))
        await asyncio.sleep(0.25)  # longer than SQLite itself waits at a time
        assert not writing.done()

        stranger.execute("COMMIT")
        await writing

    assert await store.get("id-1") is not None
    await store.close()


async def test_a_write_that_waited_in_vain_says_how_long_and_wrote_nothing(
    store: SQLiteStore, db_path: Path
) -> None:
    with locked(db_path):
        with pytest.raises(
            StoreUnavailableError, match=r"was locked by another .* 0\.\d s"
        ) as caught:
            await store.commit(one())
        assert str(db_path) in str(caught.value)

    assert await store.get("id-1") is None
    await store.commit(one())
    assert await store.get("id-1") is not None


async def test_reads_and_the_event_loop_go_on_while_a_write_waits(
    store: SQLiteStore, db_path: Path
) -> None:
    await store.commit(one())
    with locked(db_path):
        writing = asyncio.create_task(store.commit(one(2)))
        reads = 0
        while not writing.done():
            assert await store.get("id-1") is not None
            reads += 1

    assert reads > 3
    assert isinstance(writing.exception(), StoreUnavailableError)


async def test_writes_that_queue_behind_a_lock_fail_together_not_one_after_the_other(
    store: SQLiteStore, db_path: Path
) -> None:
    begin = time.monotonic()
    with locked(db_path):
        results = await asyncio.gather(
            *(store.commit(one(n)) for n in range(20)), return_exceptions=True
        )

    assert all(isinstance(result, StoreUnavailableError) for result in results)
    # One after the other would take 6 s.
    assert time.monotonic() - begin < 2


async def test_closing_does_not_wait_for_somebody_elses_lock(db_path: Path) -> None:
    store = SQLiteStore(db_path, busy_timeout=120)
    await store.open("me", NOW)
    with locked(db_path):
        writing = asyncio.create_task(store.commit(one()))
        await asyncio.sleep(0.05)
        begin = time.monotonic()

        await store.close()

        assert time.monotonic() - begin < 30
        with pytest.raises(StoreUnavailableError):
            await writing


async def test_opening_a_locked_database_fails_in_time_and_leaves_nothing(db_path: Path) -> None:
    db_path.touch()
    before = threading.active_count()
    with locked(db_path):
        with pytest.raises(StoreUnavailableError, match="locked"):
            await SQLiteStore(db_path, busy_timeout=0.2).open("me", NOW)

    assert threading.active_count() == before
    store = SQLiteStore(db_path)
    await store.open("me", NOW)
    await store.close()


# -- the turn to write --------------------------------------------------------------------------


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    first, second = Gate(tmp_path / "lock"), Gate(tmp_path / "lock")

    assert first.enter()
    assert not second.enter()
    assert not second.wait(0.02)
    first.leave()
    assert second.enter()

    first.close()
    second.close()
    second.close()


def test_who_waited_long_goes_before_who_comes_again(tmp_path: Path) -> None:
    greedy, patient = Gate(tmp_path / "lock"), Gate(tmp_path / "lock")
    assert greedy.enter()
    got = threading.Event()

    def wait() -> None:
        if patient.wait(60):
            got.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    # Patience is over when the greedy one, having left, may not come in again.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        greedy.leave()
        if not greedy.enter():
            break
        time.sleep(0.001)
    waiting.join(60)

    assert got.is_set()
    assert not greedy.enter()
    patient.leave()
    assert greedy.enter()
    greedy.close()
    patient.close()


def _hold(path: str, holds: Event, finish: Event) -> None:
    gate = Gate(Path(path))
    assert gate.enter()
    holds.set()
    finish.wait(60)


async def test_the_turn_of_a_process_that_is_killed_is_free(
    store: SQLiteStore, db_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    holds, finish = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(f"{db_path}.lock", holds, finish))
    process.start()
    assert holds.wait(60)
    with pytest.raises(StoreUnavailableError, match="locked by another process"):
        await store.commit(one())

    process.kill()
    process.join(60)

    await store.commit(one())
    assert await store.get("id-1") is not None


def _write(path: str, name: str, count: int) -> None:
    async def main() -> None:
        store = SQLiteStore(path, busy_timeout=60)
        await store.open(name, NOW)
        for number in range(count):
            row = insert_row(TaskRecord(f"{name}-{number}", "app:f", "io", NOW))
            await store.commit(Batch(inserts=[row]))
        await store.close()

    asyncio.run(main())


async def test_three_processes_write_at_once_and_nothing_is_lost(
    store: SQLiteStore, db_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(db_path), f"w{n}", 100)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        await asyncio.to_thread(writer.join, 120)

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert (await store.backlog())["io", "default"].count == 300
