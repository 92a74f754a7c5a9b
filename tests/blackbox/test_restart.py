"""What a task is after a restart: the same, with the same arguments, or honestly marked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel

from taskflow import TaskHandle, TaskManager, TaskStatus
from taskflow.record import TaskRecord


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    y: float


class Order(BaseModel):
    number: int
    due: date


TYPED: dict[str, tuple[Any, Any]] = {
    "moment": (datetime, datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
    "day": (date, date(2026, 3, 1)),
    "span": (timedelta, timedelta(days=1, seconds=3)),
    "id": (UUID, UUID(int=7)),
    "price": (Decimal, Decimal("1.10")),
    "colour": (Colour, Colour.RED),
    "raw": (bytes, b"\x00\xff\xfe"),
    "group": (set[int], {1, 2}),
    "pair": (tuple[int, str], (1, "x")),
    "path": (Path, Path("/srv/x")),
    "point": (Point, Point(1.0, 2.5)),
    "order": (Order, Order(number=1, due=date(2026, 1, 1))),
    "literal": (Literal["a", "b"], "b"),
    "union": (int | str | UUID, UUID(int=9)),
    "nested": (dict[str, list[datetime]], {"a": [datetime(2026, 1, 1, tzinfo=UTC)]}),
}


def make(path: Path, **settings: Any) -> TaskManager:
    return TaskManager(path, io_workers=2, cpu_workers=1, **{"shutdown_grace": 1, **settings})


async def after_restart(
    path: Path, first: Callable[[TaskManager], Any], second: Callable[[TaskManager], Any]
) -> TaskManager:
    """Add something in one life of the app, and let another life run it."""
    async with make(path) as manager:
        await first(manager)
    manager = make(path)
    second(manager)
    await manager.startup()
    return manager


async def until(manager: TaskManager, task_id: str, status: TaskStatus) -> TaskRecord:
    record: TaskRecord | None = None
    for _ in range(1000):
        await manager.engine.settle()
        record = await manager.engine.store.get(task_id)
        assert record is not None, "the task is gone"
        if record.status is status:
            return record
        await asyncio.sleep(0.01)
    raise AssertionError(f"it never became {status}: {record}")


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What tasks with arguments of each kind were given after one restart."""
    seen: dict[str, list[Any]] = {kind: [] for kind in TYPED}

    def receiver(kind: str) -> Callable[[Any], Awaitable[None]]:
        async def receive(value: Any) -> None:
            seen[kind].append(value)

        receive.__annotations__["value"] = TYPED[kind][0]
        return receive

    receivers = {kind: receiver(kind) for kind in TYPED}

    def register(manager: TaskManager) -> None:
        for kind, receive in receivers.items():
            manager.task(name=kind)(receive)

    async def first(manager: TaskManager) -> None:
        register(manager)
        for kind, receive in receivers.items():
            await manager.enqueue(manager.options(receive, run_in=0.3), TYPED[kind][1])
        assert not any(seen.values())

    async def story() -> None:
        path = tmp_path_factory.mktemp("received") / "tasks.db"
        manager = await after_restart(path, first, register)
        try:
            async with asyncio.timeout(30):
                while not all(seen.values()):
                    await asyncio.sleep(0.01)
        finally:
            await manager.shutdown()

    asyncio.run(story())
    return seen


@pytest.mark.parametrize("kind", TYPED)
def test_typed_arguments_come_back_as_themselves(received: dict[str, list[Any]], kind: str) -> None:
    _, value = TYPED[kind]

    assert received[kind] == [value]
    assert type(received[kind][0]) is type(value)


async def test_star_arguments_and_defaults_survive(db_path: Path) -> None:
    seen: list[Any] = []

    async def receive(a: int, *rest: date, b: str = "default", **more: Decimal) -> None:
        seen.append((a, rest, b, more))

    handles: list[TaskHandle[None]] = []

    async def first(manager: TaskManager) -> None:
        manager.task(name="receive")(receive)
        handles.append(
            await manager.enqueue(
                manager.options(receive, run_in=0.1), 1, date(2026, 1, 1), c=Decimal("2.5")
            )
        )

    manager = await after_restart(db_path, first, lambda m: m.task(name="receive")(receive))
    try:
        await until(manager, handles[0].task_id, TaskStatus.SUCCESS)
    finally:
        await manager.shutdown()

    assert seen == [(1, (date(2026, 1, 1),), "default", {"c": Decimal("2.5")})]


