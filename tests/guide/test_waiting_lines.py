"""Lanes and queues wait side by side: what one of them waits for holds up nobody else."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from taskflow import QueueConfig, QueueFullError, TaskManager, TaskStatus
from taskflow.errors import StoreUnavailableError
from tests.guide.crew import Crew, in_time, record_of, until, until_status


@pytest.fixture
def crew() -> Crew:
    return Crew()


async def test_who_waits_for_one_lane_does_not_keep_others_from_another(
    db_path: Path, crew: Crew
) -> None:
    let_go = threading.Event()
    async with TaskManager(db_path, overflow="wait", io_workers=1, io_queue=0) as manager:

        @manager.task(lane="io")
        def block() -> None:
            let_go.wait(30)

        await manager.enqueue(block)
        waiting = asyncio.create_task(manager.enqueue(block))
        await asyncio.sleep(0)
        assert not waiting.done()

        handle = await in_time(manager.enqueue(crew.pass_through, "async"))

        assert await in_time(handle.result()) == "async"
        assert not waiting.done()
        let_go.set()
        await in_time(waiting)
        await in_time(manager.join())


async def test_tasks_whose_function_is_missing_wait_for_no_slot_and_fill_no_lane(
    db_path: Path, crew: Crew
) -> None:
    async def gone(number: int) -> None:
        raise AssertionError

    async with TaskManager(db_path) as manager:
        manager.task(name="gone")(gone)
        await manager.lanes["async"].pause()
        for number in range(5):
            await manager.enqueue(gone, number)

    settings = {"overflow": "reject", "async_limit": 1, "async_queue": 0}
    async with TaskManager(db_path, **settings) as manager:  # type: ignore[arg-type]
        engine = manager.engine
        await manager.lanes["async"].resume()
        await until(lambda: (engine.backlog.total, engine.backlog.of_lane("async")) == (5, 0))

        for number in range(3):
            handle = await manager.enqueue(crew.pass_through, number)
            assert await in_time(handle.result()) == number


async def test_a_task_of_a_function_that_moved_to_another_lane_runs_there(
    db_path: Path, crew: Crew
) -> None:
    crossed: list[str] = []

    def plain(number: int) -> None:
        crossed.append(threading.current_thread().name)

    async with TaskManager(db_path, io_workers=1) as manager:
        manager.task(name="moved", lane="io")(plain)
        await manager.lanes["io"].pause()
        for number in range(20):
            await manager.enqueue(plain, number)

    async def moved(number: int) -> None:
        await crew.pass_through(number)

    # Its rows still name the old lane, which is paused; it must not matter.
    async with TaskManager(db_path, async_limit=2, async_queue=1) as manager:
        manager.task(name="moved")(moved)
        await manager.lanes["io"].resume()
        await in_time(manager.join())
        assert manager.engine.lanes["io"].running == 0

    assert sorted(crew.ended) == list(range(20))
    assert crossed == []
    assert crew.most <= 2


async def test_what_is_paused_stays_paused_for_the_very_first_task_of_the_next_start(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path) as manager:
        await manager.lanes["async"].pause()
        await manager.queues["email"].change(concurrency=1)
        await manager.queues["email"].pause()

    manager = TaskManager(db_path)
    await manager.open()  # as in a lifespan: tasks can be added, those on disk do not run yet
    try:
        handle = await manager.enqueue(crew.pass_through, 1)
        mail = await manager.enqueue(manager.options(crew.pass_through, queue="email"), 2)
        await manager.run()
        await manager.engine.outbox.flush()

        assert crew.started == []
        await manager.lanes["async"].resume()
        await in_time(handle.result())
        assert crew.started == [1]
        await manager.queues["email"].resume()
        await in_time(mail.result())
    finally:
        await manager.shutdown()


BAD_CONTROLS = [
    "[1]",
    '"x"',
    "nonsense",
    "",
    "Infinity",
    '{"limit": Infinity}',
    '{"limit": "3"}',
    '{"limit": true}',
    '{"paused": "yes"}',
    '{"colour": "red"}',
    "[" * 5000,
]


@pytest.mark.parametrize("text", BAD_CONTROLS)
async def test_a_stored_limit_that_makes_no_sense_is_left_out_and_can_be_set_again(
    db_path: Path, crew: Crew, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    manager = TaskManager(db_path, async_limit=3)
    async with manager:
        store = manager.engine.store
        await store.set_control("lane", "async", text, 0.0)
        await store.set_control("queue", "email", text, 0.0)

    async with manager:
        assert manager.lanes["async"].limit == 3
        handle = await manager.enqueue(manager.options(crew.pass_through, queue="email"), 1)
        assert await in_time(handle.result()) == 1

        await manager.lanes["async"].resize(2)
        await manager.queues["email"].change(concurrency=2)
    async with manager:
        assert manager.lanes["async"].limit == 2
        assert manager.queues["email"].config == QueueConfig(concurrency=2)
    if text:
        assert "the stored limits of lane 'async' cannot be used" in caplog.text


async def test_a_start_that_fails_half_way_leaves_nothing_running_and_can_be_repeated(
    db_path: Path, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = TaskManager(db_path)
    with monkeypatch.context() as patch:

        async def refuse(*_: object) -> None:
            raise StoreUnavailableError("away")

        patch.setattr("taskflow.services.Watch.take_over", refuse)
        with pytest.raises(StoreUnavailableError):
            await manager.startup()
    assert not manager.is_running

    async with manager:
        handle = await manager.enqueue(crew.pass_through, 1)
        assert await in_time(handle.result()) == 1


async def test_starts_at_once_are_one_start(db_path: Path) -> None:
    manager = TaskManager(db_path)

    await asyncio.gather(*(manager.startup() for _ in range(5)))

    engine = manager.engine
    await manager.startup()
    assert manager.engine is engine
    await manager.shutdown()


async def test_a_rate_that_is_narrowed_holds_from_then_on(db_path: Path, crew: Crew) -> None:
    async with TaskManager(db_path, queues={"email": QueueConfig(rate="50/s")}) as manager:
        manager.task(queue="email")(crew.pass_through)
        for number in range(60):
            await manager.enqueue(crew.pass_through, number)
        await until(lambda: len(crew.started) >= 10)

        await manager.queues["email"].change(rate="5/s")

        # Nobody may start while five have within the last second.
        narrowed = len(crew.started)
        await until(lambda: len(crew.started) >= narrowed + 8)
    for first, sixth in zip(crew.times[narrowed:], crew.times[narrowed + 5 :], strict=False):
        assert sixth - first >= 0.99


async def test_limits_given_to_a_queue_while_its_tasks_are_added_count_all_of_them(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path) as manager:
        keyed = manager.options(crew.hold, queue="email", idempotency_key="first")
        adding = asyncio.create_task(manager.enqueue(keyed, "first"))
        await asyncio.sleep(0)  # in its commit, with a place in the lane already

        await manager.queues["email"].change(concurrency=1)
        await adding
        await manager.enqueue(manager.options(crew.hold, queue="email"), "second")
        await crew.until_started("first")
        await manager.engine.outbox.flush()

        assert crew.running == ["first"]
        crew.let_go()
        await in_time(manager.join())
    assert crew.most == 1


async def test_a_task_is_cancelled_while_it_is_being_stored_under_a_key(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, async_limit=2) as manager:
        attempt, _ = manager.factory.prepare(
            manager.options(crew.hold, idempotency_key="once"), ("keyed",), {}, source="code"
        )
        adding = asyncio.create_task(manager.engine.submit((attempt,)))
        await asyncio.sleep(0)

        status = await manager.engine.dispatcher.canceller.cancel(attempt.record.task_id)
        await adding
        stored = await manager.engine.store.get(attempt.record.task_id)
        await manager.engine.outbox.flush()
        stored = await manager.engine.store.get(attempt.record.task_id)

        assert stored is not None
        assert status is stored.status is TaskStatus.CANCELLED
        assert manager.engine.lanes["async"].free >= 2
        await in_time(manager.join())
    assert crew.ended == []


async def test_what_ended_is_remembered_nowhere(db_path: Path) -> None:
    tries: dict[int, int] = {}

    async with TaskManager(db_path) as manager:

        @manager.task(retries=1, delay=0.0)
        async def fails_once(number: int) -> None:
            tries[number] = tries.get(number, 0) + 1
            if tries[number] == 1:
                raise ValueError(number)

        for number in range(200):
            await manager.enqueue(fails_once, number)
        await in_time(manager.join())
        dispatcher = manager.engine.dispatcher

        assert len(dispatcher.live) == 0
        assert len(dispatcher.endings) == 0
        assert len(dispatcher.quiet.retrying) == 0


async def test_a_refusal_can_be_asked_for_from_any_thread(db_path: Path, crew: Crew) -> None:
    async with TaskManager(db_path, overflow="reject", async_limit=1, async_queue=0) as manager:
        await manager.enqueue(crew.hold, 0)
        await crew.until_started(0)
        attempt, _ = manager.factory.prepare(crew.hold, (1,), {}, source="code")
        check = manager.engine.intake.check

        refusals: list[object] = await asyncio.gather(
            *(asyncio.to_thread(check, (attempt.record,)) for _ in range(50)),
            return_exceptions=True,
        )

        assert [type(refusal) for refusal in refusals] == [QueueFullError] * 50
        crew.let_go()
        await in_time(manager.join())


async def test_many_tasks_of_another_instance_are_cancelled_side_by_side(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path) as one, TaskManager(db_path) as other:
        handles = [await one.enqueue(crew.hold, number) for number in range(20)]
        await crew.until_started(*range(20))
        cancel = other.engine.dispatcher.canceller.cancel

        # One by one each would wait for a look of the other instance at the store.
        async with asyncio.timeout(10):
            await asyncio.gather(*(cancel(handle.task_id) for handle in handles))

        for handle in handles:
            await until_status(handle, TaskStatus.CANCELLED)
            assert (await record_of(handle)).error is not None
    assert crew.ended == []
