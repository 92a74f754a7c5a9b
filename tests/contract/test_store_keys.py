"""What every store promises of concurrency keys: never too many at a time, never one forgotten."""

from __future__ import annotations

import asyncio

import pytest

from taskflow.record import Batch, LogLine, TaskRecord, insert_row, update_row
from taskflow.states import FINAL, TIMED, TaskStatus
from taskflow.stores.base import Claimed, Store
from tests.contract.store_bench import (
    NAMES,
    NOW,
    Place,
    ids,
    left,
    put,
    put_keyed,
    stored,
    survivor_of,
    take,
    task,
    update,
)


def keyed(number: int, limit: int = 1, **values: object) -> TaskRecord:
    return task(number, concurrency_key="k", key_limit=limit, **values)


async def give_up(store: Store, *held: TaskRecord, status: TaskStatus = TaskStatus.SUCCESS) -> None:
    """The end of an attempt, as its owner commits it."""
    for record in held:
        record.status, record.owner = status, None
        record.ended_at = NOW + 9 if status in FINAL else None
        record.run_at = NOW + 99 if status in TIMED else None
    assert not (await update(store, *held)).refused


# -- the limit ----------------------------------------------------------------------------------


async def test_so_many_tasks_with_a_key_are_taken_as_may_run_at_a_time(store: Store) -> None:
    await put(store, *(keyed(n, limit=3) for n in range(10)), task(50))

    assert ids(await take(store, 20)) == ids([keyed(0), keyed(1), keyed(2), task(50)])
    assert await store.claim("async", 20, NAMES, NOW) == Claimed([], {})


async def test_the_limit_holds_over_claims_lanes_queues_and_instances(
    place: Place, store: Store
) -> None:
    other = await place.open("other")
    await put(store, keyed(1, 2), keyed(2, 2, lane="io"), keyed(3, 2, queue="mail"))

    assert len(await take(other, 1, lane="io")) == 1
    assert len(await take(store, 1)) == 1
    assert await take(other, 9) == []
    assert await take(store, 9) == []


async def test_instances_that_claim_at_once_keep_the_limit_together(
    place: Place, store: Store
) -> None:
    others = [await place.open(f"other-{n}") for n in range(3)]
    await put(store, *(keyed(n, limit=5) for n in range(40)))

    taken = await asyncio.gather(*(take(one, 3) for one in (store, *others)))

    assert sum(map(len, taken)) == 5


async def test_different_keys_and_tasks_without_one_do_not_hinder_each_other(store: Store) -> None:
    await put(
        store, task(1, concurrency_key="a"), task(2, concurrency_key="b"),
        task(3, concurrency_key="a\0"), task(4, concurrency_key=""), task(5), task(6),
        task(7, concurrency_key="a"), task(8, concurrency_key="a\0"), task(9, concurrency_key=""),
    )  # fmt: skip

    assert len(await take(store, 20)) == 6
    assert await left(store) == {}


async def test_blocked_tasks_hide_nobody(store: Store) -> None:
    await put(store, keyed(0, priority=9), *(keyed(n, priority=5) for n in range(1, 1200)))
    await put(store, task(2000), task(2001, queue="mail"))

    assert ids(await take(store, 1)) == ids([keyed(0)])
    claimed = await store.claim("async", 1, NAMES, NOW)

    assert ids(claimed.tasks) == ids([task(2000)])
    assert claimed.left == {"mail": 0}


async def test_blocked_tasks_take_no_places_of_their_queue(store: Store) -> None:
    await put(store, keyed(1), keyed(2), task(3), task(4, queue="mail"))

    claimed = await store.claim("async", 9, NAMES, NOW, places={"default": 2, "mail": 1})

    assert ids(claimed.tasks) == ids([keyed(1), task(3), task(4)])


@pytest.mark.parametrize("bounds", [{"places": {"default": 0}}, {"above": 100}])
async def test_tasks_whose_key_is_taken_are_not_left_even_where_nothing_is_to_be_taken(
    store: Store, bounds: dict[str, object]
) -> None:
    await put(store, keyed(0), *(keyed(n) for n in range(1, 600)), task(1000, priority=-3))
    await take(store, 1)

    claimed = await store.claim("async", 9, NAMES, NOW, **bounds)  # type: ignore[arg-type]

    assert claimed == Claimed([], {"default": -3})


async def test_while_a_queue_is_left_a_claim_gets_nearer_to_what_is_not_blocked(
    store: Store,
) -> None:
    count = 7000
    await put(store, *(keyed(n) for n in range(count)), task(count))

    claimed = await store.claim("async", 500, NAMES, NOW)
    taken = claimed.tasks
    for _ in range(count):
        if not claimed.left:
            break
        claimed = await store.claim("async", 500, NAMES, NOW)
        taken += claimed.tasks

    assert ids(taken) == ids([keyed(0), task(count)])


