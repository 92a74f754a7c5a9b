"""What every store promises of queues: what a claim takes of each and says is left, the backlog."""

from __future__ import annotations

import random

import pytest

from taskflow.record import TaskRecord
from taskflow.states import TaskStatus
from taskflow.stores.base import Claimed, Store, Waiting
from tests.contract.store_bench import (
    NAMES,
    NOW,
    Place,
    ids,
    left,
    put,
    put_keyed,
    take,
    task,
    update,
    waiting,
)


def mail(number: int, **values: object) -> TaskRecord:
    return task(number, queue="mail", **values)


def numbers(records: list[TaskRecord]) -> list[int]:
    return [int(record.task_id.removeprefix("0190-")) for record in records]


# -- what is taken ------------------------------------------------------------------------------


async def test_the_order_goes_over_all_queues(store: Store) -> None:
    await put(
        store, task(1), mail(2, priority=3), task(3, priority=3), mail(4), mail(5, priority=9)
    )

    assert numbers(await take(store, 3)) == [5, 2, 3]
    assert numbers(await take(store, 3)) == [1, 4]


async def test_the_order_holds_over_many_queues_and_claims(store: Store) -> None:
    draw = random.Random(7)
    records = [
        task(n, queue=f"q{draw.randrange(40)}", priority=draw.randrange(3)) for n in range(400)
    ]
    await put(store, *records)
    expected = numbers(sorted(records, key=lambda one: -one.priority))

    taken: list[int] = []
    while got := await take(store, draw.randrange(1, 60)):
        taken += numbers(got)

    assert taken == expected


@pytest.mark.parametrize(("places", "expected"), [(2, [1, 2, 4, 6]), (0, [4, 6]), (-3, [4, 6])])
async def test_of_a_named_queue_only_so_many_are_taken(
    store: Store, places: int, expected: list[int]
) -> None:
    await put(store, mail(1), mail(2), mail(3), task(4), mail(5), task(6))

    assert numbers(await take(store, 9, places={"mail": places, "unused": 1})) == expected


async def test_a_queue_with_more_places_than_the_claim_wants_gives_no_more(store: Store) -> None:
    await put(store, mail(1), task(2), mail(3), mail(4))

    assert numbers(await take(store, 2, places={"mail": 7})) == [1, 2]
    assert numbers(await take(store, 9, places={"mail": 7})) == [3, 4]


