"""A dead instance is known by its free lock, a living one is never taken for dead."""

# ruff: noqa: ASYNC222, ASYNC240 - looking at files, and at children that have ended, takes no time

from __future__ import annotations

import asyncio
import fcntl
import multiprocessing
import os
import stat
import time
import warnings
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from taskflow.errors import StoreError, StoreUnavailableError
from taskflow.record import Batch, TaskRecord, insert_row
from taskflow.states import TaskStatus
from taskflow.stores.base import TakenOver
from taskflow.stores.sqlite.liveness import Liveness
from taskflow.stores.sqlite.store import SQLiteStore

NOW = 1_700_000_000.0


def rows(owner: str, count: int) -> list[tuple[object, ...]]:
    """Every other one runs."""
    found = []
    for n in range(count):
        record = TaskRecord(f"{owner}-{n}", "app:f", "io", NOW, owner=owner)
        if n % 2:
            record.status, record.attempt, record.started_at = TaskStatus.RUNNING, 1, NOW
        found.append(insert_row(record))
    return found


def names(directory: Path | str) -> list[str]:
    return [path.name for path in Path(directory).iterdir()]


def _live(path: str, name: str, count: int, ready: Event) -> None:
    async def main() -> None:
        store = SQLiteStore(path)
        await store.open(name, NOW)
        await store.commit(Batch(inserts=rows(name, count)))
        ready.set()
        await asyncio.sleep(600)

    asyncio.run(main())


async def test_a_killed_process_is_dead_at_once_and_its_tasks_are_freed(db_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_live, args=(str(db_path), "victim", 10_000, ready))
    process.start()
    assert await asyncio.to_thread(ready.wait, 60)
    store = SQLiteStore(db_path)
    await store.open("survivor", NOW)
    assert await store.take_over(rerun=True, max_crashes=3, now=NOW) == TakenOver(0, 0, 0)

    process.kill()
    process.join(60)
    begin = time.monotonic()
    taken = await store.take_over(rerun=True, max_crashes=3, now=NOW)
    spent = time.monotonic() - begin

    assert taken == TakenOver(handed_back=10_000, interrupted=0, failed=0)
    assert (await store.backlog())["io", "default"].count == 10_000
    # A tenth of it on a quiet machine; row by row it would be several seconds.
    assert spent < 2
    assert await store.take_over(rerun=True, max_crashes=3, now=NOW) == TakenOver(0, 0, 0)
    assert names(f"{db_path}.instances") == ["survivor.lock"]
    await store.close()
    assert names(f"{db_path}.instances") == []


async def test_the_directory_of_locks_is_private(db_path: Path) -> None:
    store = SQLiteStore(db_path)
    await store.open("me", NOW)

    directory = Path(f"{db_path}.instances")

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "me.lock").stat().st_mode) == 0o600
    await store.close()


async def test_two_processes_cannot_be_one_instance(db_path: Path) -> None:
    first, second = SQLiteStore(db_path), SQLiteStore(db_path)
    await first.open("same", NOW)

    with pytest.raises(StoreError, match="instance 'same' is running already"):
        await second.open("same", NOW)

    await first.commit(Batch(inserts=rows("same", 1)))
    assert await first.take_over(rerun=True, max_crashes=3, now=NOW) == TakenOver(0, 0, 0)
    await first.close()


async def test_an_instance_whose_lock_file_was_deleted_shows_again_that_it_lives(
    db_path: Path,
) -> None:
    first, second = SQLiteStore(db_path), SQLiteStore(db_path)
    await first.open("first", NOW)
    await second.open("second", NOW)
    (Path(f"{db_path}.instances") / "first.lock").unlink()

    await first.take_over(rerun=True, max_crashes=3, now=NOW)
    await first.commit(Batch(inserts=rows("first", 3)))

    assert await second.take_over(rerun=True, max_crashes=3, now=NOW) == TakenOver(0, 0, 0)
    await first.close()
    await second.close()


def test_no_name_of_an_instance_leads_out_of_the_directory(tmp_path: Path) -> None:
    directory = tmp_path / "instances"
    name = "../../evil/é:1"
    liveness = Liveness(directory, name)
    liveness.hold()

    assert len(names(directory)) == 1
    assert Liveness(directory, "other").find_dead([name]).instances == []
    liveness.close()
    assert Liveness(directory, "other").find_dead([name]).instances == [name]
    assert names(tmp_path) == ["instances"]


def test_a_file_that_was_removed_while_it_was_being_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Liveness(tmp_path, "mine")
    other = Liveness(tmp_path, "other")
    lock = fcntl.flock
    removed = False

    def remove_first(descriptor: int, operation: int) -> None:
        # As a sibling does that finds the file without a lock.
        nonlocal removed
        if not removed:
            removed = True
            (tmp_path / "mine.lock").unlink()
        lock(descriptor, operation)

    with monkeypatch.context() as racing:
        racing.setattr(fcntl, "flock", remove_first)
        mine.hold()

    assert removed
    assert names(tmp_path) == ["mine.lock"]
    assert other.find_dead(["mine"]).instances == []
    mine.close()


def test_the_dead_are_hidden_from_others_until_they_are_let_go(tmp_path: Path) -> None:
    gone = Liveness(tmp_path, "gone")
    gone.hold()
    gone.forked()  # loses the lock, as a process that ends
    first, second = Liveness(tmp_path, "first"), Liveness(tmp_path, "second")

    found = first.find_dead(["gone"])
    assert found.instances == ["gone"]
    assert second.find_dead(["gone"]).instances == []

    found.release(forget=False)
    again = second.find_dead([])
    assert again.instances == ["gone"]
    again.release(forget=True)
    assert names(tmp_path) == []


async def test_a_forked_child_neither_uses_the_store_nor_keeps_its_parent_alive(
    db_path: Path,
) -> None:
    store = SQLiteStore(db_path)
    await store.open("parent", NOW)
    answers, child_end = os.pipe()
    finish, parent_end = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: on purpose
        child = os.fork()
    if child == 0:
        os.close(parent_end)
        try:
            asyncio.set_event_loop(None)
            asyncio._set_running_loop(None)
            asyncio.new_event_loop().run_until_complete(store.commit(Batch()))
            os.write(child_end, b"it worked")
        except StoreUnavailableError as error:
            os.write(child_end, str(error).encode())
        finally:
            os.read(finish, 1)
            os._exit(0)
    answer = await asyncio.to_thread(os.read, answers, 1000)

    assert b"opened by the parent process" in answer
    # The child still lives; the parent seems dead as soon as it lets go.
    other = SQLiteStore(db_path)
    await other.open("other", NOW)
    await store.commit(Batch(inserts=rows("parent", 2)))
    await store.close()
    assert (await other.take_over(rerun=True, max_crashes=3, now=NOW)).handed_back == 2
    os.close(parent_end)
    os.waitpid(child, 0)
    for descriptor in (answers, child_end, finish):
        os.close(descriptor)
    await other.close()
