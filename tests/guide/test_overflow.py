"""What happens to a task for which there is no room: it spills, is refused, or its caller waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskflow import ManagedBackgroundTasks, QueueConfig, QueueFullError, TaskManager
from tests.guide.crew import Crew, in_time, until

#: Seconds in which somebody who need not wait would have gone on.
MOMENT = 0.3


@pytest.fixture
def crew() -> Crew:
    return Crew()


async def fill(manager: TaskManager, crew: Crew, count: int) -> None:
    """So many tasks that hold their place; the first one runs."""
    for number in range(count):
        await manager.enqueue(crew.hold, number)
    await crew.until_started(0)


# -- spill -----------------------------------------------------------------------------------------


async def test_what_does_not_fit_into_memory_waits_on_disk_in_order(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=2) as manager:
        await fill(manager, crew, 40)

        assert manager.lanes["async"].waiting == 2
        crew.let_go()
        await in_time(manager.join())

    assert crew.started == list(range(40))
    assert crew.most == 1


async def test_the_backlog_is_bounded_and_the_refusal_names_number_and_setting(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=2, max_backlog=5) as manager:
        await fill(manager, crew, 6)  # one runs, five are pending

        with pytest.raises(QueueFullError, match=r"5 tasks are pending \(TASKFLOW_MAX_BACKLOG\)"):
            await manager.enqueue(crew.hold, "too many")
        await manager.enqueue(manager.options(crew.hold, run_in=3600), "later is another matter")
        crew.let_go(0)
        await crew.until_started(1)
        await manager.enqueue(crew.hold, 6)

        crew.let_go()
        await in_time(manager.join())
    assert crew.ended == list(range(7))


# -- reject ----------------------------------------------------------------------------------------


async def test_a_full_lane_refuses_by_name_and_numbers_and_takes_again_when_there_is_room(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(
        db_path, async_limit=1, async_queue=2, overflow="reject", io_workers=1
    ) as manager:
        await fill(manager, crew, 3)

        with pytest.raises(QueueFullError, match="lane 'async' is full: 1 of 1 run, 2 wait") as e:
            await manager.enqueue(crew.hold, "too many")
        tasks = ManagedBackgroundTasks(manager)
        with pytest.raises(QueueFullError, match="lane 'async' is full"):
            tasks.add_task(crew.hold, "too many")
        other = await manager.enqueue(str.upper, "another lane")

        assert 1 <= e.value.retry_after <= 60
        assert await other.result(timeout=5) == "ANOTHER LANE"
        crew.let_go(0)
        await crew.until_started(1)
        await manager.enqueue(crew.hold, 3)
        crew.let_go()
        await in_time(manager.join())
    assert crew.started == [0, 1, 2, 3]


async def test_a_lane_with_room_refuses_nobody_while_it_fetches_others_from_disk(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, async_limit=4, async_queue=4, overflow="reject") as manager:

        @manager.task(concurrency_key=lambda number: number)
        async def by_way_of_the_disk(number: int) -> int:
            return number

        async def add(function: Callable[[int], Any]) -> None:
            for number in range(60):
                handle = await manager.enqueue(function, number)
                assert await handle.result(timeout=5) == number

        # Never more than five at a time, in eight places.
        plain = [add(crew.pass_through) for _ in range(2)]
        await in_time(asyncio.gather(*plain, *(add(by_way_of_the_disk) for _ in range(3))))


async def test_of_several_tasks_that_do_not_all_fit_none_is_stored(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=2, overflow="reject") as manager:
        await fill(manager, crew, 2)
        tasks = ManagedBackgroundTasks(manager)
        tasks.add_task(crew.hold, "fits")
        tasks.add_task(crew.hold, "would fit alone")

        with pytest.raises(QueueFullError):
            await tasks()

        crew.let_go()
        await in_time(manager.join())
    assert crew.ended == [0, 1]


async def test_a_retry_is_no_new_task_and_never_refused(db_path: Path, crew: Crew) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=1, overflow="reject") as manager:
        attempts = 0

        @manager.task(retries=1, delay=0.01)
        async def fails_once() -> str:
            nonlocal attempts
            attempts += 1
            await crew.hold(f"attempt {attempts}")
            if attempts == 1:
                raise ConnectionError
            return "done"

        handle = await manager.enqueue(fails_once)
        await crew.until_started("attempt 1")
        await manager.enqueue(crew.hold, "waits")
        crew.let_go("attempt 1")
        await crew.until_started("waits")
        await manager.enqueue(crew.hold, "fills the lane")
        crew.let_go()

        assert await handle.result(timeout=10) == "done"


# -- wait ------------------------------------------------------------------------------------------


async def test_enqueue_waits_for_room_and_those_who_wait_are_served_in_order(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=1, overflow="wait") as manager:
        await fill(manager, crew, 2)
        served: list[int] = []

        async def add(number: int) -> None:
            await manager.enqueue(crew.hold, number)
            served.append(number)

        adding = [asyncio.create_task(add(number)) for number in (2, 3, 4)]
        done, _ = await asyncio.wait(adding, timeout=MOMENT)
        assert not done
        crew.let_go(0)
        await until(lambda: served == [2])
        crew.let_go()
        await in_time(asyncio.gather(*adding))
        await in_time(manager.join())

    assert served == [2, 3, 4]
    assert crew.started == [0, 1, 2, 3, 4]


async def test_who_no_longer_wants_to_wait_leaves_nothing_behind(db_path: Path, crew: Crew) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=1, overflow="wait") as manager:
        await fill(manager, crew, 2)
        adding = [asyncio.create_task(manager.enqueue(crew.hold, n)) for n in range(2, 6)]
        await asyncio.wait(adding, timeout=0.05)

        adding[0].cancel()
        await asyncio.wait(adding[:1])
        crew.let_go(0)
        # One more just when it would be its turn: it is in or out, and nobody waits for it.
        await crew.until_started(1)
        adding[2].cancel()
        crew.let_go()
        await in_time(asyncio.gather(*adding, return_exceptions=True))
        await in_time(manager.join())

    assert adding[0].cancelled()
    assert {0, 1, 3, 5} <= set(crew.ended) <= {0, 1, 3, 4, 5}


async def test_several_who_leave_at_once_do_not_disturb_the_order_of_the_others(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=1, overflow="wait") as manager:
        await fill(manager, crew, 2)
        adding = [asyncio.create_task(manager.enqueue(crew.hold, n)) for n in range(2, 9)]
        await asyncio.wait(adding, timeout=0.05)

        for leaving in adding[0], adding[2]:
            leaving.cancel()
        await asyncio.wait({adding[0], adding[2]})
        crew.let_go()
        await in_time(asyncio.gather(*adding, return_exceptions=True))
        await in_time(manager.join())

    assert crew.started == [0, 1, 3, 5, 6, 7, 8]


async def test_a_task_that_enqueues_into_its_own_full_lane_goes_on(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=0, overflow="wait") as manager:

        @manager.task
        async def parent() -> list[str]:
            return [(await manager.enqueue(crew.pass_through, n)).task_id for n in range(3)]

        handle = await manager.enqueue(parent)

        assert len(await handle.result(timeout=5)) == 3
        await in_time(manager.join())
    assert crew.ended == [0, 1, 2]


async def test_who_cannot_wait_is_refused(db_path: Path, crew: Crew) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=0, overflow="wait") as manager:
        await fill(manager, crew, 1)

        with pytest.raises(QueueFullError, match="lane 'async' is full"):
            ManagedBackgroundTasks(manager).add_task(crew.hold, "too many")
        crew.let_go()


async def test_a_wait_can_be_for_a_queue_alone(db_path: Path, crew: Crew) -> None:
    async with TaskManager(
        db_path, overflow="wait", queues={"email": QueueConfig(concurrency=1, max_size=1)}
    ) as manager:
        manager.task(queue="email")(crew.hold)
        await fill(manager, crew, 2)

        adding = asyncio.create_task(manager.enqueue(crew.hold, 2))
        other = await manager.enqueue(manager.options(crew.pass_through, queue="other"), "other")

        assert await other.result(timeout=5) == "other"
        assert not adding.done()
        crew.let_go(0)
        await in_time(adding)
        crew.let_go()
        await in_time(manager.join())


async def test_a_stop_lets_those_go_who_wait_and_what_they_added_is_run_later(
    db_path: Path, crew: Crew
) -> None:
    manager = TaskManager(db_path, async_limit=1, async_queue=0, overflow="wait", shutdown_grace=0)
    manager.task(name="hold")(crew.hold)
    async with manager:
        await fill(manager, crew, 1)
        adding = [asyncio.create_task(manager.enqueue(crew.hold, n)) for n in (1, 2)]
        await asyncio.wait(adding, timeout=0.05)

    handles = await in_time(asyncio.gather(*adding))
    crew.let_go()
    async with TaskManager(db_path) as second:
        second.task(name="hold")(crew.hold)
        await until(lambda: {0, 1, 2} <= set(crew.ended))
    assert len({handle.task_id for handle in handles}) == 2


async def test_pressure_never_loses_what_was_taken(db_path: Path, crew: Crew) -> None:
    """Twenty callers at once, each adding one after the other, with room for three."""
    async with TaskManager(db_path, async_limit=2, async_queue=1, overflow="wait") as manager:

        async def add_some(caller: int) -> None:
            for number in range(5):
                handle = await manager.enqueue(crew.pass_through, [caller, number])
                assert await handle.status() is not None

        await in_time(asyncio.gather(*(add_some(caller) for caller in range(20))))
        await in_time(manager.join())

    assert sorted(crew.ended) == [[caller, number] for caller in range(20) for number in range(5)]
    assert crew.most == 2
