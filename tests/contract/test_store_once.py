"""What every store promises of tasks with a key of their own: one waits, and may be changed."""

from __future__ import annotations

import asyncio

import pytest

from taskflow.record import COLUMNS, AttemptRecord, Batch, TaskRecord
from taskflow.states import TaskStatus
from taskflow.stores.base import Store
from tests.contract.store_bench import NOW, Place, attempt, ids, put, stored, take, task, update


def later(number: int = 1, **values: object) -> TaskRecord:
    return task(number, **{"status": TaskStatus.SCHEDULED, "run_at": NOW + 100 + number, **values})


async def keep(store: Store, past: AttemptRecord) -> None:
    await store.commit(Batch(attempts=[past]))


async def waiting(store: Store) -> list[tuple[str, str | None]]:
    return [(record.task_id, key) for record, key in await store.scheduled(99)]


# -- putting ------------------------------------------------------------------------------------


async def test_a_task_with_a_key_waits_for_its_time(store: Store) -> None:
    assert await store.put_once("k", later(1), NOW) == (later(1).task_id, False)

    assert await store.next_due() == NOW + 101
    assert await store.promote(9, NOW + 101) == 1
    assert ids(await take(store, 9)) == ids([later(1)])


async def test_what_still_waits_is_changed_in_place(store: Store) -> None:
    await store.put_once("k", later(1), NOW)
    new = later(
        2, func_name="app:other", lane="io", queue="mail", priority=7, args='{"args":[2]}',
        run_at=NOW + 7, timeout=3.5, max_attempts=5, at_most_once=True, tags='{"a":"b"}',
        concurrency_key="c", key_limit=4, source="code",
    )  # fmt: skip

    assert await store.put_once("k", new, NOW) == (later(1).task_id, True)

    found = await stored(store, later(1).task_id)
    kept = {"task_id": later(1).task_id, "created_at": later(1).created_at}
    for name in COLUMNS:
        assert getattr(found, name) == kept.get(name, getattr(new, name)), name
    assert await waiting(store) == [(later(1).task_id, "k")]
    assert await store.next_due() == NOW + 7


async def test_it_can_be_moved_to_now(store: Store) -> None:
    await store.put_once("k", later(1), NOW)

    assert await store.put_once("k", task(2, args='{"args":[2]}'), NOW) == (task(1).task_id, True)

    [taken] = await take(store, 9)
    assert (taken.task_id, taken.args) == (task(1).task_id, '{"args":[2]}')


@pytest.mark.parametrize("first", [later(1), task(1)], ids=["scheduled", "pending"])
@pytest.mark.parametrize("second", [later(2), task(2)], ids=["scheduled", "pending"])
async def test_what_is_put_twice_is_there_once(
    store: Store, first: TaskRecord, second: TaskRecord
) -> None:
    once = await store.put_once("k", first, NOW)
    assert await store.put_once("k", first, NOW) == once == (first.task_id, False)

    moved = await store.put_once("k", second, NOW)
    assert await store.put_once("k", second, NOW) == moved

    # One that is due and waits for a slot has not started, and is moved as well.
    assert moved == (first.task_id, True)
    assert await store.counts() == {second.status: 1}


async def test_what_was_put_is_not_put_again_when_it_has_run_meanwhile(store: Store) -> None:
    """The answer was lost, and the task was quicker than the second try."""
    await store.put_once("k", later(1), NOW)
    await store.put_once("k", task(2), NOW)
    [held] = await take(store, 9)
    held.status, held.owner, held.ended_at = TaskStatus.SUCCESS, None, NOW + 1
    await update(store, held)

    assert await store.put_once("k", task(2), NOW) == (task(1).task_id, True)

    assert await store.counts() == {TaskStatus.SUCCESS: 1}


@pytest.mark.parametrize("state", ["claimed", "cancelled", "done"])
async def test_what_does_not_wait_any_more_is_left_alone(store: Store, state: str) -> None:
    await store.put_once("k", later(1), NOW)
    if state == "cancelled":
        await store.cancel(later(1).task_id, NOW)
    else:
        await store.promote(9, NOW + 500)
    if state in {"claimed", "done"}:
        [held] = await take(store, 9)
        if state == "done":
            held.status, held.owner, held.ended_at = TaskStatus.SUCCESS, None, NOW + 1
            await update(store, held)
    before = await stored(store, later(1).task_id)

    assert await store.put_once("k", later(2, args="[2]"), NOW) == (later(2).task_id, False)

    after = await stored(store, later(1).task_id)
    assert (after.status, after.args, after.run_at) == (before.status, before.args, before.run_at)
    assert await waiting(store) == [(later(2).task_id, "k")]
    assert (await store.put_once("k", later(3), NOW))[0] == later(2).task_id


