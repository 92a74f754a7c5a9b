"""Tasks that take too long, too much, or the process along: what they get, and what others get."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from taskflow import (
    QueueFullError,
    SettingsError,
    TaskDefinitionError,
    TaskFailedError,
    TaskHandle,
    TaskManager,
    TaskStatus,
    get_task_context,
)
from tests.guide import troublemakers
from tests.guide.crew import PATIENCE, in_time, record_of
from tests.guide.troublemakers import (
    die,
    fail_to_load,
    hang,
    hang_in_process,
    leave,
    leave_in_process,
    load_model,
    look_at_model,
    spin,
    survive,
    take,
)

LIMIT = 0.2


@pytest.fixture
async def manager(db_path: Path) -> AsyncIterator[TaskManager]:
    async with TaskManager(db_path, io_workers=4, cpu_workers=1, shutdown_grace=1) as manager:
        yield manager


async def error_of(handle: TaskHandle[Any]) -> str:
    """How it failed."""
    with pytest.raises(TaskFailedError) as caught:
        await handle.result(timeout=PATIENCE)
    assert caught.value.status == TaskStatus.FAILED
    assert caught.value.error is not None
    return caught.value.error


# -- timeouts --------------------------------------------------------------------------------------


async def hang_async(gate: str) -> None:
    await asyncio.to_thread(hang, gate)


LANES: list[tuple[str, Callable[[str], Any], str]] = [
    ("async", hang_async, "timed out after 0.2 s (cancelled)"),
    ("io", hang, "timed out after 0.2 s (its thread goes on)"),
    ("cpu", hang_in_process, "timed out after 0.2 s (its worker process was killed)"),
]
#: Where a timeout is given makes no difference to a lane, but each has a setting of its own.
GIVEN = [
    pytest.param(*case, given, id=f"{given}-{case[0]}")
    for given in ("by the task", "by the call", "by the setting")
    for case in LANES
    if case[0] != "cpu" or given == "by the setting"
]


@pytest.mark.parametrize(("lane", "function", "error", "given"), GIVEN)
async def test_a_timeout_ends_an_attempt_and_the_error_says_what_became_of_its_code(
    db_path: Path, tmp_path: Path, lane: Any, function: Callable[[str], Any], error: str, given: str
) -> None:
    gate = tmp_path / "gate"
    settings: dict[str, Any] = {f"{lane}_timeout": LIMIT} if given == "by the setting" else {}
    async with TaskManager(db_path, cpu_workers=1, **settings) as manager:
        options: dict[str, Any] = {"timeout": LIMIT} if given == "by the task" else {}
        manager.task(lane=lane, **options)(function)
        called = manager.options(function, timeout=LIMIT) if given == "by the call" else function

        handle = await manager.enqueue(called, str(gate))
        assert await error_of(handle) == error

        gate.touch()
        again = await manager.enqueue(manager.options(function, timeout=PATIENCE), str(gate))
        assert await again.result(timeout=PATIENCE) is None


async def test_a_call_can_lift_the_limit_of_its_task(manager: TaskManager) -> None:
    @manager.task(timeout=0.01)
    async def work() -> str:
        await asyncio.sleep(0.05)
        return "done"

    handle = await manager.enqueue(manager.options(work, timeout=None))

    assert await handle.result(timeout=PATIENCE) == "done"


async def test_the_time_in_a_queue_does_not_count(db_path: Path) -> None:
    async with TaskManager(db_path, async_limit=1) as manager:

        @manager.task(timeout=0.5)
        async def work() -> None:
            await asyncio.sleep(0.1)

        handles = [await manager.enqueue(work) for _ in range(8)]
        for handle in handles:
            await handle.result(timeout=PATIENCE)


async def test_a_timeout_is_an_error_like_any_other_and_is_tried_again(
    manager: TaskManager,
) -> None:
    @manager.task(timeout=0.1, retries=1, retry_on=TimeoutError)
    async def slow_at_first() -> str:
        context = get_task_context()
        assert context is not None
        await asyncio.sleep(PATIENCE if context.attempt == 1 else 0)
        return "done"

    handle = await manager.enqueue(slow_at_first)

    assert await handle.result(timeout=PATIENCE) == "done"
    assert (await record_of(handle)).attempt == 2


async def test_a_coroutine_that_ignores_its_timeout_is_given_up_and_said_so(
    manager: TaskManager,
) -> None:
    gone = asyncio.Event()

    @manager.task(timeout=0.1)
    async def deaf() -> None:
        while not gone.is_set():
            try:
                await gone.wait()
            except asyncio.CancelledError:
                continue

    handle = await manager.enqueue(deaf)

    assert await error_of(handle) == "timed out after 0.1 s (ignored cancellation)"
    gone.set()


async def test_an_endless_loop_in_a_worker_process_is_ended_and_tells_where_it_was(
    manager: TaskManager,
) -> None:
    # Long enough to import this module, too: the task may be given to a worker that has not.
    manager.task(lane="cpu", timeout=1.5)(spin)

    handle = await manager.enqueue(spin)

    assert await error_of(handle) == "timed out after 1.5 s (its worker process was killed)"
    record = await record_of(handle)
    assert record.stacktrace is not None
    assert "in spin" in record.stacktrace


async def test_a_thread_hears_that_its_time_is_over(manager: TaskManager) -> None:
    heard = threading.Event()

    @manager.task(timeout=0.1)
    def polite() -> None:
        context = get_task_context()
        assert context is not None
        while not context.cancelled:
            heard.wait(0.005)
        heard.set()

    assert "timed out" in await error_of(await manager.enqueue(polite))
    assert await asyncio.to_thread(heard.wait, PATIENCE)


# -- stuck threads ---------------------------------------------------------------------------------


async def test_a_stuck_thread_is_replaced_until_there_are_too_many(db_path: Path) -> None:
    gate = threading.Event()
    async with TaskManager(
        db_path, io_workers=1, io_queue=0, io_max_stuck=2, shutdown_grace=1
    ) as manager:

        @manager.task(timeout=0.1)
        def hangs() -> None:
            gate.wait(PATIENCE)

        @manager.task
        def quick(number: int) -> int:
            return number

        assert "its thread goes on" in await error_of(await manager.enqueue(hangs))
        assert await (await manager.enqueue(quick, 1)).result(timeout=5) == 1
        assert "its thread goes on" in await error_of(await manager.enqueue(hangs))
        waiting = [await manager.enqueue(quick, number) for number in range(2, 7)]
        await asyncio.sleep(0.2)

        assert [await handle.status() for handle in waiting] == [TaskStatus.PENDING] * 5
        assert manager.lanes["io"].running == manager.lanes["io"].waiting == 0  # they are on disk
        gate.set()
        assert [await handle.result(timeout=5) for handle in waiting] == [2, 3, 4, 5, 6]


async def test_with_too_many_stuck_threads_the_lane_refuses_and_says_why(db_path: Path) -> None:
    gate = threading.Event()
    async with TaskManager(
        db_path, io_workers=1, io_max_stuck=1, overflow="reject", shutdown_grace=1
    ) as manager:

        @manager.task(timeout=0.1)
        def hangs() -> None:
            gate.wait(PATIENCE)

        await error_of(await manager.enqueue(hangs))

        with pytest.raises(QueueFullError, match="lane 'io' takes no work: 1 thread is stuck"):
            await manager.enqueue(str.upper, "a")
        gate.set()

        async def accepted() -> TaskHandle[str]:
            while True:
                try:
                    return await manager.enqueue(str.upper, "a")
                except QueueFullError:
                    await asyncio.sleep(0.005)

        assert await (await in_time(accepted())).result(timeout=5) == "A"


# -- what would end the process --------------------------------------------------------------------


async def leave_async(code: int) -> None:
    sys.exit(code)


def interrupt() -> None:
    raise KeyboardInterrupt


async def interrupt_async() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("lane", "function", "args", "error"),
    [
        ("async", leave_async, (3,), "SystemExit: 3"),
        ("io", leave, (3,), "SystemExit: 3"),
        ("cpu", leave_in_process, (3,), "SystemExit: 3"),
        ("async", interrupt_async, (), "KeyboardInterrupt"),
        ("io", interrupt, (), "KeyboardInterrupt"),
    ],
)
async def test_a_task_that_wants_to_end_the_program_only_fails(
    manager: TaskManager, lane: Any, function: Callable[..., Any], args: tuple[int, ...], error: str
) -> None:
    manager.task(lane=lane)(function)

    assert await error_of(await manager.enqueue(function, *args)) == error
    assert await error_of(await manager.enqueue(function, *args)) == error  # the lane works on


async def test_a_task_that_kills_three_worker_processes_is_not_tried_again(
    db_path: Path,
) -> None:
    async with TaskManager(db_path, cpu_workers=2) as manager:
        manager.task(lane="cpu", retries=20)(die)
        manager.task(lane="cpu")(survive)

        handle = await manager.enqueue(die)
        neighbours = [await manager.enqueue(survive, number) for number in range(20)]

        assert await error_of(handle) == (
            "worker process died: SIGKILL (quarantined: it killed 3 workers)"
        )
        record = await record_of(handle)
        assert (record.attempt, record.crashes) == (3, 3)
        for number, neighbour in enumerate(neighbours):
            assert await neighbour.result(timeout=PATIENCE) == number
            assert (await record_of(neighbour)).attempt == 1


async def test_how_many_worker_processes_a_task_may_kill_is_a_setting(db_path: Path) -> None:
    async with TaskManager(db_path, cpu_workers=1, max_crashes=1) as manager:
        manager.task(lane="cpu", retries=20)(die)

        error = await error_of(await manager.enqueue(die))

        assert error == "worker process died: SIGKILL (quarantined: it killed 1 workers)"


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["by the task", "by the setting"])
async def test_a_task_that_takes_too_much_memory_fails_and_is_told_its_limit(
    db_path: Path, given: str
) -> None:
    settings: dict[str, Any] = {"cpu_memory_mb": 64} if given == "by the setting" else {}
    async with TaskManager(db_path, cpu_workers=1, **settings) as manager:
        options: dict[str, Any] = {"memory_mb": 64} if given == "by the task" else {}
        manager.task(lane="cpu", **options)(take)

        greedy = await manager.enqueue(take, 200)
        modest = await manager.enqueue(take, 20)

        assert await error_of(greedy) == "MemoryError: more than its memory limit of 64 MiB"
        assert await modest.result(timeout=PATIENCE) == 20 * 2**20


async def test_only_worker_processes_can_be_limited_and_whoever_tries_is_told(
    manager: TaskManager,
) -> None:
    with pytest.raises(TaskDefinitionError, match='use it with lane="cpu"'):
        manager.task(memory_mb=64)(hang)
    with pytest.raises(TaskDefinitionError, match="memory_mb=0"):
        manager.task(lane="cpu", memory_mb=0)(take)


# -- warm-up ---------------------------------------------------------------------------------------


async def test_warm_up_functions_run_once_in_each_worker_process(db_path: Path) -> None:
    name = f"{troublemakers.__name__}:{load_model.__name__}"
    async with TaskManager(db_path, cpu_workers=1, warm_up=[name]) as manager:
        manager.task(lane="cpu")(look_at_model)

        for _ in range(3):
            pid, loaded = await (await manager.enqueue(look_at_model)).result(timeout=PATIENCE)
            assert loaded == [pid]
    assert troublemakers.loaded == []  # nothing of it runs here


async def test_a_warm_up_that_fails_costs_no_task(db_path: Path) -> None:
    name = f"{troublemakers.__name__}:{fail_to_load.__name__}"
    async with TaskManager(db_path, cpu_workers=1, warm_up=[name]) as manager:
        manager.task(lane="cpu")(survive)

        assert await (await manager.enqueue(survive, 1)).result(timeout=PATIENCE) == 1


def test_a_warm_up_that_no_worker_could_find_is_refused(db_path: Path) -> None:
    for wrong in (["load"], "shop:load", [load_model]):
        with pytest.raises(SettingsError, match="warm_up="):
            TaskManager(db_path, warm_up=wrong)  # type: ignore[arg-type]