async def test_what_a_stop_cuts_short_goes_on_after_it_at_no_cost(db_path: Path) -> None:
    started = asyncio.Event()
    runs: list[str] = []

    async def long() -> None:
        runs.append("run")
        started.set()
        if runs.count("run") == 1:
            await asyncio.sleep(3600)

    def thread() -> None:
        runs.append("thread")
        if runs.count("thread") == 1:
            release.wait(30)

    release = threading.Event()
    handles: list[TaskHandle[None]] = []

    async def first(manager: TaskManager) -> None:
        manager.task(name="long")(long)
        manager.task(name="thread")(thread)
        handles.append(await manager.enqueue(long))
        handles.append(await manager.enqueue(thread))
        await started.wait()
        while runs.count("thread") == 0:
            await asyncio.sleep(0.001)

    def second(manager: TaskManager) -> None:
        manager.task(name="long")(long)
        manager.task(name="thread")(thread)

    manager = await after_restart(db_path, first, second)
    try:
        for handle in handles:
            record = await until(manager, handle.task_id, TaskStatus.SUCCESS)
            assert (record.attempt, record.max_attempts) == (1, 1)
            history = await manager.engine.store.attempts(handle.task_id)
            assert [attempt.outcome for attempt in history] == ["handed back"]
    finally:
        release.set()
        await manager.shutdown()


async def test_what_may_run_only_once_is_interrupted_instead(db_path: Path) -> None:
    started = asyncio.Event()
    runs: list[str] = []

    async def once() -> None:
        runs.append("run")
        started.set()
        await asyncio.sleep(3600)

    handles: list[TaskHandle[None]] = []

    async def first(manager: TaskManager) -> None:
        manager.task(name="once", at_most_once=True)(once)
        handles.append(await manager.enqueue(once))
        await started.wait()

    manager = await after_restart(
        db_path, first, lambda m: m.task(name="once", requeue_on_interrupt=False)(once)
    )
    try:
        record = await until(manager, handles[0].task_id, TaskStatus.INTERRUPTED)
        assert record.error is not None and "at most once" in record.error
        assert runs == ["run"]
    finally:
        await manager.shutdown()


async def test_a_task_whose_function_is_gone_is_kept_and_runs_when_it_is_back(
    db_path: Path,
) -> None:
    runs: list[str] = []

    async def renamed() -> None:
        runs.append("run")

    async def other() -> None: ...

    handles: list[TaskHandle[None]] = []

    async def first(manager: TaskManager) -> None:
        manager.task(name="old:name")(renamed)
        handles.append(await manager.enqueue(manager.options(renamed, run_in=0.05)))

    manager = await after_restart(db_path, first, lambda m: m.task(name="other")(other))
    try:
        await (await manager.enqueue(manager.options(other, run_in=0.3))).result(timeout=10)
        record = await until(manager, handles[0].task_id, TaskStatus.PENDING)
        assert record.error == "no function of this name in the app"
    finally:
        await manager.shutdown()

    again = make(db_path)
    again.task(name="old:name")(renamed)
    async with again:
        await until(again, handles[0].task_id, TaskStatus.SUCCESS)
    assert runs == ["run"]


async def test_arguments_that_no_longer_fit_fail_that_task_and_no_other(db_path: Path) -> None:
    async def before(count: str) -> None: ...

    async def after(count: int) -> None: ...

    async def fine() -> None: ...

    handles: list[TaskHandle[None]] = []

    async def first(manager: TaskManager) -> None:
        manager.task(name="changed")(before)
        manager.task(name="fine")(fine)
        handles.append(await manager.enqueue(manager.options(before, run_in=0.05), "many"))
        handles.append(await manager.enqueue(manager.options(fine, run_in=0.05)))

    def second(manager: TaskManager) -> None:
        manager.task(name="changed")(after)
        manager.task(name="fine")(fine)

    manager = await after_restart(db_path, first, second)
    try:
        record = await until(manager, handles[0].task_id, TaskStatus.FAILED)
        assert record.error is not None
        assert "does not fit its annotation int any more" in record.error
        assert "'count'" in record.error
        await until(manager, handles[1].task_id, TaskStatus.SUCCESS)
    finally:
        await manager.shutdown()


async def test_a_function_that_lived_only_in_the_process_is_kept_and_said_so(
    db_path: Path,
) -> None:
    handles: list[TaskHandle[None]] = []

    async def first(manager: TaskManager) -> None:
        handles.append(await manager.enqueue(manager.options(lambda: None, run_in=0.05)))

    async def other() -> None: ...

    manager = await after_restart(db_path, first, lambda m: m.task(name="other")(other))
    try:
        await (await manager.enqueue(manager.options(other, run_in=0.3))).result(timeout=10)
        record = await until(manager, handles[0].task_id, TaskStatus.PENDING)
        assert record.error == "no function of this name in the app"
    finally:
        await manager.shutdown()
