"""Runs at one moment, with a key by which they can be moved and cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from taskflow.clock import as_datetime
from taskflow.engine import Engine, new_instance
from taskflow.errors import NotStartedError, TaskOptionError
from taskflow.life import Life
from taskflow.options import LONGEST_KEY
from taskflow.record import TaskRecord
from taskflow.states import TaskStatus
from taskflow.stores.base import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ScheduledTask:
    """A task that waits for its moment."""

    task_id: str
    func_name: str
    run_at: datetime
    #: The key it was planned under, None for one added with ``run_at=`` or ``run_in=``.
    run_key: str | None


@asynccontextmanager
async def _store_of(life: Life) -> AsyncIterator[tuple[Store, Engine | None]]:
    """The open store; before the start one of its own, for a moment."""
    engine = _engine_of(life)
    if engine is not None:
        yield engine.store, engine
        return
    if life.settings.db == ":memory:":
        raise NotStartedError(
            "db=':memory:' is there only while the manager runs: start it before you plan a run"
        )
    store = life.make_store()
    try:
        await store.open(new_instance(), life.clock.now())
        yield store, None
    finally:
        await store.close()


def _engine_of(life: Life) -> Engine | None:
    """The engine, unless it belongs to a life that was left behind on a closed loop."""
    engine = life.engine if life.is_running else None
    return None if engine is None or engine.loop.is_closed() else engine


async def _on_loop(life: Life, work: Coroutine[Any, Any, T]) -> T:
    engine = _engine_of(life)
    return await (work if engine is None else engine.on_its_loop(work))


async def put_once(
    life: Life,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    run_key: str | None,
) -> str:
    """See `TaskManager.schedule_once`."""
    attempt, _ = life.factory.prepare(function, args, kwargs, source="code")
    record = attempt.record
    if record.idempotency_key is not None:
        raise TaskOptionError(
            f"idempotency_key={record.idempotency_key!r:.60}: a run at one moment is told apart by "
            "run_key="
        )
    key = record.task_id if run_key is None else check_run_key(run_key)
    if _engine_of(life) is None and not life.registry.is_declared(attempt.definition):
        raise NotStartedError(
            f"{attempt.definition.name!r} is not declared with @task_manager.task: before the "
            "manager runs, only tasks can be planned that the next start will know"
        )

    async def put() -> str:
        async with _store_of(life) as (store, engine):
            task_id, replaced = await store.put_once(key, record, life.clock.now())
            if engine is not None:
                if not attempt.definition.findable:
                    engine.registry.keep(task_id, attempt.definition)
                engine.outbox.tally.added += not replaced
                _expect(engine, record, replaced=replaced)
            return task_id

    return await _on_loop(life, put())


def _expect(engine: Engine, record: TaskRecord, *, replaced: bool) -> None:
    if record.status is TaskStatus.SCHEDULED:
        engine.timer.due_at(record.run_at or 0.0)
    else:
        if not replaced:  # else it may have been counted before: the next count will tell
            engine.backlog.moved(record.lane, record.queue, 1)
        engine.dispatcher.puller.expect(record.lane, record.queue, record.priority)


async def cancel_once(life: Life, run_key: str) -> bool:
    """See `TaskManager.cancel_scheduled`."""

    async def cancel() -> bool:
        async with _store_of(life) as (store, _):
            return await store.cancel_once(check_run_key(run_key), life.clock.now()) is not None

    return await _on_loop(life, cancel())


async def list_scheduled(life: Life, limit: int) -> list[ScheduledTask]:
    """See `TaskManager.list_scheduled`."""

    async def find() -> list[ScheduledTask]:
        async with _store_of(life) as (store, engine):
            if engine is not None:
                await engine.settle()
            return [
                ScheduledTask(
                    record.task_id,
                    record.func_name,
                    as_datetime(record.run_at or record.created_at),
                    None if key == record.task_id else key,
                )
                for record, key in await store.scheduled(limit)
            ]

    return await _on_loop(life, find())


def check_run_key(key: object) -> str:
    """A key, if it is one; raises `TaskOptionError`."""
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise TaskOptionError(
            f"run_key={key!r:.60}: give a string of 1 to {LONGEST_KEY} printable characters"
        )
    return key
