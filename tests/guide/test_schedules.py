"""Schedules as a user meets them: in code, at run time, after restarts, over several instances."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from taskflow import (
    NotStartedError,
    ScheduleError,
    TaskDefinitionError,
    TaskManager,
    TaskOptionError,
    TaskStatus,
    UnknownScheduleError,
)
from taskflow.record import TaskFilter, TaskRecord
from tests.guide.crew import Crew, in_time, until
from tests.guide.hands import Hands

DAY = 86_400.0


@pytest.fixture
def crew() -> Crew:
    return Crew()


@pytest.fixture
def hands() -> Hands:
    return Hands()


async def tasks_of(manager: TaskManager, schedule: str) -> list[TaskRecord]:
    """Its tasks, the oldest first."""
    page = await manager.engine.store.list(TaskFilter(limit=200))
    found = [r for r in page.items if r.tags and json.loads(r.tags)["schedule"] == schedule]
    return found[::-1]


async def slots_of(manager: TaskManager, schedule: str) -> list[str]:
    return sorted(json.loads(r.tags or "")["slot"] for r in await tasks_of(manager, schedule))


async def look(*managers: TaskManager) -> None:
    """Return when each scheduler has looked at the clock once more."""
    for manager in managers:
        await in_time(manager.engine.scheduler.look())
        await manager.engine.outbox.flush()


@asynccontextmanager
async def started(
    path: Path, hands: Hands, declare: Callable[[TaskManager], Any] | None = None, **settings: Any
) -> AsyncIterator[TaskManager]:
    manager = TaskManager(path, clock=hands, **settings)
    if declare is not None:
        declare(manager)
    async with manager:
        await look(manager)
        yield manager


# -- in code ---------------------------------------------------------------------------------------


async def test_a_function_runs_at_each_time_of_its_rule(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(
            cron="30 14 * * *", timezone="Europe/Berlin", args=("hello",), overlap="allow"
        )(crew.pass_through)

    async with started(db_path, hands, declare) as manager:
        hands.pass_by(1790)
        await look(manager)
        assert crew.started == []

        hands.pass_by(10)
        await look(manager)
        await crew.until_ended("hello")
        for _ in range(3):
            hands.pass_by(DAY)
            await look(manager)
        await until(lambda: len(crew.ended) == 4)

        (name,) = [state.name for state in await manager.schedules.all()]
        assert await slots_of(manager, name) == [
            f"2026-06-{day}T12:30:00+00:00" for day in (26, 27, 28, 29)
        ]


async def test_its_task_is_an_ordinary_one_with_all_options(db_path: Path, hands: Hands) -> None:
    tries: list[int] = []

    def declare(manager: TaskManager) -> None:
        @manager.schedule(every=300, lane="io", retries=2, queue="reports", timeout=9, priority=3)
        def report() -> None:
            tries.append(1)
            if len(tries) < 3:
                raise ValueError

    async with started(db_path, hands, declare) as manager:
        hands.pass_by(300)
        await look(manager)
        await in_time(manager.join())

        (state,) = await manager.schedules.all()
        (record,) = await tasks_of(manager, state.name)
        assert record.status is TaskStatus.SUCCESS
        assert (record.lane, record.queue, record.timeout, record.priority) == (
            "io",
            "reports",
            9,
            3,
        )
        assert (record.attempt, record.source) == (3, "schedule")
        (run,) = await manager.schedules.runs(state.name)
        assert (run.task_id, run.status) == (record.task_id, TaskStatus.SUCCESS)


async def test_one_task_has_several_schedules_and_stays_a_task(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.task(name="greet", queue="mail")(crew.pass_through)
        manager.schedule(every=60, name="often", args=("often",))(crew.pass_through)
        manager.schedule(every=3600, name="rarely", kwargs={"label": "rarely"})(crew.pass_through)

    async with started(db_path, hands, declare) as manager:
        hands.pass_by(3600)
        await look(manager)
        await crew.until_ended("often", "rarely")

        assert [(s.name, s.func_name) for s in await manager.schedules.all()] == [
            ("often", "greet"),
            ("rarely", "greet"),
        ]
        assert [record.queue for record in await tasks_of(manager, "often")] == ["mail"]


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cron": "0 25 * * *"}, ScheduleError, "hour"),
    ({"cron": "0 0 30 2 *"}, ScheduleError, "never"),
    ({"every": 0}, ScheduleError, "every=0"),
    ({"every": 60, "timezone": "Nowhere"}, ScheduleError, "Nowhere"),
    ({"every": 60, "lane": "gpu"}, TaskDefinitionError, "gpu"),
    ({"every": 60, "colour": "red"}, TaskDefinitionError, "colour"),
    ({"every": 60, "args": (1, 2, 3)}, TypeError, "called like this"),
    ({"every": 60, "name": "a\nb"}, ScheduleError, "name="),
    (
        {"every": 60, "overlap": "queue", "concurrency_key": lambda label="": label},
        ScheduleError,
        "concurrency key",
    ),
]


@pytest.mark.parametrize(("options", "kind", "says"), WRONG)
def test_what_cannot_work_is_an_error_at_the_decoration(
    db_path: Path, crew: Crew, options: dict[str, Any], kind: type[Exception], says: str
) -> None:
    manager = TaskManager(db_path)

    with pytest.raises(kind, match=says):
        manager.schedule(**options)(crew.pass_through)


def test_two_schedules_of_one_name_are_refused(db_path: Path, crew: Crew) -> None:
    manager = TaskManager(db_path)
    manager.schedule(every=60, name="one")(crew.pass_through)

    with pytest.raises(ScheduleError, match="schedule 'one' is declared already"):
        manager.schedule(every=5, name="one")(crew.hold)


async def test_a_schedule_may_be_declared_while_the_app_runs(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    async with started(db_path, hands) as manager:
        manager.schedule(every=60, name="late")(crew.pass_through)
        await look(manager)
        hands.pass_by(60)
        await look(manager)

        await until(lambda: len(crew.ended) == 1)


# -- restarts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("catch_up", "runs"), [("latest", 1), ("all", 3), ("skip", 0)])
async def test_what_was_missed_while_the_app_was_down_follows_the_rule(
    db_path: Path, hands: Hands, crew: Crew, catch_up: Any, runs: int
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(cron="0 13 * * *", name="daily", catch_up=catch_up, overlap="allow")(
            crew.pass_through
        )

    async with started(db_path, hands, declare):
        pass
    hands.pass_by(3 * DAY)

    async with started(db_path, hands, declare) as manager:
        await in_time(manager.join())
        assert len(await tasks_of(manager, "daily")) == runs == len(crew.ended)
        hands.pass_by(3600)
        await look(manager)
        await until(lambda: len(crew.ended) == runs + 1)


async def test_an_interval_keeps_its_grid_over_restarts(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=3600, name="hourly", overlap="allow")(crew.pass_through)

    for pause in (1800, 1000, 900, 4000):
        async with started(db_path, hands, declare) as manager:
            hands.pass_by(pause)
            await look(manager)
            slots = await slots_of(manager, "hourly")

    assert slots == ["2026-06-26T13:00:00+00:00", "2026-06-26T14:00:00+00:00"]


async def test_a_schedule_that_is_gone_from_the_code_is_shown_and_not_fired(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.task(name="greet")(crew.pass_through)
        manager.schedule(every=60, name="old")(crew.pass_through)

    async with started(db_path, hands, declare):
        pass

    def without(manager: TaskManager) -> None:
        manager.task(name="greet")(crew.pass_through)

    async with started(db_path, hands, without) as manager:
        hands.pass_by(600)
        await look(manager)
        state = await manager.schedules.get("old")

        assert state.problem is not None
        assert "orphaned" in state.problem
        assert await tasks_of(manager, "old") == []
        await manager.schedules.remove("old")
        assert await manager.schedules.all() == []


async def test_a_schedule_that_is_declared_again_while_the_app_runs_is_fired_again(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=60, name="x")(crew.pass_through)

    async with started(db_path, hands, declare):
        pass
    async with started(db_path, hands, lambda m: m.task(crew.pass_through)) as manager:
        assert (await manager.schedules.get("x")).standing == "orphaned"

        declare(manager)
        await look(manager)
        hands.pass_by(60)
        await look(manager)

        assert (await manager.schedules.get("x")).standing == "active"
        await until(lambda: len(crew.ended) == 1)


async def test_a_rule_that_a_deploy_has_changed_begins_then(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    async with started(
        db_path, hands, lambda m: m.schedule(cron="0 13 * * *", name="x")(crew.pass_through)
    ):
        pass
    hands.pass_by(3 * DAY)

    async with started(
        db_path, hands, lambda m: m.schedule(cron="0 11 * * *", name="x")(crew.pass_through)
    ) as manager:
        assert await tasks_of(manager, "x") == []
        hands.pass_by(DAY)
        await look(manager)
        assert len(await tasks_of(manager, "x")) == 1


@pytest.mark.parametrize("lives", [1, 3])
async def test_a_run_at_startup_is_one_for_each_deployment(
    db_path: Path, hands: Hands, crew: Crew, lives: int
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=3600, name="warm", run_on_startup=True)(crew.pass_through)

    for life in range(1, lives + 1):
        async with (
            started(db_path, hands, declare) as one,
            started(db_path, hands, declare) as two,  # a second worker of the same deployment
        ):
            await in_time(one.join())
            await in_time(two.join())
            assert len(crew.ended) == life
        hands.pass_by(1)


# -- several instances, and clocks -----------------------------------------------------------------


async def test_each_slot_is_one_task_however_many_instances_there_are(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=60, name="x", overlap="allow")(crew.pass_through)

    async with (
        started(db_path, hands, declare) as one,
        started(db_path, hands, declare) as two,
        started(db_path, hands, declare) as three,
    ):
        for _ in range(20):
            hands.pass_by(60)
            await asyncio.gather(look(one), look(two), look(three))

        slots = await slots_of(one, "x")
        assert len(slots) == len(set(slots)) == 20
        await in_time(asyncio.gather(one.join(), two.join(), three.join()))
    assert len(crew.ended) == 20


@pytest.mark.parametrize("step", [3600.0, DAY, -3600.0, -DAY])
@pytest.mark.parametrize("every", [60, 7200])
async def test_a_clock_that_is_set_makes_no_burst_no_double_and_loses_no_slot(
    db_path: Path, hands: Hands, crew: Crew, step: float, every: int
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=every, name="x", overlap="allow")(crew.pass_through)

    async with started(db_path, hands, declare) as manager:
        began = hands.now()
        for _ in range(5):
            hands.pass_by(every)
            await look(manager)
        before = len(await slots_of(manager, "x"))
        hands.set_to(hands.now() + step)
        await look(manager)

        # Not more than the one that is due by the new time.
        assert len(await slots_of(manager, "x")) - before in (0, 1)
        hands.set_to(hands.now() - step)
        await look(manager)
        assert len(await slots_of(manager, "x")) - before in (0, 1)
        # From here on, time passes beyond everything that was fired: nothing is missing.
        for _ in range(int(2 * DAY / every) if every == 7200 else 10):
            hands.pass_by(every)
            await look(manager)

        slots = {datetime.fromisoformat(slot).timestamp() for slot in await slots_of(manager, "x")}
        assert {began + every * n for n in range(1, 15)} <= slots
        assert len(slots) == len(await slots_of(manager, "x"))


# -- overlap and jitter ----------------------------------------------------------------------------


async def test_a_run_is_skipped_while_its_predecessor_is_not_over(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=60, name="x", kwargs={"label": "a"})(crew.hold)

    async with started(db_path, hands, declare) as manager:
        for _ in range(3):
            hands.pass_by(60)
            await look(manager)
        await crew.until_started("a")
        assert len(await tasks_of(manager, "x")) == 1
        assert [run.outcome for run in await manager.schedules.runs("x")] == [
            "overlaps",
            "overlaps",
            "fired",
        ]

        crew.let_go()
        await in_time(manager.join())
        hands.pass_by(60)
        await look(manager)
        await in_time(manager.join())
        assert len(crew.ended) == 2


@pytest.mark.parametrize(("overlap", "most"), [("queue", 1), ("allow", 3)])
async def test_runs_wait_for_each_other_or_overlap(
    db_path: Path, hands: Hands, crew: Crew, overlap: Any, most: int
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=60, name="x", overlap=overlap)(crew.hold)

    async with started(db_path, hands, declare) as manager:
        for _ in range(3):
            hands.pass_by(60)
            await look(manager)
        await until(lambda: len(crew.running) == most)
        crew.let_go()
        await in_time(manager.join())

    assert len(crew.ended) == 3
    assert crew.most == most


async def test_jitter_spreads_runs_within_its_bounds_and_the_same_way_each_time(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        for number in range(20):
            manager.schedule(cron="0 13 * * *", name=f"s{number}", jitter=timedelta(minutes=10))(
                crew.pass_through
            )

    async with started(db_path, hands, declare) as manager:
        hands.pass_by(3600)
        await look(manager)
        page = await manager.engine.store.list(TaskFilter(limit=50))
        moments = [record.run_at or 0.0 for record in page.items]

        assert len(moments) == 20
        assert all(hands.now() <= moment <= hands.now() + 600 for moment in moments)
        assert max(moments) - min(moments) > 200
        assert {record.status for record in page.items} == {TaskStatus.SCHEDULED}
        hands.pass_by(600)
        manager.engine.timer.wake()
        await until(lambda: len(crew.ended) == 20)


# -- at run time -----------------------------------------------------------------------------------


async def test_schedules_are_added_changed_and_removed_while_the_app_runs_and_kept(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.task(name="greet")(crew.pass_through)

    async with started(db_path, hands, declare) as manager:
        state = await manager.schedules.add("mine", crew.pass_through, every=60, args=("one",))
        assert (state.words, state.origin, state.problem) == ("every minute", "run time", None)
        with pytest.raises(ScheduleError, match="'mine' exists"):
            await manager.schedules.add("mine", "greet", every=5)
        with pytest.raises(ScheduleError, match="no declared task; those are: greet"):
            await manager.schedules.add("other", "nothing", every=5)
        await manager.schedules.change("mine", every=120, args=("two",))

    async with started(db_path, hands, declare) as manager:
        hands.pass_by(60)
        await look(manager)
        assert crew.ended == []
        hands.pass_by(60)
        await look(manager)
        await crew.until_ended("two")

        await manager.schedules.change("mine", every=None, args=None)
        assert (await manager.schedules.get("mine")).every == 60
        await manager.schedules.remove("mine")
        with pytest.raises(UnknownScheduleError, match="'mine'"):
            await manager.schedules.get("mine")
        hands.pass_by(600)
        await look(manager)
    assert crew.ended == ["two"]


async def test_what_people_change_of_a_schedule_in_code_outlives_a_deploy(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(cron="0 2 * * *", name="x")(crew.pass_through)

    async with started(db_path, hands, declare) as manager:
        await manager.schedules.change("x", cron="0 13 * * *")
        with pytest.raises(ScheduleError, match="declared in code"):
            await manager.schedules.remove("x")
        with pytest.raises(ScheduleError, match="hour"):
            await manager.schedules.change("x", cron="0 25 * * *")

    async with started(db_path, hands, declare) as manager:
        hands.pass_by(3600)
        await look(manager)
        assert len(await tasks_of(manager, "x")) == 1
        assert (await manager.schedules.get("x")).words == "at 13:00 every day"
        await manager.schedules.change("x", cron=None)
        assert (await manager.schedules.get("x")).cron == "0 2 * * *"


async def test_a_pause_holds_for_all_instances_and_nothing_of_it_is_made_up_for(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=60, name="x", catch_up="all")(crew.pass_through)

    async with started(db_path, hands, declare) as one, started(db_path, hands, declare) as two:
        state = await one.schedules.pause("x", by="ada")
        assert (state.paused_by, state.problem, state.next_runs) == ("ada", "paused", ())
        hands.pass_by(600)
        await look(two, one)
        assert await tasks_of(one, "x") == []

        await two.schedules.resume("x")
        hands.pass_by(60)
        await look(one, two)
        assert len(await tasks_of(one, "x")) == 1
        await in_time(asyncio.gather(one.join(), two.join()))


async def test_run_now_is_beside_the_rule_and_also_while_paused(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(cron="0 2 * * *", name="x", kwargs={"label": "now"})(crew.pass_through)

    async with started(db_path, hands, declare) as manager:
        await manager.schedules.pause("x")

        handle = await manager.schedules.run_now("x")

        assert await in_time(handle.result()) == "now"
        (run,) = await manager.schedules.runs("x")
        assert (run.kind, run.task_id) == ("hand", handle.task_id)


async def test_two_people_who_run_it_in_the_same_moment_run_it_twice(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=3600, name="x", overlap="allow")(crew.pass_through)

    async with started(db_path, hands, declare) as manager:  # the clock stands still
        handles = await in_time(asyncio.gather(*[manager.schedules.run_now("x") for _ in range(3)]))

        assert len({handle.task_id for handle in handles}) == 3
        assert len(await manager.schedules.runs("x")) == 3


def test_a_declaration_after_the_loop_has_ended_is_one_for_the_next_start(
    db_path: Path, crew: Crew
) -> None:
    manager = TaskManager(db_path)

    asyncio.run(manager.startup())  # and never shut down

    manager.schedule(every=60, name="x")(crew.pass_through)  # raises nothing


async def test_the_state_tells_the_next_runs_in_words_and_times(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(cron="30 2 * * MON-FRI", timezone="Europe/Berlin", name="x")(crew.hold)

    async with started(db_path, hands, declare) as manager:
        state = await manager.schedules.get("x")

        assert state.words == "at 02:30 on Monday to Friday"
        assert state.timezone == "Europe/Berlin"
        assert [run.local for run in state.next_runs] == [
            f"2026-{day}T02:30:00+02:00" for day in ("06-29", "06-30", "07-01", "07-02", "07-03")
        ]
        assert state.lag == 0.0


# -- once ------------------------------------------------------------------------------------------


async def test_a_function_runs_once_at_its_moment(db_path: Path, hands: Hands, crew: Crew) -> None:
    async with started(db_path, hands) as manager:
        moment = datetime.fromtimestamp(hands.now(), UTC) + timedelta(hours=1)
        task_id = await manager.schedule_once(crew.pass_through, "once", run_at=moment)
        (planned,) = await manager.list_scheduled()
        assert (planned.task_id, planned.run_at, planned.run_key) == (task_id, moment, None)

        hands.pass_by(3600)
        manager.engine.timer.wake()
        await crew.until_ended("once")
        assert await manager.list_scheduled() == []


async def test_the_same_key_moves_it_and_cancels_it(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    now = datetime.fromtimestamp(hands.now(), UTC)
    async with started(db_path, hands) as manager:
        for hours, key in ((1, "auction:7"), (2, "auction:7"), (3, "auction:8")):
            await manager.schedule_once(
                crew.pass_through, hours, run_at=now + timedelta(hours=hours), run_key=key
            )
        assert [(p.run_key, p.run_at) for p in await manager.list_scheduled()] == [
            ("auction:7", now + timedelta(hours=2)),
            ("auction:8", now + timedelta(hours=3)),
        ]

        assert await manager.cancel_scheduled("auction:8")
        assert not await manager.cancel_scheduled("auction:8")
        hands.pass_by(4 * 3600)
        manager.engine.timer.wake()
        await crew.until_ended(2)
        assert not await manager.cancel_scheduled("auction:7")
        await manager.schedule_once(crew.pass_through, 4, run_at=now, run_key="auction:7")
        await crew.until_ended(4)
        await in_time(manager.join())
    assert crew.ended == [2, 4]


async def test_a_plan_may_be_made_before_the_start_and_for_a_far_year(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    manager = TaskManager(db_path, clock=hands)
    manager.task(name="greet")(crew.pass_through)
    soon = datetime.fromtimestamp(hands.now(), UTC) + timedelta(seconds=5)

    await manager.schedule_once(crew.pass_through, "soon", run_at=soon, run_key="soon")
    await manager.schedule_once(crew.pass_through, "far", run_at=soon.replace(year=2099))
    assert len(await manager.list_scheduled()) == 2

    hands.pass_by(10)
    async with manager:
        await crew.until_ended("soon")
        (far,) = await manager.list_scheduled()
        assert far.run_at.year == 2099
        assert await manager.cancel_scheduled("soon") is False


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"run_at": datetime(2026, 6, 26, 12)}, "no time zone"),
        ({"run_at": 5}, "run_at=5"),
        ({"run_at": datetime(2027, 1, 1, tzinfo=UTC), "run_key": ""}, "run_key=''"),
        ({"run_at": datetime(2027, 1, 1, tzinfo=UTC), "run_key": "a\n"}, "printable"),
        ({"run_at": datetime(2027, 1, 1, tzinfo=UTC), "idempotency_key": "x"}, "run_key="),
        ({"run_at": datetime(2027, 1, 1, tzinfo=UTC), "run_in": 5}, "not both"),
    ],
)
async def test_a_plan_that_cannot_work_is_refused(
    db_path: Path, hands: Hands, crew: Crew, options: dict[str, Any], says: str
) -> None:
    async with started(db_path, hands) as manager:
        with pytest.raises(TaskOptionError, match=says):
            await manager.schedule_once(crew.pass_through, **options)
        assert await manager.list_scheduled() == []


# -- when something is wrong -----------------------------------------------------------------------


async def test_a_schedule_whose_task_cannot_be_made_stops_no_other(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    broken = [True]

    def key(label: str = "") -> str:
        if broken:
            raise ValueError(label)
        return label or "key"

    async def keyed(label: str = "") -> None:
        await crew.pass_through("keyed")

    def declare(manager: TaskManager) -> None:
        manager.schedule(
            every=60, name="bad", overlap="allow", run_on_startup=True, concurrency_key=key
        )(keyed)
        manager.schedule(every=60, name="good", overlap="allow")(crew.pass_through)

    async with started(db_path, hands, declare) as manager:
        for _ in range(3):
            hands.pass_by(60)
            await look(manager)
        await until(lambda: len(crew.ended) == 3)
        state = await manager.schedules.get("bad")
        assert state.standing == "failing"
        assert "its task cannot be made" in (state.problem or "")

        broken.clear()
        hands.pass_by(60)
        await look(manager)
        await until(lambda: "keyed" in crew.ended)
        assert (await manager.schedules.get("bad")).problem is None


async def test_in_a_deploy_each_instance_keeps_to_its_code_whoever_started_last(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def old(manager: TaskManager) -> None:
        manager.schedule(cron="0 13 * * *", name="x", args=("old",))(crew.pass_through)

    def new(manager: TaskManager) -> None:
        manager.schedule(cron="0 14 * * *", name="x", args=("new",))(crew.pass_through)

    async with started(db_path, hands, new) as manager:
        async with started(db_path, hands, old):
            pass  # a worker of the old version was restarted in the middle of it
        for _ in range(3):
            hands.pass_by(3600)
            await look(manager)
            await in_time(manager.join())

        assert crew.ended == ["new"]
        assert (await manager.schedules.get("x")).cron == "0 14 * * *"


async def test_a_schedule_that_others_removed_is_back_where_the_code_declares_it(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=60, name="x")(crew.pass_through)

    async with (
        started(db_path, hands, declare) as one,
        started(db_path, hands, lambda m: m.task(crew.pass_through)) as two,
    ):
        await two.schedules.remove("x")
        await one.engine.scheduler.notice()
        await look(one)
        await look(one)
        hands.pass_by(60)
        await look(one)

        await until(lambda: len(crew.ended) == 1)


@pytest.mark.parametrize("how", ["in code", "at run time"])
async def test_a_change_of_anything_but_the_rule_loses_no_run_that_was_missed(
    db_path: Path, hands: Hands, crew: Crew, how: str
) -> None:
    async with started(
        db_path, hands, lambda m: m.schedule(cron="0 13 * * *", name="x")(crew.pass_through)
    ):
        pass
    hands.pass_by(7200)
    jitter = 0 if how == "in code" else 1

    manager = TaskManager(db_path, clock=hands)
    manager.schedule(cron="0 13 * * *", name="x", catch_up="all", jitter=jitter)(crew.pass_through)
    async with manager:
        if how == "at run time":
            await manager.schedules.change("x", jitter=None, catch_up="latest")
        await look(manager)
        hands.pass_by(2)
        manager.engine.timer.wake()
        await until(lambda: len(crew.ended) == 1)


async def test_an_instance_that_was_frozen_repeats_nothing(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=3600, name="x", catch_up="all", overlap="allow")(crew.pass_through)

    later = Hands(hands.now())
    async with (
        started(db_path, hands, declare) as frozen,
        started(db_path, later, declare) as awake,
    ):
        for _ in range(120):
            later.pass_by(3600)
            await look(awake)
        await in_time(awake.join())
        await awake.engine.pruner.look()

        hands.set_to(later.now())
        await look(frozen)
        slots = await slots_of(frozen, "x")
        await in_time(frozen.join())
    assert len(slots) == len(set(slots)) == 120


async def test_by_default_all_runs_that_were_missed_wait_for_each_other(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=3600, name="x", catch_up="all")(crew.pass_through)

    async with started(db_path, hands, declare):
        pass
    hands.pass_by(5 * 3600)
    async with started(db_path, hands, declare) as manager:
        await until(lambda: len(crew.ended) == 5)
        await in_time(manager.join())
    assert crew.most == 1


async def test_a_last_task_that_waits_for_its_function_holds_up_no_schedule(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def before(manager: TaskManager) -> None:
        manager.task(name="old name")(crew.hold)
        manager.schedule(every=60, name="x")(crew.hold)

    async with started(db_path, hands, before, shutdown_grace=0) as manager:
        hands.pass_by(60)
        await look(manager)
        await crew.until_started("")
    crew.let_go()

    def after(manager: TaskManager) -> None:
        manager.task(name="new name")(crew.pass_through)
        manager.schedule(every=60, name="x", kwargs={"label": "new"})(crew.pass_through)

    async with started(db_path, hands, after) as manager:
        await until(lambda: manager.engine.backlog.of_lane("async") == 0)
        hands.pass_by(60)
        await look(manager)
        await until(lambda: "new" in crew.ended)


async def test_changes_at_once_are_all_kept(db_path: Path, hands: Hands, crew: Crew) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=60, name="x")(crew.pass_through)

    async with started(db_path, hands, declare) as one, started(db_path, hands, declare) as two:
        await in_time(
            asyncio.gather(
                one.schedules.change("x", every=120),
                two.schedules.change("x", overlap="allow"),
                one.schedules.change("x", catch_up="skip"),
            )
        )
        state = await two.schedules.get("x")

    assert (state.every, state.overlap, state.catch_up) == (120, "allow", "skip")


async def test_schedules_are_changed_from_another_thread(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    def declare(manager: TaskManager) -> None:
        manager.schedule(every=60, name="x")(crew.pass_through)

    async with started(db_path, hands, declare) as manager:

        def pause() -> str | None:
            return asyncio.run(manager.schedules.pause("x", by="a thread")).paused_by

        assert await in_time(asyncio.to_thread(pause)) == "a thread"


async def test_a_plan_that_is_due_and_waits_for_a_slot_is_still_moved(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    now = datetime.fromtimestamp(hands.now(), UTC)
    async with started(db_path, hands) as manager:
        await manager.queues["closed"].pause()
        for number in range(3):
            await manager.schedule_once(
                crew.pass_through, number, run_at=now, run_key="k", queue="closed"
            )
        await manager.queues["closed"].resume()
        await until(lambda: bool(crew.ended))
        await in_time(manager.join())
    assert crew.ended == [2]


async def test_what_would_be_lost_is_not_planned_before_the_start(
    crew: Crew, db_path: Path
) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)

    manager = TaskManager(":memory:")
    manager.task(crew.pass_through)
    with pytest.raises(NotStartedError, match=":memory:"):
        await manager.schedule_once(crew.pass_through, run_at=soon)
    with pytest.raises(NotStartedError, match="not declared"):
        await TaskManager(db_path).schedule_once(crew.pass_through, run_at=soon)


async def test_a_moment_beyond_all_calendars_is_refused(
    db_path: Path, hands: Hands, crew: Crew
) -> None:
    async with started(db_path, hands) as manager:
        with pytest.raises(TaskOptionError, match="year 9999"):
            await manager.schedule_once(crew.pass_through, run_at=datetime.max.replace(tzinfo=UTC))
        await manager.schedule_once(crew.pass_through, run_at=datetime(9999, 12, 30, tzinfo=UTC))
        assert len(await manager.list_scheduled()) == 1
