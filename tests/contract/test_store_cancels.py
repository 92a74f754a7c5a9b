"""What every store promises of requests to cancel what another instance has."""

from __future__ import annotations

import dataclasses

import pytest

from taskflow.record import Batch, LogLine, TaskRecord, insert_row, update_row
from taskflow.states import FINAL, TIMED, TaskStatus
from taskflow.stores.base import Store, TakenOver
from tests.contract.store_bench import (
    NOW,
    Place,
    put,
    put_keyed,
    running,
    stored,
    survivor_of,
    take,
    task,
    update,
)

NOT_FINAL = [TaskStatus.RETRYING, TaskStatus.SCHEDULED, TaskStatus.PENDING]


def ended(record: TaskRecord, status: TaskStatus) -> TaskRecord:
    """The same task after an attempt."""
    record.status, record.owner = status, None
    record.ended_at = NOW + 9 if status in FINAL else None
    record.run_at = NOW + 20 if status in TIMED else None
    record.started_at = record.started_at if status in FINAL else None
    return record


@pytest.mark.parametrize("status", [TaskStatus.SCHEDULED, TaskStatus.PENDING, TaskStatus.RETRYING])
async def test_a_waiting_task_that_nobody_owns_is_cancelled_at_once(
    store: Store, status: TaskStatus
) -> None:
    await put(store, task(1, status=status, run_at=NOW))

    assert await store.request_cancel(task(1).task_id, NOW + 3) is TaskStatus.CANCELLED

    after = await stored(store, task(1).task_id)
    assert (after.status, after.ended_at) == (TaskStatus.CANCELLED, NOW + 3)
    assert await take(store, 1) == []


async def test_an_unknown_task_cannot_be_cancelled(store: Store) -> None:
    assert await store.request_cancel("nobody", NOW) is None
    assert await store.cancel_requests() == []


@pytest.mark.parametrize("status", sorted(FINAL))
@pytest.mark.parametrize("owner", [None, "me"])
async def test_a_final_task_stays_what_it_is(
    store: Store, status: TaskStatus, owner: str | None
) -> None:
    await put(store, task(1, status=status, owner=owner))

    assert await store.request_cancel(task(1).task_id, NOW) is status
    assert await store.cancel_requests() == []


@pytest.mark.parametrize("status", [TaskStatus.RUNNING, TaskStatus.PENDING])
async def test_a_request_reaches_the_owner_and_nobody_else(
    place: Place, store: Store, status: TaskStatus
) -> None:
    other = await place.open("other")
    await put(store, task(1, status=status, owner="me"), running(2), running(3, owner="other"))

    assert await other.request_cancel(task(1).task_id, NOW) is status
    assert await store.request_cancel(task(3).task_id, NOW) is TaskStatus.RUNNING

    assert await store.cancel_requests() == [task(1).task_id]
    assert await other.cancel_requests() == [task(3).task_id]
    assert (await stored(store, task(1).task_id)).status is status


async def test_the_owner_may_leave_itself_a_request_and_asking_twice_changes_nothing(
    store: Store,
) -> None:
    await put(store, running(1))

    for moment in (NOW + 7, NOW + 8):
        assert await store.request_cancel(task(1).task_id, moment) is TaskStatus.RUNNING

    assert await store.cancel_requests() == [task(1).task_id]
    await update(store, ended(running(1), TaskStatus.RETRYING))
    assert (await stored(store, task(1).task_id)).ended_at == NOW + 7


async def test_the_owner_is_noticed_of_a_request(place: Place, store: Store) -> None:
    other = await place.open("other")
    await put(store, running(1))
    await store.changed()

    await other.request_cancel(task(1).task_id, NOW)

    assert await store.changed()


