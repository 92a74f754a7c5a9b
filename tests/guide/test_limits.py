"""How many at a time, how often, in which order; and all of it changed while tasks run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from taskflow import QueueConfig, QueueFullError, SettingsError, TaskManager, TaskStatus
from tests.guide.crew import Crew, in_time, record_of, until

#: Seconds within which a change has reached the other instances on a file.
HEARD = 2.0


@pytest.fixture
def crew() -> Crew:
    return Crew()


@asynccontextmanager
async def two_managers(
    db_path: Path, crew: Crew, **options: Any
) -> AsyncIterator[tuple[TaskManager, TaskManager]]:
    """Two instances on one file that know the same task, ``hold``."""
    managers = TaskManager(db_path), TaskManager(db_path)
    for manager in managers:
        manager.task(name="hold", **options)(crew.hold)
    async with managers[0], managers[1]:
        yield managers


# -- concurrency -----------------------------------------------------------------------------------


async def test_a_queue_with_a_concurrency_fills_it_and_never_runs_more(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, queues={"email": QueueConfig(concurrency=3)}) as manager:
        manager.task(queue="email")(crew.pass_through)
        for number in range(30):
            await manager.enqueue(crew.pass_through, number)
        await in_time(manager.join())

    assert sorted(crew.ended) == list(range(30))
    assert crew.most == 3


async def test_a_task_can_have_a_concurrency_of_its_own(db_path: Path, crew: Crew) -> None:
    async with TaskManager(db_path) as manager:
        manager.task(concurrency=2)(crew.pass_through)
        for number in range(20):
            await manager.enqueue(crew.pass_through, number)
        await in_time(manager.join())

    assert len(crew.ended) == 20
    assert crew.most == 2


async def test_a_limit_counts_plain_functions_in_threads_as_well(db_path: Path) -> None:
    running = most = 0

    async with TaskManager(
        db_path, io_workers=8, queues={"one": QueueConfig(concurrency=1)}
    ) as manager:

        @manager.task(queue="one")
        def work() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(20_000):
                pass
            running -= 1

        for _ in range(20):
            await manager.enqueue(work)
        await in_time(manager.join())

    assert most == 1


async def test_what_a_limit_holds_back_takes_no_slot_and_no_waiting_place_from_others(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(
        db_path, async_limit=2, async_queue=1, queues={"slow": QueueConfig(concurrency=1)}
    ) as manager:
        for number in range(30):
            await manager.enqueue(manager.options(crew.hold, queue="slow"), number)

        for number in range(5):
            handle = await manager.enqueue(crew.pass_through, f"quick {number}")
            assert await handle.result(timeout=5) == f"quick {number}"

        assert crew.running == [0]
        crew.let_go()
        await in_time(manager.join())
    assert [label for label in crew.started if isinstance(label, int)] == list(range(30))


async def test_a_full_queue_refuses_by_name_and_number_and_takes_again_when_there_is_room(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(
        db_path, queues={"email": QueueConfig(concurrency=1, max_size=3)}
    ) as manager:
        manager.task(queue="email")(crew.hold)
        for number in range(4):  # one runs, three wait
            await manager.enqueue(crew.hold, number)

        with pytest.raises(QueueFullError, match="queue 'email' is full: 3 tasks wait, 3 may") as e:
            await manager.enqueue(crew.hold, 4)
        await manager.enqueue(manager.options(crew.hold, queue="other"), "other")
        await crew.until_started("other")
        crew.let_go(0)
        await crew.until_started(1)
        await manager.enqueue(crew.hold, 5)

        assert e.value.retry_after >= 1
        crew.let_go()
        await in_time(manager.join())
    assert sorted(label for label in crew.ended if label != "other") == [0, 1, 2, 3, 5]


# -- rate ------------------------------------------------------------------------------------------


async def test_a_rate_is_kept_in_every_stretch_and_used_to_the_full(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, queues={"api": QueueConfig(rate="5/s")}) as manager:
        manager.task(queue="api")(crew.pass_through)
        for number in range(12):
            await manager.enqueue(crew.pass_through, number)
        await in_time(manager.join())

    times = crew.times
    # A start is noted a moment before its first line runs.
    assert all(late - early > 0.95 for early, late in zip(times, times[5:], strict=False))
    assert 1.9 < times[-1] - times[0] < 3.5  # 5 at once, 5 after a second, 2 after another
    assert crew.started == list(range(12))


async def test_what_a_rate_holds_back_delays_nobody_else(db_path: Path, crew: Crew) -> None:
    async with TaskManager(
        db_path, async_limit=1, async_queue=0, queues={"api": QueueConfig(rate="1/h")}
    ) as manager:
        for number in range(10):
            await manager.enqueue(manager.options(crew.pass_through, queue="api"), number)
        handle = await manager.enqueue(crew.pass_through, "other")

        assert await handle.result(timeout=5) == "other"
        assert crew.started == [0, "other"]


# -- keys ------------------------------------------------------------------------------------------


async def test_tasks_with_one_key_run_one_by_one_and_those_with_another_beside_them(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path) as manager:
        manager.task(concurrency_key=lambda label: label[0])(crew.hold)
        for label in ("a1", "a2", "b1", "a3", "b2"):
            await manager.enqueue(crew.hold, label)

        await crew.until_started("a1", "b1")
        assert sorted(crew.running) == ["a1", "b1"]
        crew.let_go("a1")
        await crew.until_started("a2")
        assert sorted(crew.running) == ["a2", "b1"]
        crew.let_go()
        await in_time(manager.join())

    assert [label for label in crew.started if label[0] == "a"] == ["a1", "a2", "a3"]
    assert [label for label in crew.started if label[0] == "b"] == ["b1", "b2"]
    assert crew.most == 2


async def test_a_key_holds_over_all_instances_on_a_file(db_path: Path) -> None:
    most: dict[str, int] = {}
    now: dict[str, int] = dict.fromkeys("abc", 0)
    ended: list[tuple[str, int]] = []

    async def work(key: str, number: int) -> None:
        now[key] += 1
        most[key] = max(most.get(key, 0), now[key])
        await asyncio.sleep(0.01)
        now[key] -= 1
        ended.append((key, number))

    # Neither has slots for all that the keys would let run.
    managers = [TaskManager(db_path, async_limit=2, async_queue=0) for _ in range(2)]
    for manager in managers:
        manager.task(name="work", concurrency_key=lambda key: key, concurrency_limit=2)(work)
    async with managers[0], managers[1]:
        handles = await asyncio.gather(
            *(
                managers[number % 2].enqueue(work, key, number)
                for number in range(16)
                for key in "abc"
            )
        )
        for handle in handles:
            await handle.result(timeout=20)
        instances = {(await record_of(handle)).instance for handle in handles}

    assert len(ended) == len(set(ended)) == 48
    assert set(most) == {"a", "b", "c"}
    assert max(most.values()) == 2
    assert len(instances) == 2


async def test_a_key_is_passed_on_between_instances(db_path: Path, crew: Crew) -> None:
    async with two_managers(db_path, crew, concurrency_key=lambda: "k") as (first, second):
        await first.enqueue(crew.hold, "here")
        await crew.until_started("here")
        handle = await second.enqueue(crew.hold, "there")

        assert await handle.status() is TaskStatus.PENDING
        assert crew.running == ["here"]
        crew.let_go()
        assert await handle.result(timeout=5) == "there"


# -- priorities ------------------------------------------------------------------------------------


async def test_the_most_important_task_is_next_whatever_waits_in_memory_and_on_disk(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=2) as manager:
        await manager.enqueue(crew.hold, "first")
        for number in range(50):
            await manager.enqueue(crew.pass_through, number)
        await manager.enqueue(manager.options(crew.pass_through, priority=1), "important")
        crew.let_go()
        await in_time(manager.join())

    assert crew.started == ["first", "important", *range(50)]


async def test_priorities_are_strict_and_equal_ones_go_in_order_of_arrival(
    db_path: Path, crew: Crew
) -> None:
    draw = random.Random(7)
    labels = [(draw.randrange(-2, 3), number) for number in range(80)]
    async with TaskManager(db_path, async_limit=1, async_queue=3) as manager:
        await manager.enqueue(crew.hold, "first")
        for label in labels:
            await manager.enqueue(
                manager.options(crew.pass_through, priority=label[0]), list(label)
            )
        crew.let_go()
        await in_time(manager.join())

    started = [tuple(label) for label in crew.started[1:]]
    assert started == sorted(labels, key=lambda label: (-label[0], label[1]))


async def test_inside_of_a_full_queue_the_most_important_is_next_as_well(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(
        db_path, async_limit=1, queues={"email": QueueConfig(concurrency=1)}
    ) as manager:
        manager.task(queue="email")(crew.pass_through)
        await manager.enqueue(crew.hold, "first")
        for number in range(10):  # one of them waits in memory, the others on disk
            await manager.enqueue(crew.pass_through, number)
        await manager.enqueue(manager.options(crew.pass_through, priority=1), "important")
        crew.let_go()
        await in_time(manager.join())

    assert crew.started == ["first", "important", *range(10)]


# -- changed while it runs -------------------------------------------------------------------------


async def test_a_lane_is_resized_while_it_runs(db_path: Path, crew: Crew) -> None:
    async with TaskManager(db_path, async_limit=2) as manager:
        for number in range(8):
            await manager.enqueue(crew.hold, number)
        await crew.until_started(0, 1)

        await manager.lanes["async"].resize(4)
        await crew.until_started(2, 3)
        await manager.lanes["async"].resize(1)
        crew.let_go(0, 1, 2)
        await crew.until_ended(0, 1, 2)

        assert crew.running == [3]  # what ran goes on, and nothing new before it is one too few
        crew.let_go(3)
        await crew.until_started(4)
        assert crew.running == [4]
        await manager.lanes["async"].resize(None)
        await crew.until_started(5)
        assert manager.lanes["async"].limit == 2
        crew.let_go()
        await in_time(manager.join())
    assert crew.most == 4


async def test_the_limits_of_a_queue_are_changed_while_it_runs(db_path: Path, crew: Crew) -> None:
    async with TaskManager(db_path, queues={"email": QueueConfig(concurrency=1)}) as manager:
        manager.task(queue="email")(crew.hold)
        for number in range(6):
            await manager.enqueue(crew.hold, number)
        queue = manager.queues["email"]

        await queue.change(concurrency=3, max_size=3)
        await crew.until_started(0, 1, 2)
        with pytest.raises(QueueFullError, match="3 may"):
            await manager.enqueue(crew.hold, 6)
        await queue.change(concurrency=1, max_size=None)
        crew.let_go(0, 1)
        await crew.until_ended(0, 1)

        assert crew.running == [2]
        crew.let_go(2)
        await crew.until_started(3)
        assert crew.running == [3]
        assert queue.config == QueueConfig(concurrency=1)
        crew.let_go()
        await in_time(manager.join())
    assert crew.most == 3


async def test_limits_that_cannot_work_are_refused_and_change_nothing(db_path: Path) -> None:
    async with TaskManager(db_path, async_limit=2) as manager:
        for wrong in (0, -1, True, 1.5, 10**9):
            with pytest.raises(SettingsError, match=f"limit={wrong}"):
                await manager.lanes["async"].resize(wrong)  # type: ignore[arg-type]
        with pytest.raises(SettingsError, match="concurrency=0"):
            await manager.queues["email"].change(concurrency=0)
        with pytest.raises(SettingsError, match="often"):
            await manager.queues["email"].change(rate="often")
        with pytest.raises(SettingsError, match="colour"):
            await manager.queues["email"].change(colour="red")
        with pytest.raises(KeyError, match="the lanes are async, io, cpu"):
            manager.lanes["gpu"]

        assert manager.lanes["async"].limit == 2
        assert manager.queues["email"].config == QueueConfig()


@pytest.mark.parametrize("what", ["lane", "queue"])
async def test_a_pause_lets_what_runs_end_and_starts_nothing_until_it_is_over(
    db_path: Path, crew: Crew, what: str
) -> None:
    async with TaskManager(db_path) as manager:
        control = manager.lanes["async"] if what == "lane" else manager.queues["default"]
        running = await manager.enqueue(crew.hold, "running")
        await crew.until_started("running")

        await control.pause()
        waiting = await manager.enqueue(crew.hold, "waiting")
        crew.let_go()

        assert control.paused
        assert await running.result(timeout=5) == "running"
        assert await waiting.status() is TaskStatus.PENDING
        await control.resume()
        assert await waiting.result(timeout=5) == "waiting"
        assert not control.paused


async def test_a_paused_queue_stops_nobody_else(db_path: Path, crew: Crew) -> None:
    async with TaskManager(db_path, async_limit=1, async_queue=1) as manager:
        await manager.queues["email"].pause()
        for number in range(5):
            await manager.enqueue(manager.options(crew.pass_through, queue="email"), number)
        handle = await manager.enqueue(crew.pass_through, "other")

        assert await handle.result(timeout=5) == "other"
        assert crew.started == ["other"]


async def test_changes_hold_after_a_restart_until_they_are_taken_back(
    db_path: Path, crew: Crew
) -> None:
    async with TaskManager(db_path) as manager:
        await manager.lanes["io"].resize(3)
        await manager.lanes["async"].pause()
        await manager.queues["email"].change(concurrency=2, rate="9/min")
        await manager.queues["sms"].pause()

    second = TaskManager(db_path)
    second.task(name="work")(crew.pass_through)
    async with second:
        handle = await second.enqueue(crew.pass_through, "work")

        assert second.lanes["io"].limit == 3
        assert second.lanes["async"].paused
        assert second.queues["email"].config == QueueConfig(concurrency=2, rate="9/min")
        assert second.queues["sms"].paused
        assert await handle.status() is TaskStatus.PENDING
        await second.lanes["io"].resize(None)
        await second.lanes["async"].resume()
        await second.queues["email"].change(concurrency=None, rate=None)
        await second.queues["sms"].resume()
        assert await handle.result(timeout=5) == "work"

    async with TaskManager(db_path, io_workers=5) as third:
        assert third.lanes["io"].limit == 5
        assert third.queues["email"].config == QueueConfig()
        assert not third.lanes["async"].paused
        assert not third.queues["sms"].paused


async def test_a_change_reaches_the_other_instances_on_the_file(db_path: Path, crew: Crew) -> None:
    async with two_managers(db_path, crew, queue="email") as (first, second):
        await first.lanes["io"].resize(3)
        await first.queues["email"].change(concurrency=1)
        await first.queues["sms"].pause()

        async with asyncio.timeout(HEARD):
            await until(lambda: second.lanes["io"].limit == 3)
            await until(lambda: second.queues["email"].config.concurrency == 1)
            await until(lambda: second.queues["sms"].paused)
        await first.queues["sms"].resume()
        async with asyncio.timeout(HEARD):
            await until(lambda: not second.queues["sms"].paused)
