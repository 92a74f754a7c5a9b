"""A store that answers too late, or not at all, or refuses a part: no task pays for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from taskflow import TaskManager, TaskStatus
from taskflow.errors import StoreUnavailableError
from taskflow.record import Batch, Committed, TaskFilter
from taskflow.stores.base import Claimed
from taskflow.stores.sqlite.store import SQLiteStore

PATIENCE = 30.0


class Moody(SQLiteStore):
    """The real store; its commits can be held up, before or after, and its cancels can fail."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.before = asyncio.Event()
        self.after = asyncio.Event()
        self.before.set()
        self.after.set()
        self.committed = asyncio.Event()
        self.claims = asyncio.Event()
        self.claims.set()
        self.claiming = asyncio.Event()
        self.looked = asyncio.Event()
        self.after_claim: Callable[[], None] = lambda: None
        self.failing_cancels = 0
        #: Raises what the next commits are refused with.
        self.refuse: Callable[[Batch], None] = lambda _batch: None

    async def commit(self, batch: Batch) -> Committed:
        await self.before.wait()
        self.refuse(batch)
        committed = await super().commit(batch)
        self.committed.set()
        await self.after.wait()
        return committed

    async def claim(
        self,
        lane: str,
        limit: int,
        names: Collection[str],
        now: float,
        *,
        places: Mapping[str, int] | None = None,
        above: int | None = None,
    ) -> Claimed:
        self.claiming.set()
        await self.claims.wait()
        found = await super().claim(lane, limit, names, now, places=places, above=above)
        # Just when the round that asked is over, and nobody has heard so yet.
        asyncio.get_running_loop().call_soon(self.after_claim)
        return found

    async def changed(self) -> bool:
        changed = await super().changed()
        self.looked.set()
        return changed

    async def cancel(self, task_id: str, now: float) -> TaskStatus | None:
        if self.failing_cancels:
            self.failing_cancels -= 1
            raise StoreUnavailableError("away")
        return await super().cancel(task_id, now)


class Manager(TaskManager):
    """With a moody store."""

    def __init__(self, path: Path, **settings: Any) -> None:
        super().__init__(path, cpu_workers=1, enqueue_timeout=0.3, **settings)
        self.ran: list[str] = []
        self.task(name="note")(self.note)

    async def note(self, what: str) -> None:
        self.ran.append(what)

    def make_store(self) -> Moody:
        self.store = Moody(Path(self.settings.db))
        return self.store

    async def states(self) -> dict[str, TaskStatus]:
        """By the argument of the task."""
        page = await self.store.list(TaskFilter(limit=200))
        return {record.args.split('"')[3]: record.status for record in page.items}


async def until_taken(manager: Manager, what: str) -> None:
    """Until this instance has taken that task from disk."""
    while True:
        page = await manager.store.list(TaskFilter(limit=200))
        if any(what in record.args and record.owner for record in page.items):
            return
        await asyncio.sleep(0.001)


async def test_a_task_committed_too_late_is_cancelled_as_soon_as_the_store_allows(
    db_path: Path,
) -> None:
    async with Manager(db_path) as manager:
        manager.store.before.clear()
        with pytest.raises(StoreUnavailableError):
            await manager.enqueue(manager.options(manager.note, run_in=0.1), "late")
        manager.store.failing_cancels = 2

        manager.store.before.set()
        await asyncio.wait_for(manager.join(), PATIENCE)
        await manager.enqueue(manager.note, "after")
        await asyncio.wait_for(manager.join(), PATIENCE)

        assert manager.store.failing_cancels == 0
        assert await manager.states() == {
            "late": TaskStatus.CANCELLED,
            "after": TaskStatus.SUCCESS,
        }
        assert manager.ran == ["after"]


async def test_a_task_committed_too_late_does_not_run_even_if_its_lane_takes_it_from_disk(
    db_path: Path,
) -> None:
    async with Manager(db_path, async_limit=1, async_queue=0) as manager:
        busy, free = asyncio.Event(), asyncio.Event()

        async def block(what: str) -> None:
            busy.set()
            await free.wait()

        await manager.enqueue(block, "block")
        await busy.wait()
        await manager.enqueue(manager.note, "waits on disk")
        await manager.engine.outbox.flush()  # or the commit below might be that of the start
        manager.store.committed.clear()
        manager.store.after.clear()
        with pytest.raises(StoreUnavailableError):
            await manager.enqueue(manager.note, "late")
        await manager.store.committed.wait()  # it is on disk, and only the store knows

        free.set()
        await asyncio.wait_for(until_taken(manager, "late"), PATIENCE)
        manager.store.after.set()
        await asyncio.wait_for(manager.join(), PATIENCE)

        assert manager.ran == ["waits on disk"]
        assert (await manager.states())["late"] is TaskStatus.CANCELLED


async def test_ends_survive_that_the_store_goes_away_while_a_refused_group_is_taken_apart(
    db_path: Path,
) -> None:
    refusals = [ValueError("the group"), StoreUnavailableError("away")]

    def refuse(batch: Batch) -> None:
        if batch.updates and refusals:
            raise refusals.pop(0)

    async with Manager(db_path) as manager:
        busy, free = asyncio.Event(), asyncio.Event()

        async def block(what: str) -> None:
            busy.set()
            await free.wait()

        handle = await manager.enqueue(block, "block")
        await busy.wait()
        await manager.engine.outbox.flush()
        manager.store.refuse = refuse

        free.set()
        await asyncio.wait_for(manager.join(), PATIENCE)

        assert refusals == []
        assert await handle.status() is TaskStatus.SUCCESS


async def test_news_that_come_at_the_very_end_of_a_round_are_not_lost(db_path: Path) -> None:
    async with Manager(db_path) as manager:
        # The first look at the neighbours brings news by itself.
        await manager.store.looked.wait()
        await manager.join()
        puller = manager.engine.dispatcher.puller
        news = 0

        def bring_news() -> None:
            nonlocal news
            if news < 3:
                news += 1
                puller.suspect("async")

        manager.store.after_claim = bring_news
        puller.suspect("async")

        await asyncio.wait_for(manager.join(), PATIENCE)

        assert news == 3


async def test_a_store_that_hangs_does_not_cost_the_stop_a_second_grace_period(
    db_path: Path,
) -> None:
    manager = Manager(db_path, async_limit=1, async_queue=0, shutdown_grace=1.5)
    ends, over = asyncio.Event(), threading.Event()

    async def block(what: str) -> None:
        await ends.wait()

    async with manager:
        await manager.enqueue(over.wait)  # a thread that outlasts every grace period
        await manager.enqueue(block, "block")
        await manager.enqueue(manager.note, "waits on disk")
        manager.store.claims.clear()
        manager.store.claiming.clear()
        ends.set()
        await manager.store.claiming.wait()
        began = time.monotonic()

        await manager.drain()
        took = time.monotonic() - began
        manager.store.claims.set()
        over.set()

    assert 1.4 < took < 2.6
    assert manager.ran == []
