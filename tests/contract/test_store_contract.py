"""What every store promises, whatever it is made of: commits, time, death, people, reading."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from taskflow.errors import StoreUnavailableError
from taskflow.record import (
    Batch,
    Committed,
    LogLine,
    TaskFilter,
    TaskRecord,
    insert_row,
    update_row,
)
from taskflow.states import FINAL, UNDONE, TaskStatus
from taskflow.stores.base import Store, TakenOver, Window
from tests.contract.store_bench import (
    NAME,
    NOW,
    Place,
    attempt,
    ids,
    put,
    put_keyed,
    running,
    stored,
    survivor_of,
    take,
    task,
    update,
    waiting,
)

# -- commit -------------------------------------------------------------------------------------


async def test_every_field_comes_back_as_it_was_committed(store: Store) -> None:
    full = TaskRecord(
        "id-1", "app:send", "io", 1.5, TaskStatus.RETRYING, '{"args":[1]}', "mail", -7, 2.25,
        3.125, 4.0625, 3, 9, 2, 12.5, at_most_once=True, idempotency_key="k", concurrency_key="c",
        key_limit=7, tags='{"a":"b"}', source="schedule", instance="i",
        owner="me", lease=4, error="e", stacktrace="s", result="null", result_error="re",
        progress='{"done":1}',
    )  # fmt: skip
    plain = task(2)

    await put(store, full, plain)

    assert dataclasses.asdict(await stored(store, "id-1")) == dataclasses.asdict(full)
    assert dataclasses.asdict(await stored(store, plain.task_id)) == dataclasses.asdict(plain)


async def test_an_unknown_id_is_none(store: Store) -> None:
    assert await store.get("nobody") is None
    assert await store.attempts("nobody") == []
    assert await store.logs("nobody", 10) == []


@pytest.mark.parametrize("count", [1, 2, 3, 100, 257, 1500])
async def test_a_batch_of_any_size_is_written_in_its_order(store: Store, count: int) -> None:
    tasks = [task(n, attempt=n % 3, tags=None if n % 2 else "{}") for n in range(count)]

    await put(store, *tasks)

    assert sum((await store.counts()).values()) == count
    claimed = await take(store, count + 1)
    assert [(r.task_id, r.attempt, r.tags) for r in claimed] == [
        (r.task_id, r.attempt, r.tags) for r in tasks
    ]


@pytest.mark.parametrize("count", [1, 5, 60, 300])
async def test_a_batch_of_everything_is_written_whole(store: Store, count: int) -> None:
    old = [running(n) for n in range(count)]
    await put(store, *old)
    for record in old:
        record.status, record.owner, record.ended_at = TaskStatus.SUCCESS, None, NOW + 9
        record.result, record.progress = "[1]", '{"done":2}'
    new = [task(1000 + n) for n in range(count)]
    keyed = [task(5000 + n, idempotency_key=str(n)) for n in range(2)]

    committed = await store.commit(
        Batch(
            inserts=[insert_row(record) for record in new],
            keyed=[insert_row(record) for record in keyed],
            updates=[update_row(record) for record in old],
            attempts=[attempt(record.task_id) for record in old],
            logs=[LogLine(record.task_id, 1, NOW, "info", "hello") for record in old],
        )
    )

    assert committed == Committed()
    assert await store.counts() == {TaskStatus.SUCCESS: count, TaskStatus.PENDING: count + 2}
    last = old[-1]
    assert dataclasses.asdict(await stored(store, last.task_id)) == dataclasses.asdict(last)
    assert len(await store.attempts(last.task_id)) == 1
    assert [line.message for line in await store.logs(last.task_id, 9)] == ["hello"]


@pytest.mark.parametrize("count", [1, 3, 40, 300])
async def test_new_tasks_and_changes_are_committed_together(store: Store, count: int) -> None:
    old = [running(n) for n in range(count)]
    await put(store, *old)
    for record in old:
        record.status, record.owner, record.error = TaskStatus.FAILED, None, "E"
        record.ended_at = NOW + 9
    # Ended before it was ever written.
    new = running(7000, result='"x"')
    new.status, new.owner, new.ended_at = TaskStatus.SUCCESS, None, NOW + 8

    committed = await store.commit(
        Batch(inserts=[insert_row(new)], updates=[update_row(record) for record in old])
    )

    assert committed == Committed()
    for record in (new, old[0], old[-1]):
        assert dataclasses.asdict(await stored(store, record.task_id)) == dataclasses.asdict(record)


async def test_a_task_that_exists_is_left_alone(store: Store) -> None:
    await put(store, task(1, args="first"))

    committed = await put(store, task(1, args="second"), task(2))

    assert committed == Committed()
    assert (await stored(store, task(1).task_id)).args == "first"
    assert (await stored(store, task(2).task_id)).args == ""


async def test_a_commit_may_be_repeated_when_its_outcome_is_unknown(store: Store) -> None:
    held = running(1)
    await put(store, held)
    held.status, held.owner, held.ended_at = TaskStatus.SUCCESS, None, NOW + 9
    batch = Batch(inserts=[insert_row(task(2))], updates=[update_row(held)])
    await store.commit(batch)

    again = await store.commit(batch)

    assert again == Committed()
    assert (await stored(store, held.task_id)).status is TaskStatus.SUCCESS
    assert await store.counts() == {TaskStatus.SUCCESS: 1, TaskStatus.PENDING: 1}


async def test_an_empty_batch_changes_nothing(store: Store) -> None:
    assert await store.commit(Batch()) == Committed()
    assert await store.counts() == {}


# -- the fence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [0, 1])
@pytest.mark.parametrize("neighbours", [0, 3, 300])
async def test_a_write_under_an_old_lease_is_refused_and_reported(
    store: Store, neighbours: int, beside: int
) -> None:
    held = [running(n, lease=5) for n in range(neighbours + 1)]
    await put(store, *held)
    late = held[0]
    late.lease -= 1
    for record in held:
        record.progress = "{}"

    committed = await store.commit(
        Batch(
            inserts=[insert_row(task(1000 + n)) for n in range(beside)],
            updates=[update_row(record) for record in held],
        )
    )

    assert committed.refused == {late.task_id}
    assert (await stored(store, late.task_id)).progress is None
    for record in held[1:]:
        assert (await stored(store, record.task_id)).progress == "{}"


@pytest.mark.parametrize("owner", [None, "somebody else"])
async def test_a_write_on_a_task_of_another_owner_is_refused(
    store: Store, owner: str | None
) -> None:
    theirs = running(1, owner="x")
    theirs.owner = owner
    await put(store, theirs)
    mine = running(1)
    mine.status = TaskStatus.SUCCESS

    committed = await store.commit(Batch(updates=[update_row(mine)], inserts=[insert_row(task(2))]))

    assert committed.refused == {mine.task_id}
    assert (await stored(store, mine.task_id)).status is TaskStatus.RUNNING
    assert await store.get(task(2).task_id) is not None


async def test_a_write_on_a_task_that_is_gone_is_refused(store: Store) -> None:
    committed = await update(store, running(1))

    assert committed.refused == {task(1).task_id}
    assert await store.get(task(1).task_id) is None


# -- idempotency keys ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(set(TaskStatus) - set(UNDONE)))
async def test_a_key_that_is_taken_is_reported_and_left_alone(
    store: Store, status: TaskStatus
) -> None:
    await put(store, task(1, status=status, args="first"))

    committed = await put_keyed(store, task(1, args="second", owner="me"), task(2))

    assert committed.duplicates == {task(1).task_id}
    assert committed.revived == {}
    assert (await stored(store, task(1).task_id)).args == "first"
    assert await store.get(task(2).task_id) is not None


@pytest.mark.parametrize("status", sorted(UNDONE))
async def test_a_key_whose_task_came_to_nothing_starts_anew_and_counts_on(
    store: Store, status: TaskStatus
) -> None:
    old = task(
        1, status=status, args="first", attempt=3, max_attempts=3, lease=5, crashes=2,
        started_at=NOW + 1, ended_at=NOW + 2, error="E", instance="other",
    )  # fmt: skip
    await put(store, old)

    committed = await put_keyed(store, task(1, args="second", owner="me", max_attempts=4))

    assert committed == Committed(revived={old.task_id: (6, 3, 7)})
    new = await stored(store, old.task_id)
    assert (new.status, new.args, new.owner) == (TaskStatus.PENDING, "second", "me")
    assert (new.lease, new.attempt, new.max_attempts, new.crashes) == (6, 3, 7, 0)
    assert (new.started_at, new.ended_at, new.error) == (None, None, None)
    assert [one.error for one in await store.attempts(old.task_id)] == ["E"]


async def test_one_of_two_instances_gets_the_key(place: Place, store: Store) -> None:
    other = await place.open("other")

    results = await asyncio.gather(
        *(put_keyed(one, task(1, owner=name)) for one, name in ((store, "me"), (other, "other")))
    )

    assert sorted(len(result.duplicates) for result in results) == [0, 1]
    winner = "me" if not results[0].duplicates else "other"
    assert (await stored(store, task(1).task_id)).owner == winner


async def test_a_key_given_twice_in_one_batch_makes_one_task_that_anyone_may_take(
    store: Store,
) -> None:
    committed = await put_keyed(store, task(1, owner="me"), task(1, owner="me"))

    assert committed.duplicates == {task(1).task_id}
    assert ids(await take(store, 5)) == [task(1).task_id]


# -- claims -------------------------------------------------------------------------------------


async def test_a_claim_takes_by_priority_and_then_by_arrival(store: Store) -> None:
    await put(store, task(1), task(2, priority=-1), task(3, priority=9), task(4), task(5))

    first = await take(store, 3)
    rest = await take(store, 3)

    assert ids(first) == ids([task(3), task(1), task(4)])
    assert ids(rest) == ids([task(5), task(2)])


async def test_what_was_claimed_is_owned_under_a_new_lease(store: Store) -> None:
    await put(store, task(1, lease=4, args="[1]", timeout=2.5, at_most_once=True))

    [claimed] = await take(store, 1)

    assert (claimed.owner, claimed.lease) == ("me", 5)
    assert (claimed.args, claimed.timeout, claimed.at_most_once) == ("[1]", 2.5, True)
    assert dataclasses.asdict(await stored(store, claimed.task_id)) == dataclasses.asdict(claimed)


async def test_a_claim_leaves_other_lanes_states_and_owners_alone(store: Store) -> None:
    await put(
        store,
        task(1, lane="io"),
        task(2, owner="me"),
        task(3, status=TaskStatus.SCHEDULED, run_at=NOW - 9),
        task(4, status=TaskStatus.CANCELLED),
        task(5, status=TaskStatus.RUNNING),
    )

    assert await take(store, 10) == []
    assert await take(store, 0, lane="io") == []
    assert await waiting(store) == {("io", "default"): 1}


async def test_two_instances_claiming_at_once_get_each_task_once(
    place: Place, store: Store
) -> None:
    other = await place.open("other")
    await put(store, *(task(n) for n in range(200)))

    async def take_all(one: Store) -> list[str]:
        mine: list[str] = []
        while got := await take(one, 7):
            mine += ids(got)
        return mine

    taken = [
        task_id
        for part in await asyncio.gather(take_all(store), take_all(other))
        for task_id in part
    ]

    assert sorted(taken) == ids([task(n) for n in range(200)])


async def test_tasks_of_unknown_functions_are_parked_and_hide_nobody(store: Store) -> None:
    strangers = [task(n, func_name="gone:f", priority=5) for n in range(30)]
    await put(store, *strangers, task(50), task(51))

    claimed = await take(store, 2)

    assert ids(claimed) == ids([task(50), task(51)])
    assert await take(store, 2) == []
    assert await waiting(store) == {("async", "default"): 0}
    shown = await stored(store, strangers[0].task_id)
    assert shown.status is TaskStatus.PENDING
    assert shown.error is not None
    assert "no function of this name" in shown.error


async def test_parked_tasks_come_back_for_an_instance_that_knows_them(store: Store) -> None:
    await put(store, task(1, func_name="gone:f"), task(2, func_name="gone:g"))
    await take(store, 5)

    assert await store.unpark({"gone:f", NAME}) == 1
    assert await store.unpark({"gone:f", NAME}) == 0

    assert ids(await take(store, 5, names={"gone:f"})) == [task(1).task_id]
    assert (await stored(store, task(1).task_id)).error is None


# -- time ---------------------------------------------------------------------------------------


async def test_tasks_become_pending_when_their_time_has_come(store: Store) -> None:
    await put(
        store,
        task(1, status=TaskStatus.SCHEDULED, run_at=NOW + 20),
        task(2, status=TaskStatus.RETRYING, run_at=NOW + 10),
        task(3, status=TaskStatus.SCHEDULED, run_at=NOW + 30),
    )

    assert await store.next_due() == NOW + 10
    assert await store.promote(10, NOW + 9.5) == 0
    assert await store.promote(10, NOW + 20) == 2

    assert await store.next_due() == NOW + 30
    assert ids(await take(store, 9)) == ids([task(1), task(2)])


async def test_promotion_is_bounded_and_takes_the_most_overdue_first(store: Store) -> None:
    await put(store, *(task(n, status=TaskStatus.SCHEDULED, run_at=NOW - n) for n in range(10)))

    assert await store.promote(3, NOW) == 3

    assert sorted(ids(await take(store, 9))) == ids([task(7), task(8), task(9)])


async def test_nothing_is_due_where_nothing_waits(store: Store) -> None:
    await put(store, task(1))

    assert await store.next_due() is None
    assert await store.promote(10, NOW) == 0


# -- death --------------------------------------------------------------------------------------


async def test_what_a_dead_instance_had_not_started_goes_back(place: Place) -> None:
    survivor, taken = await survivor_of(
        place, task(1, owner="dead"), task(2, owner="dead", lease=3)
    )

    assert taken == TakenOver(handed_back=2, interrupted=0, failed=0)
    claimed = await take(survivor, 5)
    assert [(one.task_id, one.lease, one.crashes) for one in claimed] == [
        (task(1).task_id, 2, 0),
        (task(2).task_id, 5, 0),
    ]


async def test_what_ran_goes_back_at_the_cost_of_a_crash_not_of_an_attempt(place: Place) -> None:
    ran = running(1, owner="dead", lease=2, crashes=1)
    ran.attempt = 2

    survivor, taken = await survivor_of(place, ran)

    assert taken == TakenOver(handed_back=1, interrupted=0, failed=0)
    after = await stored(survivor, ran.task_id)
    assert (after.status, after.owner, after.lease) == (TaskStatus.PENDING, None, 3)
    assert (after.attempt, after.crashes, after.started_at) == (1, 2, None)
    [cut] = await survivor.attempts(ran.task_id)
    assert (cut.number, cut.outcome, cut.instance) == (1, "crashed", "dead")
    assert (cut.started_at, cut.ended_at) == (NOW + 5, NOW + 60)


async def test_what_may_run_at_most_once_is_interrupted(place: Place) -> None:
    ran = running(1, owner="dead", at_most_once=True)
    waited = task(2, owner="dead", at_most_once=True)

    survivor, taken = await survivor_of(place, ran, waited)

    assert taken == TakenOver(handed_back=1, interrupted=1, failed=0)
    after = await stored(survivor, ran.task_id)
    assert (after.status, after.owner, after.lease) == (TaskStatus.INTERRUPTED, None, 1)
    assert (after.started_at, after.ended_at) == (NOW + 5, NOW + 60)
    assert after.error == "the instance died while the task ran, and it may run at most once"
    assert (await stored(survivor, waited.task_id)).status is TaskStatus.PENDING


async def test_without_rerun_everything_that_ran_is_interrupted(place: Place) -> None:
    survivor, taken = await survivor_of(place, running(1, owner="dead"), rerun=False)

    assert taken == TakenOver(handed_back=0, interrupted=1, failed=0)
    assert (await stored(survivor, task(1).task_id)).status is TaskStatus.INTERRUPTED


async def test_a_task_that_keeps_killing_its_instance_fails(place: Place) -> None:
    survivor, taken = await survivor_of(place, running(1, owner="dead", crashes=2), max_crashes=3)

    assert taken == TakenOver(handed_back=0, interrupted=0, failed=1)
    after = await stored(survivor, task(1).task_id)
    assert (after.status, after.crashes, after.ended_at) == (TaskStatus.FAILED, 3, NOW + 60)
    assert after.error == "the app died 3 times while this task ran"


async def test_final_tasks_of_the_dead_stay_what_they_are(place: Place) -> None:
    ended = [task(n, status=status, owner="dead") for n, status in enumerate(sorted(FINAL))]

    survivor, taken = await survivor_of(place, *ended)

    assert taken == TakenOver(0, 0, 0, others=len(FINAL))
    for record in ended:
        after = await stored(survivor, record.task_id)
        assert (after.status, after.owner) == (record.status, None)


async def test_a_late_write_of_an_instance_taken_for_dead_is_refused(place: Place) -> None:
    paused = await place.open("paused")
    held = running(1, owner="paused")
    await put(paused, held)
    place.backend.die(paused)
    survivor = await place.open("survivor")
    await survivor.take_over(rerun=True, max_crashes=3, now=NOW)
    await take(survivor, 1)
    held.status = TaskStatus.SUCCESS

    committed = await update(paused, held)

    assert committed.refused == {held.task_id}
    after = await stored(survivor, held.task_id)
    assert (after.status, after.owner) == (TaskStatus.PENDING, "survivor")


async def test_the_living_are_left_alone(place: Place, store: Store) -> None:
    other = await place.open("other")
    await put(other, running(1, owner="other"), task(2, owner="other"))
    await put(store, running(3, owner="me"))

    for one in (store, other):
        assert await one.take_over(rerun=True, max_crashes=1, now=NOW) == TakenOver(0, 0, 0)

    assert (await stored(store, task(1).task_id)).owner == "other"
    assert (await stored(store, task(3).task_id)).owner == "me"


async def test_two_survivors_at_once_free_each_task_once(place: Place) -> None:
    dead = await place.open("dead")
    await put(dead, *(running(n, owner="dead") for n in range(50)))
    survivors = [await place.open(f"survivor-{n}") for n in range(3)]
    place.backend.die(dead)

    taken = await asyncio.gather(
        *(one.take_over(rerun=True, max_crashes=9, now=NOW) for one in survivors)
    )

    assert sum(one.handed_back for one in taken) == 50
    for record in await take(survivors[0], 99):
        assert (record.crashes, record.lease) == (1, 2)
        assert len(await survivors[0].attempts(record.task_id)) == 1


async def test_a_task_of_somebody_nobody_has_heard_of_is_freed(store: Store) -> None:
    await put(store, task(1, owner="never registered"))

    taken = await store.take_over(rerun=True, max_crashes=3, now=NOW)

    assert taken.handed_back == 1
    assert (await stored(store, task(1).task_id)).owner is None


async def test_what_an_instance_left_behind_when_it_closed_is_freed(place: Place) -> None:
    left = await place.open("left")
    await put(left, task(1, owner="left"))
    await left.close()
    store = await place.open("me")

    assert (await store.take_over(rerun=True, max_crashes=3, now=NOW)).handed_back == 1


# -- people -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [TaskStatus.SCHEDULED, TaskStatus.PENDING, TaskStatus.RETRYING])
async def test_a_waiting_task_that_nobody_owns_can_be_cancelled(
    store: Store, status: TaskStatus
) -> None:
    await put(store, task(1, status=status, run_at=NOW))

    assert await store.cancel(task(1).task_id, NOW + 3) is TaskStatus.CANCELLED

    after = await stored(store, task(1).task_id)
    assert (after.status, after.ended_at) == (TaskStatus.CANCELLED, NOW + 3)
    assert await take(store, 1) == []


@pytest.mark.parametrize("status", [TaskStatus.RUNNING, *sorted(FINAL)])
async def test_other_tasks_are_not_cancelled_by_the_store(store: Store, status: TaskStatus) -> None:
    await put(store, task(1, status=status))
    await put(store, task(2, owner="me"))

    assert await store.cancel(task(1).task_id, NOW) is status
    assert await store.cancel(task(2).task_id, NOW) is TaskStatus.PENDING
    assert await store.cancel("nobody", NOW) is None

    assert (await stored(store, task(1).task_id)).ended_at is None


@pytest.mark.parametrize("status", sorted(FINAL))
async def test_a_final_task_can_be_run_again_with_a_fresh_budget(
    store: Store, status: TaskStatus
) -> None:
    await put(
        store,
        task(
            1, status=status, attempt=3, max_attempts=3, crashes=2, lease=7, started_at=NOW + 1,
            ended_at=NOW + 2, error="E", stacktrace="S", result="1", result_error="R",
            progress="{}", run_at=NOW + 1, instance="i",
        ),
    )  # fmt: skip

    assert await store.revive(task(1).task_id, NOW + 9) is status

    after = await stored(store, task(1).task_id)
    assert dataclasses.asdict(after) == dataclasses.asdict(
        task(1, attempt=3, max_attempts=6, lease=8)
    )
    [last] = await store.attempts(task(1).task_id)
    assert (last.number, last.started_at, last.ended_at) == (1, NOW + 1, NOW + 2)
    assert (last.error, last.stacktrace, last.instance) == ("E", "S", "i")


async def test_every_revival_grants_the_first_budget_again(store: Store) -> None:
    await put(store, task(1, status=TaskStatus.FAILED, attempt=2, max_attempts=2))

    for attempts in (4, 6):
        await store.revive(task(1).task_id, NOW)
        [claimed] = await take(store, 1)
        assert claimed.max_attempts == attempts
        claimed.attempt, claimed.status, claimed.owner = attempts, TaskStatus.FAILED, None
        await update(store, claimed)


async def test_only_final_tasks_are_revived(store: Store) -> None:
    await put(store, running(1))

    assert await store.revive(task(1).task_id, NOW) is TaskStatus.RUNNING
    assert await store.revive("nobody", NOW) is None

    assert dataclasses.asdict(await stored(store, task(1).task_id)) == dataclasses.asdict(
        running(1)
    )


# -- retention ----------------------------------------------------------------------------------


async def test_old_final_tasks_are_pruned_by_the_age_of_their_status(store: Store) -> None:
    await put(
        store,
        task(1, status=TaskStatus.SUCCESS, ended_at=NOW - 10),
        task(2, status=TaskStatus.SUCCESS, ended_at=NOW + 10),
        task(3, status=TaskStatus.FAILED, ended_at=NOW - 10),
        task(4, status=TaskStatus.FAILED, ended_at=NOW - 50),
        task(5, status=TaskStatus.CANCELLED, ended_at=NOW - 99),
        task(6),
        running(7),
    )
    before = {TaskStatus.SUCCESS: NOW, TaskStatus.FAILED: NOW - 20}

    assert await store.prune(before, 100) == 2
    assert await store.prune(before, 100) == 0

    left = (await store.list(TaskFilter())).items
    assert ids(left) == ids([running(7), task(6), task(5), task(3), task(2)])


async def test_pruning_goes_in_slices_oldest_end_first_and_takes_everything_along(
    store: Store,
) -> None:
    old = [task(n, status=TaskStatus.SUCCESS, ended_at=NOW - n) for n in range(10)]
    await store.commit(
        Batch(
            inserts=[insert_row(record) for record in old],
            attempts=[attempt(record.task_id) for record in old],
            logs=[LogLine(record.task_id, 1, NOW, "info", "x") for record in old],
        )
    )

    assert await store.prune({TaskStatus.SUCCESS: NOW + 1}, 4) == 4

    assert (await store.counts())[TaskStatus.SUCCESS] == 6
    for record in old:
        kept = record.ended_at is not None and record.ended_at > NOW - 6
        assert bool(await store.get(record.task_id)) is kept
        assert bool(await store.attempts(record.task_id)) is kept
        assert bool(await store.logs(record.task_id, 9)) is kept


@pytest.mark.parametrize("status", sorted(set(TaskStatus) - set(FINAL)))
async def test_only_final_tasks_are_ever_pruned(store: Store, status: TaskStatus) -> None:
    await put(store, task(1, status=status, ended_at=NOW - 99))

    assert await store.prune({status: NOW}, 10) == 0


# -- reading ------------------------------------------------------------------------------------


async def test_attempts_are_numbered_from_one_in_their_order(store: Store) -> None:
    await store.commit(
        Batch(attempts=[attempt("a"), attempt("b"), attempt("a", outcome="snoozed")])
    )
    await store.commit(Batch(attempts=[attempt("a", error=None, stacktrace=None)]))

    found = await store.attempts("a")

    assert [(one.number, one.outcome) for one in found] == [
        (1, "failed"),
        (2, "snoozed"),
        (3, "failed"),
    ]
    assert found[0] == attempt("a", number=1)
    assert (found[2].error, found[2].stacktrace) == (None, None)


async def test_lines_of_a_task_that_is_gone_are_not_kept(store: Store) -> None:
    """A thread that was given up goes on writing, whatever became of its task."""
    there, new = task(1), task(2)
    await put(store, there)
    lines = [LogLine(name, 1, NOW, "info", "x") for name in (there.task_id, "gone", new.task_id)]

    await store.commit(Batch(logs=lines[:2]))  # of one kind
    await store.commit(Batch(inserts=[insert_row(new)], logs=lines))  # mixed
    await store.commit(Batch(logs=lines * 200))  # more than one statement takes

    found = [len(await store.logs(line.task_id, 999)) for line in lines]
    assert found == [202, 0, 201]


async def test_logs_come_in_order_and_bounded(store: Store) -> None:
    await put(store, task(1, task_id="a"), task(2, task_id="b"))
    lines = [LogLine("a", n // 3, NOW, "info", f"line {n}") for n in range(7)]
    await store.commit(Batch(logs=[lines[0]]))
    await store.commit(Batch(logs=[*lines[1:], LogLine("b", 1, NOW, "info", "other")]))

    assert await store.logs("a", 100) == lines
    assert await store.logs("a", 3) == lines[:3]


async def test_pages_go_from_new_to_old_without_gap_or_repeat_while_tasks_arrive(
    store: Store,
) -> None:
    await put(store, *(task(n) for n in range(25)))
    seen: list[str] = []
    cursor = None
    sizes = []
    for extra in range(3):
        page = await store.list(TaskFilter(limit=10, cursor=cursor))
        seen += ids(page.items)
        sizes.append(len(page.items))
        cursor = page.next_cursor
        await put(store, task(100 + extra))

    assert seen == ids([task(n) for n in reversed(range(25))])
    assert sizes == [10, 10, 5]
    assert cursor is None


async def test_an_exactly_full_last_page_has_no_next(store: Store) -> None:
    await put(store, *(task(n) for n in range(4)))

    first = await store.list(TaskFilter(limit=2))
    last = await store.list(TaskFilter(limit=2, cursor=first.next_cursor))

    assert first.next_cursor is not None
    assert (len(last.items), last.next_cursor) == (2, None)


@pytest.mark.parametrize(("limit", "given"), [(-5, 1), (0, 1), (1, 1), (200, 200), (10**9, 200)])
async def test_the_size_of_a_page_is_bounded(store: Store, limit: int, given: int) -> None:
    await put(store, *(task(n) for n in range(205)))

    assert len((await store.list(TaskFilter(limit=limit))).items) == given


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "MDAx", "é"]
)
async def test_a_cursor_that_is_not_ours_is_an_error(store: Store, cursor: str) -> None:
    with pytest.raises(ValueError, match=r"cursor=.*next_cursor"):
        await store.list(TaskFilter(cursor=cursor))


async def test_a_list_shows_one_status_only(store: Store) -> None:
    await put(store, *(task(n, status=list(TaskStatus)[n % 8]) for n in range(40)))

    page = await store.list(TaskFilter(status=TaskStatus.FAILED, limit=3))
    rest = await store.list(TaskFilter(status=TaskStatus.FAILED, cursor=page.next_cursor))

    assert {one.status for one in page.items + rest.items} == {TaskStatus.FAILED}
    assert len(page.items) == 3
    assert len(rest.items) == 2


@pytest.mark.parametrize(
    ("q", "numbers"),
    [
        ("mail", [2, 1]),
        ("MAIL", [2, 1]),
        ("a_b", [3]),
        ("%", [4]),
        ("\\", [5]),
        ("zzz", []),
        ("' OR 1=1 --", []),
        ("", [6, 5, 4, 3, 2, 1]),
        (task(3).task_id, [3]),
        (task(3).task_id[:12], [6, 5, 4, 3, 2, 1]),
    ],
)
async def test_a_search_finds_parts_of_names_and_ids(
    store: Store, q: str, numbers: list[int]
) -> None:
    names = ["app:send_mail", "mail:send", "app:a_b", "app:100%", "app:\\x", "app:axb"]
    await put(store, *(task(n, func_name=name) for n, name in enumerate(names, 1)))

    page = await store.list(TaskFilter(q=q))

    assert ids(page.items) == ids([task(n) for n in numbers])


async def test_a_search_and_a_status_go_together(store: Store) -> None:
    await put(
        store,
        task(1),
        task(2, status=TaskStatus.FAILED),
        task(3, status=TaskStatus.FAILED, func_name="x"),
    )

    assert ids((await store.list(TaskFilter(q="SEND", status=TaskStatus.FAILED))).items) == [
        task(2).task_id
    ]
    assert (
        ids((await store.list(TaskFilter(q=task(1).task_id, status=TaskStatus.FAILED))).items) == []
    )


async def test_counts_and_backlog_follow_what_happens(store: Store) -> None:
    assert await store.counts() == {}
    await put(store, task(1), task(2, lane="io"), task(3, lane="io"), task(4, owner="me"))
    assert await waiting(store) == {("async", "default"): 1, ("io", "default"): 2}

    await take(store, 1, lane="io")
    await store.cancel(task(1).task_id, NOW)

    assert await waiting(store) == {("io", "default"): 1}
    assert await store.counts() == {TaskStatus.PENDING: 3, TaskStatus.CANCELLED: 1}


async def test_the_window_tells_waits_and_runs_of_what_ended_last(store: Store) -> None:
    def ended(n: int, status: TaskStatus, **values: object) -> TaskRecord:
        values = {"created_at": NOW, "started_at": NOW + 2, "ended_at": NOW + 10 + n, **values}
        return task(n, status=status, **values)

    await put(
        store,
        ended(0, TaskStatus.SUCCESS),
        ended(1, TaskStatus.SUCCESS),
        ended(2, TaskStatus.FAILED, run_at=NOW + 1),
        ended(3, TaskStatus.CANCELLED, started_at=None),
        running(9),
    )

    assert await store.window(NOW + 11, 10) == Window(3, 1, [1.0, 2.0], [10.0, 9.0])
    assert await store.window(NOW, 2) == Window(2, 0, [1.0], [10.0])
    assert await store.window(NOW + 99, 10) == Window(0, 0, [], [])


async def test_a_store_notices_what_others_write_and_not_what_it_writes(
    place: Place, store: Store
) -> None:
    other = await place.open("other")
    await store.changed()
    await other.changed()

    await put(other, task(1))

    assert await store.changed()
    assert not await store.changed()
    assert not await other.changed()


# -- text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "plain", "naïve 🦊 日本", "a\0b", "'\";--\\%_", "x" * 200_000]
)
async def test_text_comes_back_as_it_was(store: Store, text: str) -> None:
    held = running(1, args=text)
    await put(store, held)
    held.error = held.stacktrace = held.result = held.progress = text

    await store.commit(
        Batch(
            updates=[update_row(held)],
            logs=[LogLine(held.task_id, 1, NOW, "info", text)],
            attempts=[attempt(held.task_id, error=text)],
        )
    )

    assert dataclasses.asdict(await stored(store, held.task_id)) == dataclasses.asdict(held)
    assert (await store.logs(held.task_id, 1))[0].message == text
    assert (await store.attempts(held.task_id))[0].error == text


async def test_a_value_that_cannot_be_stored_as_it_is_does_not_lose_its_neighbours(
    store: Store,
) -> None:
    held, neighbour = running(1), running(2)
    await put(store, held, neighbour)
    held.error, neighbour.error = "broken \ud800 text", "fine"

    await store.commit(
        Batch(
            inserts=[insert_row(task(3, args="\udfff")), insert_row(task(4, priority=2**70))],
            updates=[update_row(held), update_row(neighbour)],
            logs=[LogLine(held.task_id, 1, NOW, "info", "\ud800")],
            attempts=[attempt(held.task_id, error="\ud800")],
        )
    )

    error = (await stored(store, held.task_id)).error
    assert error is not None
    assert error.startswith("broken ")
    assert error.endswith(" text")
    assert (await stored(store, neighbour.task_id)).error == "fine"
    assert (await stored(store, task(3).task_id)).args != ""
    assert (await stored(store, task(4).task_id)).priority > 2**31 - 1
    assert len(await store.logs(held.task_id, 9)) == 1
    assert len(await store.attempts(held.task_id)) == 1


# -- lifecycle ----------------------------------------------------------------------------------


async def test_everything_is_still_there_after_closing_and_opening(place: Place) -> None:
    first = await place.open("first")
    await put(first, task(1, args="[1]"))
    await first.close()

    second = await place.open("second")

    assert dataclasses.asdict(await stored(second, task(1).task_id)) == dataclasses.asdict(
        task(1, args="[1]")
    )


async def test_one_store_can_be_opened_again_after_closing(place: Place, store: Store) -> None:
    await put(store, task(1))
    await store.close()

    await store.open("me again", NOW)

    assert ids(await take(store, 1)) == [task(1).task_id]
    assert (await stored(store, task(1).task_id)).owner == "me again"


async def test_closing_is_idempotent_and_works_on_a_store_that_was_never_opened(
    place: Place, store: Store
) -> None:
    await store.close()
    await store.close()
    await place.backend.store().close()


async def test_a_closed_store_says_so(store: Store) -> None:
    await store.close()

    with pytest.raises(StoreUnavailableError, match=r"not open|closed"):
        await put(store, task(1))
    with pytest.raises(StoreUnavailableError, match=r"not open|closed"):
        await store.get("x")
    with pytest.raises(StoreUnavailableError, match=r"not open|closed"):
        await store.take_over(rerun=True, max_crashes=1, now=NOW)


async def test_many_callers_at_once_are_all_served(store: Store) -> None:
    await asyncio.gather(*(put(store, task(n)) for n in range(100)))

    found = await asyncio.gather(*(store.get(task(n).task_id) for n in range(100)))

    assert all(found)
    assert await waiting(store) == {("async", "default"): 100}
