"""Methods, wrappers and other callables: whatever is handed over runs as it was declared."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from taskflow import (
    DuplicateTaskError,
    NotStartedError,
    SettingsError,
    TaskDefinitionError,
    TaskFailedError,
    TaskManager,
    TaskStatus,
)

seen: list[Any] = []


def loud(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator above ours."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return "loud", function(*args)

    return wrapper


def make(path: Path) -> tuple[TaskManager, type[Any]]:
    """A manager with tasks declared inside of a class, as a module would have it."""
    manager = TaskManager(path, io_workers=2, shutdown_grace=1)

    class Mailer:
        @classmethod
        @manager.task(retries=2, name="Mailer.send")
        def send(cls, to: str) -> str:
            seen.append((cls.__name__, to))
            return f"{cls.__name__} to {to}"

        @manager.task(retries=3, name="Mailer.check")
        @staticmethod
        def check(to: str) -> str:
            return f"checked {to}"

        @manager.task(retries=4, name="Mailer.own")
        def own(self, to: str) -> str:
            return f"{type(self).__name__} itself to {to}"

    return manager, Mailer


@pytest.fixture
async def manager(db_path: Path) -> AsyncIterator[TaskManager]:
    async with TaskManager(db_path, io_workers=2, shutdown_grace=1) as manager:
        yield manager


async def test_methods_keep_the_options_they_were_declared_with(db_path: Path) -> None:
    manager, mailer = make(db_path)

    async with manager:
        for function, result, attempts in (
            (mailer.send, "Mailer to ada", 3),
            (mailer.check, "checked ada", 4),
            (mailer().own, "Mailer itself to ada", 5),
        ):
            handle = await manager.enqueue(function, "ada")
            assert await handle.result(timeout=10) == result
            record = await handle.record()
            assert record is not None and record.max_attempts == attempts


async def test_a_classmethod_pulled_from_disk_gets_its_class(db_path: Path) -> None:
    manager, mailer = make(db_path)

    async with manager:
        handle = await manager.enqueue(manager.options(mailer.send, run_in=0.05), "grace")

        assert await handle.result(timeout=10) == "Mailer to grace"


async def test_a_decorator_above_ours_runs_from_memory_and_from_disk(manager: TaskManager) -> None:
    plain = manager.task(retries=2)(_add)
    wrapped = loud(plain)

    now = await manager.enqueue(wrapped, 1, 2)
    later = await manager.enqueue(manager.options(wrapped, run_in=0.05), 1, 2)

    assert await now.result(timeout=10) == ["loud", 3]
    assert await later.result(timeout=10) == ["loud", 3]
    record = await later.record()
    assert record is not None and record.max_attempts == 3


def _add(a: int, b: int) -> int:
    return a + b


def _on_a_class(cls: type[Any], /) -> None: ...


async def test_options_are_found_inside_of_partials_and_options(manager: TaskManager) -> None:
    manager.task(_add)
    nested = manager.options(functools.partial(manager.options(_add, retries=1), 1), priority=7)

    handle = await manager.enqueue(nested, 2)

    assert await handle.result(timeout=10) == 3
    record = await handle.record()
    assert record is not None and (record.priority, record.max_attempts) == (7, 2)


async def test_no_timeout_for_one_call_is_a_wish_of_its_own(manager: TaskManager) -> None:
    @manager.task(timeout=5)
    async def work() -> None: ...

    usual = await manager.enqueue(work)
    free = await manager.enqueue(manager.options(work, timeout=None))
    await manager.join()

    records = [await handle.record() for handle in (usual, free)]
    assert [record.timeout for record in records if record is not None] == [5, None]


async def test_a_generator_is_not_run_to_store_it(manager: TaskManager) -> None:
    @manager.task
    def endless() -> Any:
        return itertools.count()

    @manager.task
    async def endless_too() -> Any:
        return (number for number in itertools.count())

    for function in (endless, endless_too):
        handle = await manager.enqueue(function)
        await manager.join()
        record = await handle.record()
        assert record is not None
        assert record.status is TaskStatus.SUCCESS
        assert record.result_error is not None and "return a list" in record.result_error


async def test_a_coroutine_that_nobody_awaits_is_a_failure(manager: TaskManager) -> None:
    async def real() -> None: ...

    @manager.task
    def wrapper() -> Any:
        return real()

    with pytest.raises(TaskFailedError, match="nobody awaited"):
        await (await manager.enqueue(wrapper)).result(timeout=10)


async def test_a_thread_with_a_loop_of_its_own_can_enqueue(manager: TaskManager) -> None:
    @manager.task
    async def child() -> str:
        return "done"

    @manager.task
    def parent() -> str:
        async def add_and_wait() -> str:
            handle = await manager.enqueue(child)
            return await handle.result(timeout=10)

        return asyncio.run(add_and_wait())

    assert await (await manager.enqueue(parent)).result(timeout=10) == "done"


async def test_a_running_manager_is_not_started_on_a_second_loop(manager: TaskManager) -> None:
    problems: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(manager.startup())
        except NotStartedError as error:
            problems.append(error)

    await asyncio.to_thread(elsewhere)

    assert "another event loop" in str(problems[0])
    assert manager.is_running


async def test_a_nested_context_does_not_stop_the_outer_one(manager: TaskManager) -> None:
    async with manager:
        pass

    assert manager.is_running


async def test_join_inside_of_a_task_is_refused(manager: TaskManager) -> None:
    @manager.task
    async def waits_for_itself() -> None:
        await manager.join()

    with pytest.raises(TaskFailedError, match="would wait for itself"):
        await (await manager.enqueue(waits_for_itself)).result(timeout=10)


def test_mistakes_in_declarations_say_what_to_do(db_path: Path) -> None:
    manager = TaskManager(db_path)

    with pytest.raises(TaskDefinitionError, match="no option 'tags'"):
        manager.task(tags=["a"])  # type: ignore[call-overload]
    with pytest.raises(TaskDefinitionError, match="@classmethod above"):
        manager.task(classmethod(_on_a_class))  # type: ignore[call-overload]
    manager.task(_add)
    with pytest.raises(DuplicateTaskError, match="declared twice"):
        manager.task(_add)


@pytest.mark.parametrize("url", ["postgresql://u:secret@h/db", "redis://localhost"])
def test_a_store_of_another_kind_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="SQLite only") as caught:
        TaskManager(url)

    assert "secret" not in str(caught.value)


async def test_a_url_of_sqlite_is_a_path(db_path: Path) -> None:
    async with TaskManager(f"sqlite:///{db_path}") as manager:
        assert manager.engine.store.url.endswith(str(db_path))