async def test_a_task_that_ran_and_waits_again_is_left_alone(store: Store) -> None:
    await store.put_once("k", task(1), NOW)
    [held] = await take(store, 9)
    # It was snoozed, which costs no attempt.
    held.status, held.owner, held.run_at = TaskStatus.SCHEDULED, None, NOW + 50
    from_its_past = attempt(held.task_id, outcome="snoozed")
    await update(store, held)
    await keep(store, from_its_past)

    assert await store.put_once("k", later(2), NOW) == (later(2).task_id, False)

    assert (await stored(store, task(1).task_id)).run_at == NOW + 50


async def test_keys_do_not_disturb_each_other(store: Store) -> None:
    keys = ["k", "K", "k\0", "", "käse"]
    for number, key in enumerate(keys):
        assert await store.put_once(key, later(number), NOW) == (later(number).task_id, False)

    assert await waiting(store) == [(later(n).task_id, key) for n, key in enumerate(keys)]


async def test_instances_that_put_at_once_leave_one_that_waits(place: Place) -> None:
    stores = [await place.open(f"i-{n}") for n in range(6)]

    answers = await asyncio.gather(
        *(one.put_once("k", later(n), NOW) for n, one in enumerate(stores))
    )

    [task_id] = {task_id for task_id, _ in answers}
    assert [moved for _, moved in answers].count(False) == 1
    assert await waiting(stores[0]) == [(task_id, "k")]


async def test_what_is_moved_to_now_keeps_to_the_limit_of_its_concurrency_key(
    store: Store,
) -> None:
    await put(store, task(8, concurrency_key="c"), task(9, concurrency_key="c"))
    assert ids(await take(store, 9)) == ids([task(8)])
    await store.put_once("k", later(1), NOW)

    await store.put_once("k", task(2, concurrency_key="c"), NOW)

    assert await take(store, 9) == []


async def test_text_that_cannot_be_stored_is_escaped(store: Store) -> None:
    for number in (1, 2):
        await store.put_once("k", later(number, args=f'["\udc80{number}"]'), NOW)

    assert (await stored(store, later(1).task_id)).args == '["\\udc802"]'


# -- cancelling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("due", [False, True])
async def test_what_waits_can_be_cancelled_by_its_key(store: Store, due: bool) -> None:
    await store.put_once("k", later(1), NOW)
    if due:
        await store.promote(9, NOW + 500)

    assert await store.cancel_once("k", NOW + 600) == later(1).task_id

    found = await stored(store, later(1).task_id)
    assert (found.status, found.ended_at) == (TaskStatus.CANCELLED, NOW + 600)
    assert (await take(store, 9), await waiting(store)) == ([], [])
    assert await store.cancel_once("k", NOW + 601) is None
    assert await store.put_once("k", later(2), NOW) == (later(2).task_id, False)


async def test_what_somebody_holds_is_not_cancelled_by_its_key(store: Store) -> None:
    await store.put_once("k", task(1), NOW)
    await take(store, 9)

    assert await store.cancel_once("k", NOW) is None
    assert await store.cancel_once("unknown", NOW) is None
    assert (await stored(store, task(1).task_id)).status is TaskStatus.PENDING


# -- listing and pruning -------------------------------------------------------------------------


async def test_all_scheduled_tasks_are_listed_by_their_time(store: Store) -> None:
    await put(store, later(3), task(4), task(5, status=TaskStatus.RETRYING, run_at=NOW + 1))
    await store.put_once("b", later(2), NOW)
    await store.put_once("a", later(1), NOW)

    assert await waiting(store) == [
        (later(1).task_id, "a"), (later(2).task_id, "b"), (later(3).task_id, None),
    ]  # fmt: skip
    [(first, _)] = await store.scheduled(1)
    assert (first.run_at, first.status) == (NOW + 101, TaskStatus.SCHEDULED)
    assert await store.scheduled(-1) == []


async def test_a_pruned_task_frees_its_key(store: Store) -> None:
    await store.put_once("k", later(1), NOW)
    await store.put_once("other", later(3), NOW)
    await store.cancel_once("k", NOW)
    assert await store.prune({TaskStatus.CANCELLED: NOW + 1}, 9) == 1

    # An id that is used again has nothing to do with the key any more.
    await put(store, later(1))
    assert await waiting(store) == [(later(1).task_id, None), (later(3).task_id, "other")]
    assert await store.put_once("k", later(2), NOW) == (later(2).task_id, False)
