"""taskflow by example: one idea a test, in the order in which a newcomer meets them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from opentelemetry import context as otel_context

from taskflow import (
    Fail,
    ManagedBackgroundTasks,
    NotStartedError,
    Retry,
    Snooze,
    TaskArgumentError,
    TaskDefinitionError,
    TaskFailedError,
    TaskManager,
    TaskOptionError,
    TaskStatus,
    get_task_context,
    task_log,
)


@pytest.fixture
async def manager(db_path: Path) -> AsyncIterator[TaskManager]:
    async with TaskManager(db_path, io_workers=4, cpu_workers=1, shutdown_grace=2) as manager:
        yield manager


async def test_a_task_is_a_plain_function_that_also_runs_in_the_background(
    manager: TaskManager,
) -> None:
    @manager.task
    def add(a: int, b: int) -> int:
        return a + b

    handle = await manager.enqueue(add, 1, b=2)

    assert await handle.result(timeout=10) == 3
    assert add(1, 2) == 3


async def test_coroutine_functions_run_on_the_loop_and_others_in_threads(
    manager: TaskManager,
) -> None:
    threads: dict[str, int] = {}

    @manager.task
    async def on_the_loop() -> None:
        threads["loop"] = threading.get_ident()

    @manager.task
    def in_a_thread() -> None:
        threads["thread"] = threading.get_ident()

    @manager.task(lane="io")
    async def io_but_async() -> None:
        threads["io"] = threading.get_ident()

    for function in (on_the_loop, in_a_thread, io_but_async):
        await (await manager.enqueue(function)).result(timeout=10)

    assert threads["loop"] == threads["io"] == threading.get_ident()
    assert threads["thread"] != threading.get_ident()


async def test_in_a_script_tasks_are_added_and_then_awaited(manager: TaskManager) -> None:
    seen: list[int] = []

    @manager.task
    async def note(number: int) -> None:
        seen.append(number)

    tasks = ManagedBackgroundTasks(manager)
    for number in range(5):
        tasks.add_task(note, number)
    assert seen == []
    await tasks()
    await manager.join()

    assert seen == [0, 1, 2, 3, 4]


async def test_a_failed_attempt_is_followed_by_another_while_there_is_one(
    manager: TaskManager,
) -> None:
    attempts: list[int] = []

    @manager.task(retries=2, delay=0.01)
    def flaky() -> str:
        context = get_task_context()
        assert context is not None
        attempts.append(context.attempt)
        if len(attempts) < 3:
            raise ConnectionError("not yet")
        return "sent"

    handle = await manager.enqueue(flaky)

    assert await handle.result(timeout=10) == "sent"
    assert attempts == [1, 2, 3]


async def test_without_attempts_left_it_is_failed_and_says_why(manager: TaskManager) -> None:
    @manager.task(retries=1)
    async def broken() -> None:
        raise ValueError("no such user")

    handle = await manager.enqueue(broken)

    with pytest.raises(TaskFailedError, match="ValueError: no such user"):
        await handle.result(timeout=10)
    record = await handle.record()
    assert record is not None
    assert (record.status, record.attempt, record.max_attempts) == (TaskStatus.FAILED, 2, 2)
    assert record.stacktrace is not None and "no such user" in record.stacktrace


async def test_each_failed_attempt_is_kept_in_the_history(manager: TaskManager) -> None:
    @manager.task(retries=2)
    async def broken() -> None:
        raise ValueError("no")

    handle = await manager.enqueue(broken)
    await manager.join()

    history = await manager.engine.store.attempts(handle.task_id)
    assert [attempt.error for attempt in history] == ["ValueError: no"] * 2
    assert [attempt.number for attempt in history] == [1, 2]


async def test_a_task_may_ask_to_be_retried_snoozed_or_failed(manager: TaskManager) -> None:
    runs: list[str] = []

    @manager.task(retries=5)
    async def retry_once() -> str:
        runs.append("retry")
        if runs.count("retry") == 1:
            raise Retry("busy", after=0.01)
        return "done"

    @manager.task
    async def snooze_once() -> str:
        runs.append("snooze")
        if runs.count("snooze") == 1:
            raise Snooze(after=timedelta(seconds=0.01))
        return "done"

    @manager.task(retries=5)
    async def give_up() -> None:
        raise Fail("the account is closed")

    assert await (await manager.enqueue(retry_once)).result(timeout=10) == "done"
    snoozed = await manager.enqueue(snooze_once)
    assert await snoozed.result(timeout=10) == "done"
    record = await snoozed.record()
    assert record is not None and record.attempt == 1
    with pytest.raises(TaskFailedError, match="the account is closed"):
        await (await manager.enqueue(give_up)).result(timeout=10)


async def test_a_waiting_retry_holds_up_nobody(manager: TaskManager) -> None:
    @manager.task(retries=1, delay=3600)
    async def broken() -> None:
        raise ValueError

    @manager.task
    async def quick() -> str:
        return "done"

    first = await manager.enqueue(broken)
    second = await manager.enqueue(quick)

    assert await second.result(timeout=10) == "done"
    await _until_status(first, TaskStatus.RETRYING)
    assert not manager.engine.dispatcher.live


async def test_only_some_errors_are_worth_another_attempt(manager: TaskManager) -> None:
    runs: list[str] = []

    @manager.task(retries=3, retry_on=OSError, dont_retry_on=FileNotFoundError)
    async def fetch(kind: str) -> None:
        runs.append(kind)
        raise {"net": ConnectionError, "file": FileNotFoundError, "bug": KeyError}[kind]

    for kind in ("net", "file", "bug"):
        with pytest.raises(TaskFailedError):
            await (await manager.enqueue(fetch, kind)).result(timeout=10)

    assert [runs.count(kind) for kind in ("net", "file", "bug")] == [4, 1, 1]


async def test_a_task_can_be_told_to_run_later(manager: TaskManager) -> None:
    @manager.task
    async def remind() -> None: ...

    later = await manager.enqueue(manager.options(remind, run_in=3600))
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    fixed = await manager.enqueue(manager.options(remind, run_at=tomorrow))
    soon = await manager.enqueue(manager.options(remind, run_in=0.05))

    await soon.result(timeout=10)
    assert await later.status() is TaskStatus.SCHEDULED
    record = await fixed.record()
    assert record is not None and record.run_at == pytest.approx(tomorrow.timestamp())


async def test_one_idempotency_key_is_one_task(manager: TaskManager) -> None:
    runs: list[str] = []

    @manager.task
    async def charge(order: str) -> None:
        runs.append(order)

    tasks = ManagedBackgroundTasks(manager)
    ids = {
        tasks.add_task(manager.options(charge, idempotency_key="order-7"), "7") for _ in range(3)
    }
    await tasks()
    again = await manager.enqueue(manager.options(charge, idempotency_key="order-7"), "7")
    other = await manager.enqueue(manager.options(charge, idempotency_key="order-8"), "8")
    await manager.join()

    assert ids == {again.task_id}
    assert other.task_id not in ids
    assert sorted(runs) == ["7", "8"]


async def test_a_key_is_free_again_when_its_task_failed(manager: TaskManager) -> None:
    fail = [True]

    @manager.task
    async def charge() -> str:
        if fail.pop() if fail else False:
            raise ConnectionError
        return "charged"

    keyed = manager.options(charge, idempotency_key="order-7")
    first = await manager.enqueue(keyed)
    with pytest.raises(TaskFailedError):
        await first.result(timeout=10)
    second = await manager.enqueue(keyed)

    assert second.task_id == first.task_id
    assert await second.result(timeout=10) == "charged"


async def test_higher_priority_starts_first(db_path: Path) -> None:
    order: list[int] = []
    manager = TaskManager(db_path, async_limit=1)
    gate = asyncio.Event()

    @manager.task
    async def block() -> None:
        await gate.wait()

    @manager.task
    async def note(number: int) -> None:
        order.append(number)

    async with manager:
        tasks = ManagedBackgroundTasks(manager)
        tasks.add_task(block)
        await tasks()
        for number in (1, 5, 3, 5):
            tasks.add_task(manager.options(note, priority=number), number)
        await tasks()
        gate.set()
        await manager.join()

    assert order == [5, 5, 3, 1]


async def test_cpu_work_goes_to_a_worker_process(manager: TaskManager) -> None:
    manager.task(lane="cpu")(crunch)

    total, pid = await (await manager.enqueue(crunch, 1000)).result(timeout=30)

    assert total == sum(range(1000))
    assert pid != _own_pid()


def crunch(limit: int) -> tuple[int, int]:
    task_log("crunching")
    return sum(range(limit)), _own_pid()


def _own_pid() -> int:
    import os  # noqa: PLC0415  (the function is pickled by name and runs elsewhere)

    return os.getpid()


async def test_an_async_function_can_have_a_loop_of_its_own_in_a_worker_process(
    manager: TaskManager,
) -> None:
    manager.task(lane="cpu")(crunch_async)

    assert await (await manager.enqueue(crunch_async, 10)).result(timeout=30) == 45


async def crunch_async(limit: int) -> int:
    await asyncio.sleep(0)
    return sum(range(limit))


async def test_what_cannot_go_to_a_process_is_refused_where_it_is_declared(
    manager: TaskManager,
) -> None:
    def local() -> None: ...

    with pytest.raises(TaskDefinitionError, match="top level of a module"):
        manager.task(lane="cpu")(local)
    with pytest.raises(TaskDefinitionError, match="top level of a module"):
        manager.task(lane="cpu", name="anonymous")(lambda: None)


async def test_a_task_writes_its_own_log(manager: TaskManager) -> None:
    manager.task(lane="cpu")(crunch)

    @manager.task
    def threaded() -> None:
        task_log("from a thread", level="warning", user=7)

    first = await manager.enqueue(threaded)
    second = await manager.enqueue(crunch, 1)
    await manager.join()

    lines = await manager.engine.store.logs(first.task_id, 10)
    assert [(line.level, line.message) for line in lines] == [("warning", "from a thread user=7")]
    lines = await manager.engine.store.logs(second.task_id, 10)
    assert [(line.level, line.message) for line in lines] == [("info", "crunching")]


async def test_context_variables_follow_a_task_onto_the_loop_and_into_threads(
    manager: TaskManager,
) -> None:
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")
    seen: list[str] = []

    @manager.task
    def threaded() -> None:
        seen.append(request_id.get())

    @manager.task
    async def on_the_loop() -> None:
        seen.append(request_id.get())

    request_id.set("r-17")
    await manager.enqueue(threaded)
    await manager.enqueue(on_the_loop)
    await manager.join()

    assert seen == ["r-17", "r-17"]


async def test_the_opentelemetry_context_follows_a_task(manager: TaskManager) -> None:
    seen: list[object] = []

    @manager.task
    def threaded() -> None:
        seen.append(otel_context.get_value("trace"))

    @manager.task
    async def on_the_loop() -> None:
        seen.append(otel_context.get_value("trace"))

    token = otel_context.attach(otel_context.set_value("trace", "t-1"))
    try:
        await manager.enqueue(threaded)
        await manager.enqueue(on_the_loop)
    finally:
        otel_context.detach(token)
    await manager.join()

    assert seen == ["t-1", "t-1"]


async def test_a_timeout_ends_the_attempt_and_says_so(manager: TaskManager) -> None:
    manager.task(lane="cpu", timeout=0.3)(spin)

    @manager.task(timeout=0.05)
    async def hang() -> None:
        await asyncio.sleep(3600)

    with pytest.raises(TaskFailedError, match=r"timed out after 0\.05 s"):
        await (await manager.enqueue(hang)).result(timeout=10)
    with pytest.raises(TaskFailedError, match=r"timed out after 0\.3 s"):
        await (await manager.enqueue(spin)).result(timeout=30)


def spin() -> None:
    while True:
        pass


async def test_a_waiting_task_can_be_cancelled_and_never_runs(manager: TaskManager) -> None:
    runs: list[str] = []

    @manager.task
    async def later() -> None:
        runs.append("ran")

    handle = await manager.enqueue(manager.options(later, run_in=0.2))

    assert await handle.cancel() is TaskStatus.CANCELLED
    await asyncio.sleep(0.4)
    assert runs == []
    assert await handle.status() is TaskStatus.CANCELLED


async def test_a_running_coroutine_is_cancelled(manager: TaskManager) -> None:
    started = asyncio.Event()
    ended: list[str] = []

    @manager.task
    async def hang() -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("cleaned up")

    handle = await manager.enqueue(hang)
    await started.wait()

    assert await handle.cancel() is TaskStatus.CANCELLED
    assert ended == ["cleaned up"]


async def test_a_thread_hears_that_it_was_cancelled(manager: TaskManager) -> None:
    started, heard = threading.Event(), threading.Event()

    @manager.task
    def busy() -> None:
        context = get_task_context()
        assert context is not None
        started.set()
        while not context.cancelled:
            heard.wait(0.001)
        heard.set()

    handle = await manager.enqueue(busy)
    await asyncio.to_thread(started.wait, 10)

    assert await handle.cancel() is TaskStatus.CANCELLED
    assert await asyncio.to_thread(heard.wait, 10)


async def test_a_result_that_cannot_be_stored_does_not_undo_the_work(manager: TaskManager) -> None:
    @manager.task
    def odd() -> object:
        return object()

    handle = await manager.enqueue(odd)
    await manager.join()

    record = await handle.record()
    assert record is not None
    assert (record.status, record.result) == (TaskStatus.SUCCESS, None)
    assert record.result_error is not None and "object" in record.result_error


async def test_mistakes_are_errors_where_they_are_made(manager: TaskManager) -> None:
    @manager.task
    def send(email: str) -> None: ...

    tasks = ManagedBackgroundTasks(manager)
    with pytest.raises(TaskArgumentError, match="email"):
        tasks.add_task(send)  # type: ignore[call-arg]  # that is the mistake
    with pytest.raises(TaskArgumentError, match="email"):
        tasks.add_task(send, object())  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(TaskOptionError, match="retries=-1"):
        tasks.add_task(manager.options(send, retries=-1), "a@b.c")
    with pytest.raises(TaskOptionError, match="time zone"):
        tasks.add_task(manager.options(send, run_at=datetime(2030, 1, 1)), "a@b.c")
    for wrong in ({"retries": -1}, {"lane": "gpu"}, {"timeout": 0}, {"backoff": 0.5}):
        with pytest.raises(TaskDefinitionError, match=next(iter(wrong))):
            manager.task(**wrong)(print)
    await tasks()
    await manager.join()


async def test_a_manager_that_does_not_run_says_how_to_run_it(db_path: Path) -> None:
    manager = TaskManager(db_path)

    with pytest.raises(NotStartedError, match="async with task_manager"):
        await manager.enqueue(print)


async def _until_status(handle: object, status: TaskStatus) -> None:
    for _ in range(500):
        if await handle.status() is status:  # type: ignore[attr-defined]
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never became {status}")