@pytest.mark.parametrize("status", NOT_FINAL)
@pytest.mark.parametrize("neighbours", [0, 3, 300])
@pytest.mark.parametrize("beside", ["nothing", "new", "lines", "keys"])
async def test_a_task_that_would_go_on_is_cancelled_instead(
    store: Store, status: TaskStatus, neighbours: int, beside: str
) -> None:
    held = [running(n) for n in range(neighbours + 1)]
    await put(store, *held)
    asked = held[neighbours // 2]
    await store.request_cancel(asked.task_id, NOW + 8)
    for record in held:
        ended(record, status).error = "E: no"
    batch = Batch(updates=[update_row(record) for record in held])
    if beside == "new":
        batch.inserts.append(insert_row(task(9000, lane="io")))
    elif beside == "lines":
        batch.logs.append(LogLine(asked.task_id, 1, NOW, "info", "x"))
    elif beside == "keys":
        batch.keyed.append(insert_row(task(9000, lane="io", idempotency_key="i")))

    assert (await store.commit(batch)).refused == frozenset()

    after = await stored(store, asked.task_id)
    assert (after.status, after.owner, after.ended_at) == (TaskStatus.CANCELLED, None, NOW + 8)
    assert after.error == "cancelled while an instance held it; E: no"
    assert await store.cancel_requests() == []
    await store.promote(1000, NOW + 99)
    assert len(await take(store, 1000)) == neighbours


async def test_a_task_is_not_said_to_have_ended_before_it_started(store: Store) -> None:
    held = running(1)
    held.status = TaskStatus.PENDING
    held.started_at = None
    await put(store, held)
    await store.request_cancel(held.task_id, NOW + 1)
    held.status, held.started_at = TaskStatus.RUNNING, NOW + 5
    await update(store, held)

    await update(store, ended(held, TaskStatus.RETRYING))

    after = await stored(store, held.task_id)
    assert (after.status, after.ended_at) == (TaskStatus.CANCELLED, NOW + 5)


@pytest.mark.parametrize("status", sorted(FINAL))
async def test_a_task_that_ends_first_stays_what_it_became(
    store: Store, status: TaskStatus
) -> None:
    held = running(1)
    await put(store, held)
    await store.request_cancel(held.task_id, NOW + 8)

    await update(store, ended(held, status))

    after = await stored(store, held.task_id)
    assert dataclasses.asdict(after) == dataclasses.asdict(held)
    assert await store.cancel_requests() == []
    # The next one to run it is not told an old wish.
    await store.revive(held.task_id, NOW)
    [again] = await take(store, 1)
    assert await store.cancel_requests() == []
    await update(store, ended(again, TaskStatus.RETRYING))
    assert (await stored(store, held.task_id)).status is TaskStatus.RETRYING


async def test_a_change_that_keeps_the_owner_keeps_the_request(store: Store) -> None:
    held = running(1)
    await put(store, held)
    await store.request_cancel(held.task_id, NOW)
    held.progress = "{}"

    await update(store, held)

    assert await store.cancel_requests() == [held.task_id]


async def test_a_refused_write_does_not_end_a_request(store: Store) -> None:
    held = running(1, lease=4)
    await put(store, held)
    await store.request_cancel(held.task_id, NOW)
    late = ended(running(1, lease=3), TaskStatus.RETRYING)

    assert (await update(store, late)).refused == {held.task_id}

    assert await store.cancel_requests() == [held.task_id]
    assert (await stored(store, held.task_id)).status is TaskStatus.RUNNING


@pytest.mark.parametrize("count", [1, 4, 300])
@pytest.mark.parametrize("beside", [0, 1])
async def test_a_refused_write_is_reported_however_many_are_cancelled(
    store: Store, count: int, beside: int
) -> None:
    """What the store changes by itself must not make up for what it refused."""
    held = [running(n, lease=5) for n in range(count + 1)]
    await put(store, *held)
    for record in held[1:]:
        await store.request_cancel(record.task_id, NOW)
    for record in held:
        ended(record, TaskStatus.RETRYING)
    held[0].lease -= 1

    committed = await store.commit(
        Batch(
            inserts=[insert_row(task(9000))] * beside,
            updates=[update_row(record) for record in held],
        )
    )

    assert committed.refused == {held[0].task_id}
    counts = await store.counts()
    assert (counts[TaskStatus.RUNNING], counts[TaskStatus.CANCELLED]) == (1, count)


@pytest.mark.parametrize("beside", [0, 1])
async def test_a_commit_whose_outcome_was_unknown_is_not_refused_for_a_cancellation(
    store: Store, beside: int
) -> None:
    held = running(1)
    await put(store, held)
    await store.request_cancel(held.task_id, NOW)
    batch = Batch(
        inserts=[insert_row(task(2))] * beside,
        updates=[update_row(ended(held, TaskStatus.RETRYING))],
    )
    await store.commit(batch)

    assert (await store.commit(batch)).refused == frozenset()
    assert (await stored(store, held.task_id)).status is TaskStatus.CANCELLED


# -- death --------------------------------------------------------------------------------------


async def survivor_asked(place: Place, *records: TaskRecord) -> tuple[Store, TakenOver]:
    """A survivor of ``dead``, which owned ``records`` and was asked to cancel them all."""
    store = await place.open("asks")
    await put(store, *records)
    for record in records:
        await store.request_cancel(record.task_id, NOW + 8)
    return await survivor_of(place)


@pytest.mark.parametrize("status", [TaskStatus.RUNNING, *NOT_FINAL])
async def test_what_a_dead_instance_had_is_cancelled_if_somebody_asked(
    place: Place, status: TaskStatus
) -> None:
    held = running(1, owner="dead", lease=2)
    held.status = status

    survivor, taken = await survivor_asked(place, held)

    assert taken == TakenOver(0, 0, 0, others=1)
    after = await stored(survivor, held.task_id)
    assert (after.status, after.owner, after.lease) == (TaskStatus.CANCELLED, None, 3)
    assert (after.started_at, after.ended_at) == (NOW + 5, NOW + 60)
    assert after.crashes == (status is TaskStatus.RUNNING)
    assert after.error == "cancelled; the instance that held it died"
    # Its last execution is in its own row.
    assert await survivor.attempts(held.task_id) == []
    assert await take(survivor, 5) == []


async def test_what_a_death_interrupted_or_failed_stays_that(place: Place) -> None:
    once = running(1, owner="dead", at_most_once=True)
    deadly = running(2, owner="dead", crashes=2)

    survivor, taken = await survivor_asked(place, once, deadly)

    assert taken == TakenOver(0, interrupted=1, failed=1)
    assert (await stored(survivor, once.task_id)).status is TaskStatus.INTERRUPTED
    assert (await stored(survivor, deadly.task_id)).status is TaskStatus.FAILED


async def test_nobody_is_asked_to_cancel_what_a_dead_instance_had(place: Place) -> None:
    survivor, _ = await survivor_asked(place, running(1, owner="dead"))

    await survivor.revive(task(1).task_id, NOW)
    assert len(await take(survivor, 5)) == 1

    assert await survivor.cancel_requests() == []


# -- what is gone -------------------------------------------------------------------------------


async def test_a_cancelled_task_can_be_added_again_under_its_key(store: Store) -> None:
    held = running(1, idempotency_key="i")
    await put(store, held)
    await store.request_cancel(held.task_id, NOW)
    await update(store, ended(held, TaskStatus.RETRYING))

    committed = await put_keyed(store, task(1, idempotency_key="i"))

    assert list(committed.revived) == [held.task_id]
    assert len(await take(store, 5)) == 1
    assert await store.cancel_requests() == []


async def test_what_was_cancelled_by_request_is_pruned_like_any_other(store: Store) -> None:
    await put(store, running(1))
    await store.request_cancel(task(1).task_id, NOW + 8)
    await update(store, ended(running(1), TaskStatus.RETRYING))

    assert await store.prune({TaskStatus.CANCELLED: NOW + 9}, 9) == 1
    assert await store.get(task(1).task_id) is None
