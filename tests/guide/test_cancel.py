"""A cancelled task never succeeds, wherever it is when it is cancelled; its neighbours go on."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from taskflow import (
    QueueConfig,
    TaskCancelledError,
    TaskFailedError,
    TaskHandle,
    TaskManager,
    TaskStatus,
    get_task_context,
)
from tests.guide.crew import PATIENCE, Crew, in_time, record_of, until, until_status, wait_for


@pytest.fixture
def crew() -> Crew:
    return Crew()


@pytest.fixture
async def manager(db_path: Path) -> AsyncIterator[TaskManager]:
    """One slot and one waiting place for coroutines, and a queue that lets one run."""
    manager = TaskManager(
        db_path,
        async_limit=1,
        async_queue=1,
        cpu_workers=2,
        shutdown_grace=2,
        queues={"one": QueueConfig(concurrency=1)},
    )
    async with manager:
        yield manager


async def assert_cancelled(handle: TaskHandle[Any], *how: str | None) -> None:
    """``how``: one of these is what is said about it."""
    record = await record_of(handle)
    assert record.status is TaskStatus.CANCELLED
    assert record.error in how
    assert record.result is None
    with pytest.raises(TaskFailedError, match="is cancelled"):
        await handle.result(timeout=5)


# -- before it runs --------------------------------------------------------------------------------

Before = Callable[[TaskManager, Crew], Awaitable[TaskHandle[Any]]]


async def scheduled(manager: TaskManager, crew: Crew) -> TaskHandle[Any]:
    return await manager.enqueue(manager.options(crew.hold, run_in=0.3), "cancelled")


async def in_memory(manager: TaskManager, crew: Crew) -> TaskHandle[Any]:
    handle = await manager.enqueue(crew.hold, "cancelled")
    await until(lambda: manager.lanes["async"].waiting == 1)
    return handle


async def on_disk(manager: TaskManager, crew: Crew) -> TaskHandle[Any]:
    await manager.enqueue(crew.hold, "in memory")
    return await manager.enqueue(crew.hold, "cancelled")


async def held_by_its_queue(manager: TaskManager, crew: Crew) -> TaskHandle[Any]:
    await manager.queues["one"].pause()
    return await manager.enqueue(manager.options(crew.hold, queue="one"), "cancelled")


async def in_a_paused_lane(manager: TaskManager, crew: Crew) -> TaskHandle[Any]:
    await manager.lanes["async"].pause()
    return await manager.enqueue(crew.hold, "cancelled")


@pytest.mark.parametrize(
    "before", [scheduled, in_memory, on_disk, held_by_its_queue, in_a_paused_lane]
)
async def test_a_task_that_has_not_started_never_will(
    manager: TaskManager, crew: Crew, before: Before
) -> None:
    blocker = await manager.enqueue(crew.hold, "blocker")
    await crew.until_started("blocker")
    handle = await before(manager, crew)
    sibling = await manager.enqueue(crew.hold, "sibling")

    assert await handle.cancel() is TaskStatus.CANCELLED

    await manager.queues["one"].resume()
    await manager.lanes["async"].resume()
    crew.let_go()
    for other in blocker, sibling:
        assert await other.result(timeout=10) in {"blocker", "sibling"}
        assert (await record_of(other)).attempt == 1
    if before is scheduled:  # so that its time has come
        await asyncio.sleep(0.4)
    await in_time(manager.join())
    assert "cancelled" not in crew.started
    await assert_cancelled(handle, "cancelled: before it started", None)


async def test_a_task_between_two_attempts_is_not_tried_again(manager: TaskManager) -> None:
    attempts: list[int] = []

    @manager.task(retries=3, delay=0.3)
    async def fails() -> None:
        attempts.append(1)
        raise ConnectionError("not yet")

    handle = await manager.enqueue(fails)
    await until_status(handle, TaskStatus.RETRYING)

    assert await handle.cancel() is TaskStatus.CANCELLED
    await asyncio.sleep(0.4)
    await in_time(manager.join())
    assert attempts == [1]
    assert await handle.status() is TaskStatus.CANCELLED


async def test_a_task_that_waits_for_its_key_is_cancelled_and_the_next_one_runs(
    manager: TaskManager, crew: Crew
) -> None:
    manager.task(concurrency_key=lambda: "k")(crew.hold)
    await manager.lanes["async"].resize(3)
    await manager.enqueue(crew.hold, "first")
    await crew.until_started("first")
    handle = await manager.enqueue(crew.hold, "cancelled")
    third = await manager.enqueue(crew.hold, "third")

    assert await handle.cancel() is TaskStatus.CANCELLED

    crew.let_go()
    assert await third.result(timeout=10) == "third"
    assert crew.started == ["first", "third"]


async def test_a_task_that_ended_stays_what_it_is(manager: TaskManager, crew: Crew) -> None:
    handle = await manager.enqueue(crew.pass_through, "done")
    assert await handle.result(timeout=10) == "done"

    assert await handle.cancel() is TaskStatus.SUCCESS
    assert await handle.result(timeout=10) == "done"


# -- while it runs ---------------------------------------------------------------------------------


def busy(started: str, gate: str) -> str:
    Path(started).touch()
    wait_for(gate)
    return "ended by itself"


def busy_in_process(started: str, gate: str) -> str:
    return busy(started, gate)


async def busy_async(started: str, gate: str) -> str:
    return await asyncio.to_thread(busy, started, gate)


RUNNING: list[tuple[str, Callable[[str, str], Any], str]] = [
    ("async", busy_async, "cancelled: its coroutine was cancelled"),
    ("io", busy, "cancelled: its thread goes on"),
    ("cpu", busy_in_process, "cancelled: its worker process was killed"),
]


@pytest.mark.parametrize(("lane", "function", "how"), RUNNING, ids=[lane for lane, *_ in RUNNING])
async def test_a_running_task_is_cancelled_in_every_lane_and_its_neighbour_goes_on(
    manager: TaskManager, tmp_path: Path, lane: Any, function: Callable[[str, str], Any], how: str
) -> None:
    await manager.lanes["async"].resize(2)
    manager.task(lane=lane, retries=3)(function)
    started, gate = [tmp_path / "1", tmp_path / "2"], tmp_path / "gate"
    handle = await manager.enqueue(function, str(started[0]), str(gate))
    neighbour = await manager.enqueue(function, str(started[1]), str(gate))
    await until(lambda: all(file.exists() for file in started))

    assert await handle.cancel() is TaskStatus.CANCELLED
    gate.touch()

    assert await neighbour.result(timeout=10) == "ended by itself"
    assert (await record_of(neighbour)).attempt == 1
    await in_time(manager.join())
    await assert_cancelled(handle, how)


async def test_a_coroutine_that_swallows_its_cancellation_does_not_succeed(
    manager: TaskManager,
) -> None:
    started = asyncio.Event()

    @manager.task
    async def stubborn() -> str:
        started.set()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            return "succeeded all the same"
        return ""

    handle = await manager.enqueue(stubborn)
    await in_time(started.wait())

    assert await handle.cancel() is TaskStatus.CANCELLED
    await assert_cancelled(handle, "cancelled: its coroutine was cancelled")


async def test_a_task_that_fails_on_its_way_out_is_not_tried_again(manager: TaskManager) -> None:
    started, attempts = asyncio.Event(), []

    @manager.task(retries=3)
    async def clumsy() -> None:
        attempts.append(1)
        started.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            raise ValueError("broken clean-up")

    handle = await manager.enqueue(clumsy)
    await in_time(started.wait())

    assert await handle.cancel() is TaskStatus.CANCELLED
    await in_time(manager.join())
    assert attempts == [1]
    assert await handle.status() is TaskStatus.CANCELLED


async def test_a_thread_hears_of_it_and_can_leave(manager: TaskManager) -> None:
    started, left = threading.Event(), threading.Event()
    heard: list[object] = []

    @manager.task
    def polite() -> None:
        context = get_task_context()
        assert context is not None
        heard.append(context.cancelled)
        started.set()
        try:
            while True:
                context.raise_if_cancelled()
                left.wait(0.001)
        except TaskCancelledError as error:
            heard.extend((context.cancelled, str(error)))
            left.set()

    handle = await manager.enqueue(polite)
    await asyncio.to_thread(started.wait, PATIENCE)

    assert await handle.cancel() is TaskStatus.CANCELLED
    assert await asyncio.to_thread(left.wait, PATIENCE)
    assert heard == [False, True, f"task {handle.task_id} was cancelled"]


# -- elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["running", "in memory"])
@pytest.mark.parametrize(("lane", "function", "how"), RUNNING, ids=[lane for lane, *_ in RUNNING])
async def test_a_task_of_another_instance_is_cancelled_there(
    db_path: Path,
    tmp_path: Path,
    lane: Any,
    function: Callable[[str, str], Any],
    how: str,
    state: str,
) -> None:
    here, there = (
        TaskManager(db_path, async_limit=1, io_workers=1, cpu_workers=1) for _ in range(2)
    )
    started, gate = tmp_path / "started", tmp_path / "gate"
    for manager in here, there:
        manager.task(lane=lane)(function)
    async with there:
        handles = [await there.enqueue(function, str(started), str(gate))]
        await until(started.exists)
        handles.append(await there.enqueue(function, str(tmp_path / "second"), str(gate)))
        async with here:
            # The same task again, as somebody would see it who only knows its id.
            wanted, other = handles if state == "running" else reversed(handles)
            known_here: TaskHandle[Any] = TaskHandle(wanted.task_id, here.engine, function)

            assert await known_here.cancel() is TaskStatus.CANCELLED
            gate.touch()

            assert await other.result(timeout=10) == "ended by itself"
            await in_time(there.join())
            await in_time(here.join())
            expected = how if state == "running" else "cancelled: before it started"
            await assert_cancelled(wanted, expected)
            assert (tmp_path / "second").exists() is (state == "running")


# -- at any moment ---------------------------------------------------------------------------------


async def test_whoever_is_told_cancelled_never_sees_success(db_path: Path) -> None:
    """Cancels come before, during and just after short tasks, from two instances."""
    draw = random.Random(11)
    ended: set[int] = set()
    managers = [TaskManager(db_path, async_limit=4, async_queue=4) for _ in range(2)]

    async def work(number: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        ended.add(number)
        return number

    for manager in managers:
        manager.task(name="work")(work)

    async def add_and_cancel(number: int) -> tuple[int, TaskHandle[int], TaskStatus | None]:
        handle = await managers[number % 2].enqueue(work, number, draw.uniform(0, 0.01))
        if number % 3 == 0:
            return number, handle, None
        await asyncio.sleep(draw.uniform(0, 0.3))
        canceller = managers[draw.randrange(2)]
        known: TaskHandle[int] = TaskHandle(handle.task_id, canceller.engine, work)
        return number, handle, await known.cancel()

    async with managers[0], managers[1]:
        told = await in_time(asyncio.gather(*(add_and_cancel(number) for number in range(120))))
        for manager in managers:
            await in_time(manager.join())
        finals = {number: await record_of(handle) for number, handle, _ in told}

    for number, _, status in told:
        final = finals[number]
        if status is None:
            assert (final.status, final.attempt) == (TaskStatus.SUCCESS, 1)
        else:
            assert final.status is status
            assert status in {TaskStatus.SUCCESS, TaskStatus.CANCELLED}
        if final.status is TaskStatus.SUCCESS:
            assert number in ended
    assert {status for *_, status in told} >= {TaskStatus.SUCCESS, TaskStatus.CANCELLED}
