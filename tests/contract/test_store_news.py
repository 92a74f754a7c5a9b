"""What every store promises of news: who looks hears of every change, whoever made it."""

from __future__ import annotations

import pytest

from taskflow.record import Batch, LogLine
from taskflow.states import TaskStatus
from taskflow.stores.base import Store
from taskflow.stores.news import Delta, Position
from tests.contract.store_bench import NOW, Place, ids, put, running, stored, task, update

SOON = NOW + 60


async def news(store: Store, position: Position, limit: int = 100) -> Delta:
    delta = await store.news.since(position, limit)
    assert delta is not None
    return delta


async def test_nothing_happened_is_told_as_nothing(store: Store) -> None:
    await put(store, task(1))

    position = await store.news.watch(SOON, NOW)

    assert await news(store, position) == Delta(position, [], [], frozenset(), 0)


async def test_new_tasks_changes_lines_and_deletions_of_another_instance_are_told(
    place: Place,
) -> None:
    mine, other = await place.open("mine"), await place.open("other")
    old = running(1, owner="other", args="{}", result="1", stacktrace="a trace")
    gone = task(2, status=TaskStatus.SUCCESS, ended_at=NOW)
    await put(other, old, gone, task(3))
    position = await mine.news.watch(SOON, NOW)

    old.status, old.owner, old.error = TaskStatus.FAILED, None, "E: no"
    await update(other, old)
    await put(other, task(4))
    await other.commit(Batch(logs=[LogLine(task(3).task_id, 1, NOW, "info", "hello")]))
    await other.prune({TaskStatus.SUCCESS: NOW + 1}, 10)
    delta = await news(mine, position)

    # Where some were deleted, more may be told than changed.
    assert {task(1).task_id, task(4).task_id} <= set(ids(delta.tasks))
    assert delta.gone == ids([task(2)])
    assert task(3).task_id in delta.grown
    assert delta.more == 0
    changed = next(it for it in delta.tasks if it.task_id == old.task_id)
    assert (changed.status, changed.error) == (TaskStatus.FAILED, "E: no")
    assert (changed.args, changed.result, changed.stacktrace) == ("", None, None)
    assert (await news(mine, delta.position)).tasks == []


async def test_changes_that_no_update_of_a_record_makes_are_told_too(store: Store) -> None:
    await put(
        store,
        task(1, status=TaskStatus.SCHEDULED, run_at=NOW),
        task(2),
        task(3, status=TaskStatus.FAILED, ended_at=NOW),
        task(4, func_name="app:unknown"),
    )
    position = await store.news.watch(SOON, NOW)

    await store.promote(10, NOW)
    await store.cancel(task(2).task_id, NOW)
    await store.revive(task(3).task_id, NOW)
    await store.claim("async", 1, {"app:other"}, NOW)  # which parks what it does not know

    told = {it.task_id: it for it in (await news(store, position)).tasks}
    assert sorted(told) == ids([task(1), task(2), task(3), task(4)])
    assert told[task(2).task_id].status is TaskStatus.CANCELLED
    assert "no function" in (told[task(4).task_id].error or "")


async def test_of_a_crowd_so_many_are_told_as_were_asked_for_and_how_many_are_missing(
    store: Store,
) -> None:
    await put(store, *(task(number) for number in range(1, 6)))
    position = await store.news.watch(SOON, NOW)
    await put(store, *(task(number) for number in range(6, 10)))
    for number in range(1, 6):
        await store.cancel(task(number).task_id, NOW)

    delta = await news(store, position, limit=6)

    assert len(delta.tasks) == 6
    assert delta.more == 3


async def test_a_new_task_that_got_the_number_of_a_deleted_one_is_told(store: Store) -> None:
    await put(store, task(1), task(2, status=TaskStatus.SUCCESS, ended_at=NOW))
    position = await store.news.watch(SOON, NOW)

    await store.prune({TaskStatus.SUCCESS: NOW + 1}, 10)
    await put(store, task(3))
    delta = await news(store, position)

    assert task(3).task_id in ids(delta.tasks)
    assert delta.gone == ids([task(2)])


async def test_a_clock_that_was_ahead_does_not_keep_the_news_going(store: Store) -> None:
    day = 86_400.0
    await store.news.watch(SOON + day, NOW + day)
    position = await store.news.watch(SOON, NOW)  # the clock was set right

    await store.news.unwatch(SOON)

    assert await store.news.since(position, 10) is None


async def test_what_a_dead_one_with_a_clock_ahead_left_behind_ends_as_well(store: Store) -> None:
    day = 86_400.0
    position = await store.news.watch(SOON + day, NOW + day)

    await store.news.expire(NOW)

    assert await store.news.since(position, 10) is None


async def test_nobody_knows_what_happened_while_nobody_looked(store: Store) -> None:
    await put(store, task(1))
    position = await store.news.watch(SOON, NOW)
    await store.news.unwatch(SOON)
    await store.cancel(task(1).task_id, NOW)

    assert await store.news.since(position, 10) is None
    again = await store.news.watch(SOON, NOW)
    assert await store.news.since(position, 10) is None
    assert again.epoch > position.epoch
    assert (await news(store, again)).tasks == []


async def test_one_that_looks_no_more_does_not_speak_for_the_others(place: Place) -> None:
    mine, other = await place.open("mine"), await place.open("other")
    position = await mine.news.watch(SOON + 1, NOW)
    assert await other.news.watch(SOON, NOW) == position

    await other.news.unwatch(SOON)
    await put(other, task(1))

    assert ids((await news(mine, position)).tasks) == ids([task(1)])


async def test_what_a_dead_one_left_behind_ends_by_itself(store: Store) -> None:
    position = await store.news.watch(SOON, NOW)

    await store.news.expire(SOON - 1)
    assert await store.news.since(position, 10) is not None
    await store.news.expire(SOON + 1)

    assert await store.news.since(position, 10) is None


async def test_while_nobody_looks_nothing_is_written_down(store: Store) -> None:
    before = await store.news.watch(SOON, NOW)
    await store.news.unwatch(SOON)
    await put(store, task(1))
    await store.cancel(task(1).task_id, NOW)

    after = await store.news.watch(SOON, NOW)

    assert after.change == before.change
    assert (await stored(store, task(1).task_id)).status is TaskStatus.CANCELLED


@pytest.mark.parametrize(
    "position",
    [Position(0, 0, 0, 0), Position(1, 9**17, 0, 0), Position(9, 0, 0, 0)],
    ids=["before the first", "in the future", "of another time"],
)
async def test_a_position_that_never_was_is_not_known(store: Store, position: Position) -> None:
    await store.news.watch(SOON, NOW)

    assert await store.news.since(position, 10) is None


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2.3", "1.2.3.4.5", "-1.2.3.4", "a.b.c.d", "1.2.3.\u0664", "9" * 30 + ".1.1.1"],
)
def test_a_text_that_is_no_position_is_none(text: str) -> None:
    assert Position.read(text) is None


def test_a_position_can_be_read_back() -> None:
    position = Position(1, 2, 3, 4)

    assert Position.read(str(position)) == position