async def test_many_queues_with_one_place_each_give_one_task_each(store: Store) -> None:
    names = [f"q{n}" for n in range(30)]
    await put(store, *(task(n, queue=names[n % 30], priority=n // 30) for n in range(90)))

    got = await take(store, 100, places=dict.fromkeys(names, 1))

    assert numbers(got) == list(range(60, 90))


async def test_above_a_priority_only_higher_ones_are_taken(store: Store) -> None:
    await put(store, task(1, priority=5), mail(2, priority=6), task(3, priority=7), mail(4))

    assert numbers(await take(store, 9, above=5)) == [3, 2]
    assert numbers(await take(store, 9, above=5)) == []
    assert numbers(await take(store, 9, above=-1)) == [1, 4]


async def test_above_a_priority_the_rest_of_a_queue_stays_where_it_is(store: Store) -> None:
    await put(store, task(1, priority=6), task(2, priority=5), task(3, priority=7))

    assert numbers(await take(store, 9, above=5)) == [3, 1]


async def test_places_and_a_priority_hold_together(store: Store) -> None:
    await put(store, mail(1, priority=2), mail(2, priority=2), task(3, priority=1), task(4))

    assert numbers(await take(store, 9, places={"mail": 1}, above=0)) == [1, 3]


# -- what is left -------------------------------------------------------------------------------


async def test_nothing_is_left_where_nothing_waits(store: Store) -> None:
    await put(store, task(1, lane="io"), task(2, owner="me"), task(3, status=TaskStatus.SCHEDULED))

    assert await store.claim("async", 5, NAMES, NOW) == Claimed([], {})


async def test_what_is_left_is_told_with_the_highest_priority_of_each_queue(store: Store) -> None:
    await put(
        store, task(1, priority=9), task(2, priority=4), task(3), mail(4), mail(5, priority=-2),
        task(6, queue="closed", priority=7), task(7, queue="closed", priority=8),
    )  # fmt: skip

    claimed = await store.claim("async", 1, NAMES, NOW, places={"closed": 0})

    assert numbers(claimed.tasks) == [1]
    assert claimed.left == {"default": 4, "mail": 0, "closed": 8}


async def test_a_queue_that_was_emptied_is_not_left(store: Store) -> None:
    await put(store, task(1), mail(2))

    assert (await store.claim("async", 2, NAMES, NOW)).left == {}


async def test_what_was_not_above_the_priority_is_left(store: Store) -> None:
    await put(store, task(1, priority=1), mail(2, priority=5))

    assert (await store.claim("async", 9, NAMES, NOW, above=3)).left == {"default": 1}


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_claim_of_nothing_only_says_what_is_left(store: Store, limit: int) -> None:
    await put(store, task(1, priority=2))

    assert await store.claim("async", limit, NAMES, NOW) == Claimed([], {"default": 2})
    assert numbers(await take(store, 1)) == [1]


@pytest.mark.parametrize("bounds", [{"places": {"default": 0}}, {"above": 100}])
async def test_tasks_that_this_instance_cannot_run_are_not_left(
    store: Store, bounds: dict[str, object]
) -> None:
    """Not even where nothing is to be taken; or whoever has room would come again and again."""
    await put(store, *(task(n, func_name="gone:f", priority=9) for n in range(700)))
    await put(store, task(1000, priority=1), task(1001, func_name="gone:f"))

    claimed = await store.claim("async", 5, NAMES, NOW, **bounds)  # type: ignore[arg-type]

    assert claimed == Claimed([], {"default": 1})
    assert numbers(await take(store, 5)) == [1000]
    assert await left(store) == {}


async def test_tasks_of_unknown_functions_hide_nobody_in_any_queue(store: Store) -> None:
    """With one place in a queue, the one behind them that has it next must not be overtaken."""
    await put(store, *(mail(n, func_name="gone:f", priority=9) for n in range(600)))
    await put(store, mail(1000, priority=5), mail(1001, priority=5), task(1002), task(1003))

    claimed = await store.claim("async", 2, NAMES, NOW, places={"mail": 1})

    assert numbers(claimed.tasks) == [1000, 1002]
    assert claimed.left == {"mail": 5, "default": 0}


async def test_nobody_is_overtaken_behind_a_task_that_cannot_be_taken(store: Store) -> None:
    await put(store, *(task(n, func_name="gone:f", priority=9) for n in range(3)))
    await put(store, mail(10, func_name="gone:f", priority=5), mail(11, priority=4))
    await put(store, task(20), task(21), task(22))

    assert numbers(await take(store, 2, places={"mail": 1})) == [11, 20]


async def test_while_a_queue_is_left_a_claim_gets_nearer_to_what_can_be_taken(
    store: Store,
) -> None:
    count = 7000
    await put(store, *(task(n, func_name="gone:f") for n in range(count)))
    await put(store, task(count))

    claimed = await store.claim("async", 5, NAMES, NOW)
    for _ in range(count):
        if claimed.tasks or not claimed.left:
            break
        claimed = await store.claim("async", 5, NAMES, NOW)

    assert numbers(claimed.tasks) == [count]
    assert claimed.left == {}


async def test_instances_with_different_functions_get_all_tasks_between_them(
    place: Place, store: Store
) -> None:
    other = await place.open("other")
    await put(store, *(task(n, func_name=f"app:{n % 2}") for n in range(10)))

    assert len(await take(store, 99, names={"app:0"})) == 5
    await other.unpark({"app:1"})
    assert len(await take(other, 99, names={"app:1"})) == 5


# -- backlog ------------------------------------------------------------------------------------


async def test_the_backlog_tells_lanes_and_queues_apart(store: Store) -> None:
    assert await store.backlog() == {}
    await put(
        store, task(1), mail(2), mail(3), mail(4, lane="io"), task(5, lane="cpu", queue="a"),
        task(6, lane="cpu", queue="b"), task(7, owner="me"), task(8, status=TaskStatus.FAILED),
    )  # fmt: skip

    assert await waiting(store) == {
        ("async", "default"): 1,
        ("async", "mail"): 2,
        ("io", "mail"): 1,
        ("cpu", "a"): 1,
        ("cpu", "b"): 1,
    }


async def test_the_age_of_the_backlog_is_that_of_the_first_of_the_outermost_priorities(
    store: Store,
) -> None:
    await put(
        store,
        task(1, created_at=NOW + 1, priority=5),
        task(2, created_at=NOW + 2, priority=9),
        task(3, created_at=NOW + 3, priority=1),
        task(4, created_at=NOW + 4, priority=1),
    )
    place = ("async", "default")

    assert (await store.backlog())[place] == Waiting(4, NOW + 2)
    await take(store, 1)
    assert (await store.backlog())[place] == Waiting(3, NOW + 1)
    await take(store, 1)
    assert (await store.backlog())[place] == Waiting(2, NOW + 3)


async def test_a_task_that_was_due_later_counts_as_waiting_from_then(store: Store) -> None:
    await put(store, task(1, status=TaskStatus.SCHEDULED, created_at=NOW, run_at=NOW + 50))
    await store.promote(5, NOW + 60)

    assert await store.backlog() == {("async", "default"): Waiting(1, NOW + 50)}


async def test_the_backlog_counts_apart_what_nobody_may_claim(store: Store) -> None:
    await put(
        store,
        task(1, concurrency_key="k", created_at=NOW),
        task(2, concurrency_key="k", created_at=NOW + 7),
        task(3, func_name="gone:f", created_at=NOW + 8),
        task(4, func_name="gone:f", created_at=NOW + 9),
        task(5, created_at=NOW + 10),
        mail(6, func_name="gone:f", created_at=NOW + 11),
    )

    assert ids(await take(store, 1)) == ids([task(1)])
    await store.claim("async", 1, NAMES, NOW, places={"mail": 0})

    assert await store.backlog() == {
        ("async", "default"): Waiting(0, NOW + 7, blocked=1, parked=2),
        ("async", "mail"): Waiting(0, NOW + 11, parked=1),
    }
    await put(store, task(7, created_at=NOW + 12))
    assert (await store.backlog())["async", "default"] == Waiting(1, NOW + 12, 1, 2)


# -- controls -----------------------------------------------------------------------------------


async def test_controls_are_kept_for_all_until_they_are_removed(place: Place, store: Store) -> None:
    other = await place.open("other")
    assert await store.controls() == {}

    await store.set_control("lane", "io", '{"limit":3}', NOW)
    await other.set_control("queue", "io", '{"paused":true}', NOW)
    await other.set_control("lane", "io", '{"limit":4}', NOW + 1)

    expected = {("lane", "io"): '{"limit":4}', ("queue", "io"): '{"paused":true}'}
    assert await store.controls() == expected
    assert await other.controls() == expected
    await store.set_control("lane", "io", None, NOW + 2)
    await store.set_control("lane", "never set", None, NOW + 2)
    assert await other.controls() == {("queue", "io"): '{"paused":true}'}


async def test_a_control_is_still_there_after_closing_and_noticed_by_others(
    place: Place, store: Store
) -> None:
    other = await place.open("other")
    await store.changed()

    await other.set_control("queue", "q\0'; --", "{}", NOW)
    await other.close()

    assert await store.changed()
    assert await store.controls() == {("queue", "q\0'; --"): "{}"}


# -- together with the rest ---------------------------------------------------------------------


async def test_a_queue_of_any_name_can_be_bounded(store: Store) -> None:
    odd = "a\"b'c\0d [🦊]"
    await put(store, task(1, queue=odd), task(2, queue=odd), task(3))

    claimed = await store.claim("async", 9, NAMES, NOW, places={odd: 1})

    assert numbers(claimed.tasks) == [1, 3]
    assert claimed.left == {odd: 0}


async def test_a_key_that_is_added_again_moves_to_its_new_queue(store: Store) -> None:
    await put(store, task(1, status=TaskStatus.FAILED, queue="old"))

    await put_keyed(store, mail(1, idempotency_key="k"))

    assert await left(store) == {"mail": 0}


async def test_a_task_that_was_given_back_is_again_the_first_of_its_queue(store: Store) -> None:
    await put(store, mail(1), mail(2))
    [taken] = await take(store, 1)
    taken.owner = None

    await update(store, taken)

    assert numbers(await take(store, 2)) == [1, 2]
