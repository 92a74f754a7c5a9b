"""The history of figures: what a point holds, and what an answer makes of many."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from executors.histogram import Histogram
from taskflow import TaskManager
from taskflow.admin import history_routes
from taskflow.admin.history import SCALES, Fold, Span
from taskflow.admin.history_routes import look_back
from taskflow.engine import Engine
from taskflow.history import REMEMBERED, START
from taskflow.stores.annals import Annals, Point
from taskflow.stores.sqlite.annals import SQLiteAnnals
from taskflow.timeline import Growth, LaneSlice, Marks, Slice, parse, quantile
from tests.apps.locks import locked
from tests.guide.hands import Hands

# -- durations -----------------------------------------------------------------------------------


def marks_of(*durations: float) -> Marks:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    return Growth().look(histogram)


def test_a_percentile_is_near_the_true_one_from_microseconds_to_days() -> None:
    draw = random.Random(7)
    for scale in (1e-4, 0.01, 1.0, 300.0, 80_000.0):
        values = sorted(draw.uniform(0.5, 1.5) * scale for _ in range(500))

        found = quantile(marks_of(*values), 0.95)

        assert found == pytest.approx(values[474], rel=0.13)


def test_of_no_durations_there_is_no_percentile() -> None:
    assert quantile(marks_of(), 0.95) is None


def test_odd_durations_have_a_place_too() -> None:
    assert quantile(marks_of(0.0, -1.0), 0.5) == pytest.approx(1e-5, rel=0.6)
    assert quantile(marks_of(1e12), 0.5) == pytest.approx(864_000, rel=0.2)


def test_growth_is_what_came_since_the_last_look() -> None:
    histogram, growth = Histogram(), Growth()
    histogram.add(1.0)
    assert growth.look(histogram).total() == 1

    histogram.add(1.0)
    histogram.add(5.0)

    assert growth.look(histogram).total() == 2
    assert growth.look(histogram).total() == 0


# -- slices --------------------------------------------------------------------------------------


def a_slice(begin: float, end: float, **values: object) -> Slice:
    found = Slice(begin, end, looks=10, measured=10)
    for name, value in values.items():
        setattr(found, name, value)
    return found


def test_a_slice_comes_back_from_its_text() -> None:
    whole = a_slice(
        100.0, 110.0, ended=5, failed=1, added=6, cpu=123.4, rss=10_000,
        waits=marks_of(0.1), runs=marks_of(1.0, 2.0), lags=marks_of(0.001),
        lanes={"cpu": LaneSlice(3, 4, 5)},
    )  # fmt: skip

    assert parse(whole.to_json()) == whole


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "{", '{"t":[1]}', '{"t":["NaN","x"],"n":1}',
     '{"t":[0,1],"n":[1,1,1,1],"c":[1,1,1],"w":{"x":1},"r":{},"l":{},"lanes":{}}',
     '{"t":[0,1],"n":[1,1,1,1e999],"c":[1,1,1],"w":{},"r":{},"l":{},"lanes":{}}',
     '{"t":[0,1],"n":[1,1,1,1],"c":[1,1,1],"w":[],"r":{},"l":{},"lanes":[]}'],
)  # fmt: skip
def test_what_another_version_wrote_is_left_out(text: str) -> None:
    assert parse(text) is None


# -- an answer -----------------------------------------------------------------------------------


def point(at: int, instance: str, figures: Slice, step: int = 10) -> Point:
    return Point(step, at, instance, figures.to_json())


def test_instances_are_summed_and_of_percentiles_the_worst_is_told() -> None:
    fold = Fold(10)
    lanes = {"io": LaneSlice(running=20, waiting=50, ended=7)}
    fold.add([
        point(100, "a", a_slice(100, 110, ended=7, runs=marks_of(1.0), cpu=500, lanes=lanes)),
        point(100, "b", a_slice(100, 110, ended=3, runs=marks_of(9.0), cpu=100, rss=50)),
    ])  # fmt: skip

    (found,) = fold.points()

    assert found.ended == 10
    assert found.run_p95 == pytest.approx(9.0, rel=0.13)
    assert (found.cpu, found.rss) == (60.0, 5)
    assert found.lanes["io"].model_dump() == {"running": 2.0, "waiting": 5.0, "ended": 7}
    assert found.wait_p95 is None


def test_one_instance_after_the_other_is_an_average_and_no_sum() -> None:
    fold = Fold(3600)
    fold.add([
        point(0, "a", a_slice(0, 1800, cpu=500, lanes={"io": LaneSlice(40)}), 3600),
        point(0, "b", a_slice(1800, 3600, cpu=300, lanes={"io": LaneSlice(20)}), 3600),
    ])  # fmt: skip

    (found,) = fold.points()

    assert (found.cpu, found.lanes["io"].running) == (40.0, 3.0)


def test_several_stored_points_make_one_wider_one() -> None:
    fold = Fold(300)
    fold.add(point(at, "a", a_slice(at, at + 60, ended=1), 60) for at in range(600, 1200, 60))
    fold.add([Point(60, 1200, "a", "nonsense")])

    assert [(it.at.timestamp(), it.ended) for it in fold.points()] == [(600, 5), (900, 5)]


@pytest.mark.parametrize("span", SCALES)
def test_no_answer_has_more_than_400_points(span: Span) -> None:
    scale = SCALES[span]

    assert scale.span / scale.step <= 400
    assert scale.step % scale.source == 0


# -- the service ---------------------------------------------------------------------------------

#: The beginning of an hour.
NOON = 1_782_475_200.0


@pytest.fixture
async def clock() -> Hands:
    return Hands(NOON)


@pytest.fixture
async def engine(db_path: Path, clock: Hands) -> AsyncIterator[Engine]:
    manager = TaskManager(db_path, clock=clock, io_workers=1, cpu_workers=1, enqueue_timeout=0.5)

    @manager.task
    async def work() -> None:
        return

    async with manager:
        await manager.engine.history.look()
        yield manager.engine


async def pass_by(engine: Engine, clock: Hands, seconds: float) -> None:
    """Time passes, and the history looks."""
    clock.pass_by(seconds)
    await engine.history.look()
    assert engine.history.failures == 0


async def test_an_idle_instance_writes_one_point_a_minute(engine: Engine, clock: Hands) -> None:
    await pass_by(engine, clock, 10)  # how many wait is news the first time
    for _ in range(29):
        await pass_by(engine, clock, 10)

    found = await engine.store.annals.points(10, 0.0, 99)

    assert [it.at - NOON for it in reversed(found)] == [0, 50, 110, 170, 230, 290]
    assert len(await engine.store.annals.points(60, 0.0, 99)) == 5
    assert len(await engine.store.annals.points(3600, 0.0, 99)) == 1


async def test_a_start_is_written_once_and_told(engine: Engine, clock: Hands) -> None:
    await pass_by(engine, clock, 100)

    (found,) = await engine.store.annals.points(START, 0.0, 99)
    told = (await look_back(engine, "15m")).restarts

    assert (found.at, found.instance) == (NOON, engine.instance)
    assert [moment.timestamp() for moment in told] == [NOON]


async def test_what_happens_is_counted_in_its_ten_seconds_minute_and_hour(
    db_path: Path, clock: Hands
) -> None:
    manager = TaskManager(db_path, clock=clock, io_workers=1, cpu_workers=1)

    @manager.task
    async def fine() -> None:
        return

    @manager.task
    async def broken() -> None:
        raise ConnectionError("nobody answers")

    async with manager:
        engine = manager.engine
        await engine.history.look()
        for _ in range(3):
            await manager.enqueue(fine)
        await manager.enqueue(broken)
        await manager.join()
        await pass_by(engine, clock, 10)
        await manager.enqueue(fine)
        await manager.join()
        await pass_by(engine, clock, 60)

        spans: tuple[Span, ...] = ("15m", "6h", "30d")
        answers = {span: await look_back(engine, span) for span in spans}

    fine_points = [(it.added, it.ended, it.failed) for it in answers["15m"].points]
    assert fine_points == [(4, 4, 1), (1, 1, 0)]
    assert answers["15m"].points[0].lanes["async"].ended == 4
    assert answers["15m"].points[0].wait_p95 is not None
    assert [(it.added, it.ended) for it in answers["6h"].points] == [(5, 5)]
    assert [(it.added, it.ended) for it in answers["30d"].points] == [(5, 5)]


async def test_points_are_kept_for_as_long_as_their_width_says(
    engine: Engine, clock: Hands
) -> None:
    await pass_by(engine, clock, 70)
    await pass_by(engine, clock, 6 * 3600 + 60)
    assert NOON not in await moments(engine, 10)
    assert NOON in await moments(engine, 60)

    await pass_by(engine, clock, 8 * 86_400)

    assert NOON not in await moments(engine, 60)
    assert {NOON} == await moments(engine, START) < await moments(engine, 3600)

    await pass_by(engine, clock, 401 * 86_400)

    assert NOON not in await moments(engine, START) | await moments(engine, 3600)


async def test_a_crowd_of_instances_that_start_and_die_leaves_no_more_than_so_many_points(
    engine: Engine,
) -> None:
    assert isinstance(engine.store.annals, SQLiteAnnals)
    annals = SQLiteAnnals(engine.store.annals._access, most_points=3)

    for at in range(100, 200, 10):
        await annals.put_points([Point(10, at, f"number {at}", "{}")], {10: 0.0})

    assert [it.at for it in await annals.points(10, 0.0, 99)] == [190, 180, 170, 160]


async def moments(engine: Engine, step: int) -> set[float]:
    return {point.at for point in await engine.store.annals.points(step, 0.0, 999)}


async def test_a_locked_store_costs_points_and_nothing_else(
    engine: Engine, clock: Hands, db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(db_path):
        for _ in range(2):
            await pass_by(engine, clock, 60)

    await pass_by(engine, clock, 60)

    assert caplog.text.count("leaves out points") == 1
    hour = await engine.store.annals.points(3600, 0.0, 99)
    assert len(hour) == 1
    whole = parse(hour[0].figures)
    assert whole is not None
    assert whole.end - whole.begin >= 120


async def test_a_clock_that_is_set_anywhere_stops_nothing(engine: Engine, clock: Hands) -> None:
    for at in (NOON - 86_400, NOON + 30 * 86_400, NOON + 5):
        clock.set_to(at)
        await engine.history.look()
    await pass_by(engine, clock, 60)

    assert engine.history.failures == 0
    assert (await look_back(engine, "1h")).points


@pytest.mark.parametrize("seconds", [0.9, 11, 75])
async def test_a_clock_that_is_set_back_wipes_out_nothing(
    db_path: Path, clock: Hands, seconds: float
) -> None:
    manager = TaskManager(db_path, clock=clock, io_workers=1, cpu_workers=1)

    @manager.task
    async def fine() -> None:
        return

    async def work_until(moment: float) -> None:
        await manager.enqueue(fine)
        await manager.join()
        clock.set_to(moment)
        await manager.engine.history.look()

    async with manager:
        annals = manager.engine.store.annals
        clock.set_to(NOON + 3480)
        await manager.engine.history.look()
        for at in range(3490, 3601, 10):
            await work_until(NOON + at + 0.5)
        before = await counted(annals)

        await work_until(NOON + 3600.5 - seconds)
        for at in (3610, 3680, 3690):
            await work_until(NOON + at)
        after = await counted(annals)

    assert before
    assert [key for key in before if after[key] < before[key]] == []
    for step in (10, 60, 3600):
        # The last slice is not over yet.
        assert sum(ended for (width, _), ended in after.items() if width == step) == 16


async def counted(annals: Annals) -> dict[tuple[int, int], int]:
    """What ended, by the width and the beginning of a point."""
    found = {}
    for step in (10, 60, 3600):
        for point in await annals.points(step, 0.0, 999):
            figures = parse(point.figures)
            assert figures is not None
            found[step, point.at] = figures.ended
    return found


async def test_a_clock_that_goes_to_and_fro_costs_no_memory(engine: Engine, clock: Hands) -> None:
    for hour in range(50):
        clock.set_to(NOON + (hour * 17) % 50 * 3600)
        await engine.history.look()

    kept = [len(slices) for slices in engine.history._recent.values()]
    assert kept == [REMEMBERED] * 3


# -- the answer ----------------------------------------------------------------------------------


async def test_what_was_written_while_a_clock_was_ahead_is_not_told(
    engine: Engine, clock: Hands
) -> None:
    ahead = [int(NOON) + 10 * n for n in range(-3, 2000)]
    figures = a_slice(0, 10, ended=1)
    await engine.store.annals.put_points([point(at, "a", figures) for at in ahead], {})
    await engine.store.annals.put_points([Point(START, int(NOON) + 99, "a", "{}")], {})

    found = await look_back(engine, "15m")

    assert [it.at.timestamp() - NOON for it in found.points] == [-30, -20, -10, 0]
    assert [it.timestamp() - NOON for it in found.restarts] == [0]


@pytest.mark.parametrize("page", [3, 4, 5, 7, 1000])
async def test_many_instances_are_told_of_from_the_beginning_of_the_span(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """Four of them: pages end within a moment, between two, and after the last."""
    monkeypatch.setattr(history_routes, "PAGE", page)
    await put_crowd(engine)

    found = await look_back(engine, "15m")

    assert len(found.points) == 90
    # A page that holds less than one moment cannot tell where to go on.
    assert {it.ended for it in found.points} == {3 if page == 3 else 4}
    assert found.since == found.points[0].at


@pytest.mark.parametrize("most", [6, 50, 101, 358])
async def test_what_is_more_than_an_answer_may_hold_is_cut_where_nothing_is_missing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(history_routes, "PAGE", 5)
    monkeypatch.setattr(history_routes, "MOST_POINTS", most)
    await put_crowd(engine)

    found = await look_back(engine, "15m")

    assert 1 <= len(found.points) < 90
    assert {it.ended for it in found.points} == {4}
    assert found.since == found.points[0].at


async def put_crowd(engine: Engine) -> None:
    """Points of four instances from before a span of 15 minutes until now."""
    figures = a_slice(0, 10, ended=1)
    for at in range(int(NOON) - 1000, int(NOON) + 1, 10):
        points = [point(at, f"number {n}", figures) for n in range(4)]
        await engine.store.annals.put_points(points, {})


async def test_it_can_be_turned_off(db_path: Path, clock: Hands) -> None:
    async with TaskManager(db_path, clock=clock, history=False) as manager:
        engine = manager.engine
        clock.pass_by(120)
        await asyncio.sleep(0)

        assert engine.history not in engine.services
        assert await engine.store.annals.points(START, 0.0, 9) == []
        assert (await look_back(engine, "15m")).points == []
