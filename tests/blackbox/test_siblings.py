"""Several instances on one file, and people who change their minds: one truth about each task."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fastapi import BackgroundTasks, FastAPI

from taskflow import TaskAdmin, TaskManager, TaskStatus
from taskflow.handle import TaskHandle
from taskflow.record import TaskFilter
from tests.apps.server import Server, command_of, is_alive, until

AUTH = ("user", "password")


def make(path: Path, **settings: Any) -> TaskManager:
    return TaskManager(path, **{"cpu_workers": 1, "io_workers": 4, "shutdown_grace": 5, **settings})


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", auth=AUTH
    )


# -- keys ------------------------------------------------------------------------------------------


async def test_fifty_requests_with_one_key_on_two_instances_make_one_task_that_runs_once(
    db_path: Path,
) -> None:
    runs: list[str] = []

    def charge(order: str) -> None:
        runs.append(order)

    async with AsyncExitStack() as stack:
        clients = []
        managers = [make(db_path), make(db_path)]
        for manager in managers:
            manager.task(name="charge")(charge)
            app = FastAPI()
            TaskAdmin(app, manager, auto_install=True, auth=AUTH)

            @app.post("/charge")
            def add(background_tasks: BackgroundTasks) -> str:
                keyed = managers[0].options(charge, idempotency_key="o1")
                return str(background_tasks.add_task(keyed, "o1"))  # type: ignore[func-returns-value]  # see TaskAdmin

            await stack.enter_async_context(manager)
            clients.append(await stack.enter_async_context(client(app)))

        answers = await asyncio.gather(*(clients[n % 2].post("/charge") for n in range(50)))
        for manager in managers:
            await manager.join()
        listed = (await clients[0].get("/tasks")).json()["items"]

        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json() for answer in answers} == {listed[0]["task_id"]}
        assert [task["status"] for task in listed] == ["success"]
        assert runs == ["o1"]


async def test_two_tasks_with_one_key_in_one_commit_are_one_task_that_runs(db_path: Path) -> None:
    runs: list[int] = []

    async def charge(number: int) -> None:
        runs.append(number)

    manager = make(db_path)
    manager.task(charge)
    async with manager:
        keyed = manager.options(charge, idempotency_key="same")

        first, second = await asyncio.gather(manager.enqueue(keyed, 1), manager.enqueue(keyed, 1))
        await manager.join()

        assert first.task_id == second.task_id
        assert await first.status() is TaskStatus.SUCCESS
        assert runs == [1]


async def test_adding_a_duplicate_does_not_make_join_or_cancel_forget_the_task_that_runs(
    db_path: Path,
) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        began.set()
        await asyncio.sleep(0.3)
        ended.set()

    manager = make(db_path)
    manager.task(slow)
    async with manager:
        keyed = manager.options(slow, idempotency_key="same")
        first = await manager.enqueue(keyed)
        await began.wait()

        second = await manager.enqueue(keyed)
        await manager.join()

        assert second.task_id == first.task_id
        assert ended.is_set()

        async def endless() -> None:
            await asyncio.Event().wait()

        keyed = manager.options(endless, idempotency_key="endless")
        await manager.enqueue(keyed)
        again = await manager.enqueue(keyed)
        assert await again.cancel() is TaskStatus.CANCELLED


# -- at most once ----------------------------------------------------------------------------------


def test_a_task_that_may_run_only_once_never_runs_twice_over_ten_kills(tmp_path: Path) -> None:
    flags = ["-w", "2", "-k", "uvicorn_worker.UvicornWorker"]
    # Under gunicorn the killed half is replaced at once, while the other half takes over.
    with Server(tmp_path, flags=flags, gunicorn=True, length=-1, shutdown_grace=5) as server:
        for kills in range(10):
            add_a_killer(server)
            until(lambda kills=kills: len(server.marks("start")) > kills, "it runs")  # type: ignore[misc]  # mypy cannot infer lambdas with defaults
        until(lambda: set(server.states().values()) == {"interrupted"}, "everything is over")

        starts = server.marks("start")
        server.length(0)
        server.wait_until_done(server.add("once"))
        print(Counter(server.states().values()))
        assert len(starts) >= 10
        assert max(server.marks("start").values()) == 1
        assert starts.keys() == {i for i, s in server.states().items() if s == "interrupted"}
        server.terminate()


def add_a_killer(server: Server) -> None:
    """Add a task that kills its process, which may or may not get to answer."""
    for _ in range(500):
        try:
            server.http.post("/add", json={"lanes": ["once"]}, timeout=10)
        except httpx.ConnectError:
            time.sleep(0.01)  # it is being replaced
        except httpx.HTTPError:
            return
        else:
            return
    raise AssertionError("nobody answers")


# -- people ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lane", ["async", "io"])
async def test_a_cancel_that_meets_the_end_is_told_what_really_became_of_the_task(
    db_path: Path, lane: str
) -> None:
    draw = random.Random(20261122)
    completed: set[int] = set()

    async def on_the_loop(number: int, pause: float) -> None:
        await asyncio.sleep(pause)
        completed.add(number)

    def in_a_thread(number: int, pause: float) -> None:
        time.sleep(pause)
        completed.add(number)

    manager = make(db_path)
    function = manager.task(on_the_loop if lane == "async" else in_a_thread)
    async with manager:
        answers: dict[int, TaskStatus | None] = {}
        handles = {}
        for number in range(200):
            handles[number] = await manager.enqueue(function, number, draw.uniform(0, 0.004))
            await asyncio.sleep(draw.uniform(0, 0.004))
            answers[number] = await handles[number].cancel()
        await manager.join()
        finals = {number: await handle.status() for number, handle in handles.items()}

    assert finals == answers
    assert set(answers.values()) == {TaskStatus.SUCCESS, TaskStatus.CANCELLED}
    assert {n for n, status in answers.items() if status is TaskStatus.SUCCESS} <= completed


async def test_a_cancel_that_meets_a_failing_attempt_prevents_the_next_one(db_path: Path) -> None:
    attempts: Counter[int] = Counter()
    draw = random.Random(20261122)

    async def fails(number: int) -> None:
        attempts[number] += 1
        await asyncio.sleep(0.001)
        raise ValueError(number)

    manager = make(db_path)
    manager.task(retries=1000, delay=0.001)(fails)
    async with manager:
        handles = [await manager.enqueue(fails, number) for number in range(60)]
        answers = []
        for handle in handles:
            await asyncio.sleep(draw.uniform(0, 0.003))
            answers.append(await asyncio.wait_for(handle.cancel(), 10))
        await asyncio.wait_for(manager.join(), 20)
        before = attempts.copy()
        # Long enough for everything that is due to be noticed.
        await asyncio.sleep(1.1)
        finals = [await handle.status() for handle in handles]

    assert answers == finals == [TaskStatus.CANCELLED] * 60
    assert attempts == before


async def test_a_failed_task_is_retried_through_either_instance_and_runs_once_more(
    db_path: Path,
) -> None:
    broken = True
    runs = 0

    def flaky() -> str:
        nonlocal runs
        runs += 1
        if broken:
            raise ValueError("not yet")
        return "done"

    first, second = make(db_path), make(db_path)
    app = FastAPI()
    TaskAdmin(app, second, auth=AUTH)
    for manager in (first, second):
        manager.task(name="flaky")(flaky)
    async with first, second, client(app) as http:
        handle = await first.enqueue(flaky)
        await first.join()
        assert await handle.status() is TaskStatus.FAILED

        broken = False
        answers = await asyncio.gather(
            *(http.post(f"/tasks/{handle.task_id}/retry") for _ in range(5))
        )
        assert await handle.result(timeout=10) == "done"

        assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 4}
        assert runs == 2
        task = (await http.get(f"/tasks/{handle.task_id}")).json()
        assert len(task["history"]) == 2


# -- lives -----------------------------------------------------------------------------------------


async def test_two_managers_of_one_process_keep_apart_or_share_as_their_files_do(
    tmp_path: Path,
) -> None:
    ran: list[str] = []

    def note(what: str) -> None:
        ran.append(what)

    one, two = make(tmp_path / "one.db"), make(tmp_path / "two.db")
    for manager in (one, two):
        manager.task(name="note")(note)
    async with one, two:
        await one.enqueue(note, "one")
        await two.enqueue(note, "two")
        await one.join()
        await two.join()
    # The same objects again: a second life of each.
    async with two, one:
        await one.enqueue(note, "again")
        await one.join()

    assert sorted(ran) == ["again", "one", "two"]


async def test_an_app_whose_own_startup_fails_leaves_nothing_running_and_loses_no_task(
    db_path: Path,
) -> None:
    reached = asyncio.Event()
    handles: list[TaskHandle[Any]] = []

    async def endless() -> None:
        reached.set()
        await asyncio.Event().wait()

    manager = make(db_path, shutdown_grace=0.1)
    manager.task(name="endless")(endless)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        handles.append(await manager.enqueue(endless))
        handles.append(await manager.enqueue(manager.options(time.sleep, priority=1), 0.5))
        handles.append(await manager.enqueue(linger, 60.0))
        await reached.wait()
        if handles:
            raise LookupError("the app itself cannot start")
        yield

    manager.task(name="linger", lane="cpu")(linger)
    app = FastAPI(lifespan=lifespan)
    TaskAdmin(app, manager)

    with pytest.raises(LookupError, match="the app itself cannot start"):
        async with app.router.lifespan_context(app):
            raise AssertionError("it must not come up")

    assert not manager.is_running
    assert not any(map(is_alive, workers_of_this_process()))
    async with make(db_path) as other:
        page = await other.engine.store.list(TaskFilter())
    assert {task.status for task in page.items} == {TaskStatus.PENDING}
    assert len(page.items) == 3


def linger(seconds: float) -> None:
    """For a worker process, which finds it by its name."""
    time.sleep(seconds)


def workers_of_this_process() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "resource_tracker" not in command_of(child)]


async def test_arguments_that_no_longer_fit_do_not_hold_up_what_was_taken_with_them(
    db_path: Path,
) -> None:
    class Strict:
        """Reads back as long as ``broken`` is not set; then it fails in a way nobody expects."""

        broken = False

        def __init__(self, value: str) -> None:
            self.value = value

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Strict) and other.value == self.value

        __hash__ = None  # type: ignore[assignment]  # it is compared, never looked up

        @classmethod
        def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
            from pydantic_core import core_schema  # noqa: PLC0415  (this test alone needs it)

            def read(value: Any) -> Strict:
                if isinstance(value, Strict):
                    return value
                if cls.broken:
                    raise KeyError("unexpected")
                return cls(value)

            return core_schema.no_info_plain_validator_function(
                read,
                serialization=core_schema.plain_serializer_function_ser_schema(lambda it: it.value),
            )

    ran: list[str] = []

    async def strict(value: Strict) -> None: ...

    async def fine() -> None:
        ran.append("fine")

    strict.__annotations__ = {"value": Strict, "return": None}
    manager = make(db_path)
    manager.task(name="strict")(strict)
    manager.task(name="fine")(fine)
    async with manager:
        later = [
            await manager.enqueue(manager.options(strict, run_in=0.2), Strict("x")),
            await manager.enqueue(manager.options(fine, run_in=0.2)),
        ]
        Strict.broken = True

        await asyncio.wait_for(later[1].result(), 10)

        assert ran == ["fine"]
        await manager.join()
        record = await later[0].record()
        assert record is not None and record.status is TaskStatus.FAILED
        assert record.error is not None and "KeyError" in record.error