async def test_tasks_with_one_key_and_different_limits_keep_each_its_own(store: Store) -> None:
    await put(store, keyed(1, 3), keyed(2, 1), keyed(3, 3), keyed(4, 3), keyed(5, 3), keyed(6, 1))

    first = await take(store, 9)
    assert ids(first) == ids([keyed(1), keyed(3), keyed(4)])

    await give_up(store, first[0])
    second = await take(store, 9)
    assert ids(second) == ids([keyed(5)])
    await give_up(store, *first[1:], *second)
    third = await take(store, 9)
    assert ids(third) == ids([keyed(2)])
    await give_up(store, *third)
    assert ids(await take(store, 9)) == ids([keyed(6)])


# -- waking the next ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", [*sorted(FINAL), TaskStatus.RETRYING, TaskStatus.SCHEDULED, TaskStatus.PENDING]
)
async def test_who_loses_its_owner_lets_the_next_go(store: Store, status: TaskStatus) -> None:
    await put(store, keyed(1, priority=-1), keyed(2, priority=-9))
    [held] = await take(store, 1)
    assert await take(store, 1) == []

    await give_up(store, held, status=status)

    # What was handed back comes first again, by its priority.
    expected = keyed(1) if status is TaskStatus.PENDING else keyed(2)
    assert ids(await take(store, 9)) == ids([expected])


@pytest.mark.parametrize("count", [1, 5, 60, 600])
@pytest.mark.parametrize("beside", ["nothing", "new", "lines", "keys"])
async def test_the_next_go_whatever_else_is_in_the_commit(
    store: Store, count: int, beside: str
) -> None:
    waiting_for = [task(n, concurrency_key=f"k{n % count}") for n in range(2 * count)]
    await put(store, *waiting_for)
    held = await take(store, 2 * count)
    assert ids(held) == ids(waiting_for[:count])
    for record in held:
        record.status, record.owner, record.ended_at = TaskStatus.SUCCESS, None, NOW
    batch = Batch(updates=[update_row(record) for record in held])
    if beside == "new":
        batch.inserts.append(insert_row(task(9000, lane="io")))
    elif beside == "lines":
        batch.logs.append(LogLine(held[0].task_id, 1, NOW, "info", "x"))
    elif beside == "keys":
        batch.keyed.append(insert_row(task(9000, lane="io", idempotency_key="i")))

    assert not (await store.commit(batch)).refused

    assert ids(await take(store, 2 * count)) == ids(waiting_for[count:])


@pytest.mark.parametrize("count", [1, 4, 300])
@pytest.mark.parametrize("beside", [0, 1])
async def test_a_refused_write_is_reported_however_many_are_woken(
    store: Store, count: int, beside: int
) -> None:
    """Who is woken must not make up for who is refused."""
    await put(store, *(task(n, concurrency_key=f"k{n % count}") for n in range(2 * count)))
    held = await take(store, 2 * count)
    assert len(held) == count
    late = task(5000, owner="me")
    await put(store, late)
    late.lease -= 1
    for record in (late, *held):
        record.status, record.owner = TaskStatus.SUCCESS, None

    committed = await store.commit(
        Batch(
            inserts=[insert_row(task(9000))] * beside,
            updates=[update_row(record) for record in (late, *held)],
        )
    )

    assert committed.refused == {late.task_id}
    assert (await stored(store, late.task_id)).status is TaskStatus.PENDING
    assert (await stored(store, held[-1].task_id)).status is TaskStatus.SUCCESS
    assert len(await take(store, 5000)) == count + beside


async def test_of_those_that_are_blocked_the_first_by_priority_and_arrival_goes(
    store: Store,
) -> None:
    await put(store, keyed(1), keyed(2), keyed(3, priority=-1), keyed(4))
    held = await take(store, 9)
    await put(store, keyed(5, priority=1), keyed(6, priority=1))
    assert await take(store, 9) == []

    order = ids(held)
    while held:
        await give_up(store, *held)
        held = await take(store, 9)
        assert len(held) <= 1
        order += ids(held)

    assert order == ids([keyed(n) for n in (1, 5, 6, 2, 4, 3)])


async def test_one_that_waits_where_nothing_is_taken_does_not_keep_the_others_waiting(
    store: Store,
) -> None:
    await put(store, keyed(1), keyed(2, queue="closed", priority=9), keyed(3, lane="io"), keyed(4))
    [held] = await take(store, 1, places={"closed": 0})
    assert await take(store, 9) == []
    assert await take(store, 9, lane="io") == []

    await give_up(store, held)

    claimed = await store.claim("async", 9, NAMES, NOW, places={"closed": 0})
    assert ids(claimed.tasks) == ids([keyed(4)])
    await give_up(store, *claimed.tasks)
    assert ids(await take(store, 9, lane="io")) == ids([keyed(3)])


