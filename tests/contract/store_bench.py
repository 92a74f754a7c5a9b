"""A store of any kind under test: opens it for several instances, and makes tasks for it.

A store takes part by a class like `SQLiteBackend` in `BACKENDS`; nothing else here knows it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

from taskflow.record import (
    AttemptRecord,
    Batch,
    Committed,
    TaskRecord,
    insert_row,
    update_row,
)
from taskflow.states import TaskStatus
from taskflow.stores.base import Store, TakenOver
from taskflow.stores.sqlite.store import SQLiteStore

NOW = 1_700_000_000.0
NAME = "app:send"
NAMES = frozenset({NAME})


class Backend(Protocol):
    """One shared place, and stores on it."""

    def store(self) -> Store:
        """Another store on the same place, not open yet."""

    def die(self, store: Store) -> None:
        """From now on ``store`` is dead for the others, while it still believes it lives."""


class SQLiteBackend:
    def __init__(self, path: Path) -> None:
        self._path = path / "tasks.db"

    def store(self) -> Store:
        return SQLiteStore(self._path)

    def die(self, store: Store) -> None:
        assert isinstance(store, SQLiteStore)
        assert store._liveness is not None
        # Drops the lock without a word, as the kernel does when a process ends.
        store._liveness.forked()


BACKENDS: dict[str, Callable[[Path], Backend]] = {"sqlite": SQLiteBackend}


class Place:
    """Opens stores on one backend, and closes what a test left open."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._opened: list[Store] = []

    async def open(self, instance: str) -> Store:
        store = self.backend.store()
        self._opened.append(store)
        await store.open(instance, NOW)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


def task(number: int = 1, **values: object) -> TaskRecord:
    record = TaskRecord(f"0190-{number:08d}", NAME, "async", NOW + number)
    for name, value in values.items():
        setattr(record, name, value)
    return record


def running(number: int = 1, owner: str = "me", **values: object) -> TaskRecord:
    return task(
        number, status=TaskStatus.RUNNING, owner=owner, instance=owner, attempt=1,
        started_at=NOW + 5, **values,
    )  # fmt: skip


async def put(store: Store, *records: TaskRecord) -> Committed:
    return await store.commit(Batch(inserts=[insert_row(record) for record in records]))


async def put_keyed(store: Store, *records: TaskRecord) -> Committed:
    return await store.commit(Batch(keyed=[insert_row(record) for record in records]))


async def update(store: Store, *records: TaskRecord) -> Committed:
    return await store.commit(Batch(updates=[update_row(record) for record in records]))


async def stored(store: Store, task_id: str) -> TaskRecord:
    record = await store.get(task_id)
    assert record is not None
    return record


async def take(
    store: Store,
    limit: int,
    *,
    lane: str = "async",
    names: Collection[str] = NAMES,
    places: Mapping[str, int] | None = None,
    above: int | None = None,
) -> list[TaskRecord]:
    """What a claim takes."""
    claimed = await store.claim(lane, limit, names, NOW, places=places, above=above)
    return claimed.tasks


async def left(store: Store, *, lane: str = "async") -> dict[str, int]:
    """What a claim that takes nothing says is left."""
    claimed = await store.claim(lane, 0, NAMES, NOW)
    assert claimed.tasks == []
    return claimed.left


async def waiting(store: Store) -> dict[tuple[str, str], int]:
    """How many tasks may be claimed, by lane and queue."""
    return {place: found.count for place, found in (await store.backlog()).items()}


def ids(records: list[TaskRecord]) -> list[str]:
    return [record.task_id for record in records]


def attempt(task_id: str, at: float = NOW, **values: object) -> AttemptRecord:
    record = AttemptRecord(task_id, 0, at, at + 1, "failed", "E: no", "trace", "me")
    return dataclasses.replace(record, **values)  # type: ignore[arg-type]  # tests set any field


async def survivor_of(
    place: Place, *records: TaskRecord, rerun: bool = True, max_crashes: int = 3
) -> tuple[Store, TakenOver]:
    """A store that took over from ``dead``, which owned ``records``."""
    dead = await place.open("dead")
    await put(dead, *records)
    place.backend.die(dead)
    survivor = await place.open("survivor")
    return survivor, await survivor.take_over(rerun=rerun, max_crashes=max_crashes, now=NOW + 60)