async def test_what_a_dead_instance_held_is_free_for_the_next(place: Place) -> None:
    dead = await place.open("dead")
    await put(dead, *(keyed(n, limit=2, priority=-n) for n in range(5)))
    assert len(await take(dead, 9)) == 2
    place.backend.die(dead)
    survivor = await place.open("survivor")
    assert await take(survivor, 9) == []

    await survivor.take_over(rerun=True, max_crashes=9, now=NOW)

    assert ids(await take(survivor, 9)) == ids([keyed(0), keyed(1)])


async def test_what_was_interrupted_by_a_death_is_free_for_the_next(place: Place) -> None:
    ran = keyed(1, status=TaskStatus.RUNNING, owner="dead", at_most_once=True)
    survivor, _ = await survivor_of(place, ran)
    await put(survivor, keyed(2))

    assert ids(await take(survivor, 9)) == ids([keyed(2)])


async def test_one_that_is_cancelled_before_it_is_taken_passes_its_turn_on(store: Store) -> None:
    await put(store, keyed(1), keyed(2), keyed(3))
    [held] = await take(store, 9)
    await give_up(store, held)  # wakes the second

    assert await store.cancel(keyed(2).task_id, NOW) is TaskStatus.CANCELLED

    assert ids(await take(store, 9)) == ids([keyed(3)])


async def test_one_that_is_cancelled_while_blocked_never_runs(store: Store) -> None:
    await put(store, keyed(1), keyed(2), keyed(3))
    [held] = await take(store, 9)

    assert await store.request_cancel(keyed(2).task_id, NOW) is TaskStatus.CANCELLED
    await give_up(store, held)

    assert ids(await take(store, 9)) == ids([keyed(3)])


async def test_one_that_nobody_knows_the_function_of_passes_its_turn_on(store: Store) -> None:
    await put(store, keyed(1), keyed(2, func_name="other:f"), keyed(3))
    [held] = await take(store, 9, names={"other:f", *NAMES})
    await give_up(store, held)

    assert ids(await take(store, 9)) == ids([keyed(3)])
    await store.unpark({"other:f"})
    assert await take(store, 9, names={"other:f"}) == []


@pytest.mark.parametrize("how", ["revive", "key"])
async def test_one_that_is_run_again_waits_for_its_key_like_any_other(
    store: Store, how: str
) -> None:
    await put(store, keyed(1), keyed(2), keyed(3, priority=-1))
    [held] = await take(store, 9)
    await store.cancel(keyed(2).task_id, NOW)

    if how == "revive":
        await store.revive(keyed(2).task_id, NOW)
    else:
        await put_keyed(store, keyed(2, idempotency_key="i"))

    assert await take(store, 9) == []
    await give_up(store, held)
    assert ids(await take(store, 9)) == ids([keyed(2)])


async def test_a_retry_waits_for_its_key_again(store: Store) -> None:
    await put(store, keyed(1), keyed(2))
    [held] = await take(store, 9)
    await give_up(store, held, status=TaskStatus.RETRYING)
    [other] = await take(store, 9)

    await store.promote(9, NOW + 100)

    assert await take(store, 9) == []
    await give_up(store, other)
    assert ids(await take(store, 9)) == ids([keyed(1)])


async def test_a_long_row_of_one_key_goes_through_one_by_one(place: Place, store: Store) -> None:
    other = await place.open("other")
    await put(store, *(keyed(n, limit=2) for n in range(60)))
    taken: list[str] = []

    async def work(one: Store) -> None:
        while got := await take(one, 5):
            taken.extend(ids(got))
            await asyncio.sleep(0)
            await give_up(one, *got)

    while len(taken) < 60:
        await asyncio.gather(work(store), work(other))

    assert sorted(taken) == ids([keyed(n) for n in range(60)])


# -- who holds it -------------------------------------------------------------------------------


async def test_holders_of_a_key_are_told_with_their_functions(place: Place, store: Store) -> None:
    other = await place.open("other")
    await put(store, keyed(1, 2), keyed(2, 2, func_name="app:g"), keyed(3, 2))
    await take(other, 2, names={"app:g", *NAMES})

    assert sorted(await store.key_holders("k")) == [
        (keyed(1).task_id, "app:send"),
        (keyed(2).task_id, "app:g"),
    ]
    assert await store.key_holders("another") == []


async def test_at_most_five_holders_are_told(store: Store) -> None:
    await put(store, *(keyed(n, limit=50) for n in range(9)))
    await take(store, 9)

    assert len(await store.key_holders("k")) == 5
