"""What every store promises of schedules: a slot becomes one task at most, and no wish is obeyed
that was made before somebody changed his mind."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from taskflow.record import TaskRecord
from taskflow.schedules.rows import Fired, Firing, FiringRow, Kind, ScheduleRow
from taskflow.states import FINAL, TaskStatus
from taskflow.stores.base import Store
from tests.contract.store_bench import NAME, NOW, Place, stored, take, task, update

SLOT = int(NOW) + 60
DAILY = '{"every": 86400}'
HOURLY = '{"every": 3600}'
DAILY_WITH_JITTER = '{"every": 86400, "jitter": 5}'


async def declared(store: Store, name: str = "s", text: str = DAILY) -> ScheduleRow:
    await store.declare_schedules([(name, NAME, text)], NOW)
    return await row_of(store, name)


async def row_of(store: Store, name: str = "s") -> ScheduleRow:
    row = await store.schedule(name)
    assert row is not None
    return row


def wish(row: ScheduleRow, number: int = 1, **values: object) -> Firing:
    given: dict[str, object] = {
        "schedule": row.name, "version": row.version, "kind": Kind.SLOT, "slot": SLOT,
        "at": NOW + 60, "record": task(number, source="schedule"), "skips_overlap": False,
    }  # fmt: skip
    return Firing(**{**given, **values})  # type: ignore[arg-type]  # tests set any field


def at_start(row: ScheduleRow, number: int = 1, **values: object) -> Firing:
    return wish(row, number, **{"kind": Kind.START, "slot": SLOT + number, **values})


async def finish(store: Store, record: TaskRecord, status: TaskStatus) -> None:
    """The task runs to its end, or to where it waits again."""
    [held] = await take(store, 1)
    assert held.task_id == record.task_id
    held.status, held.owner, held.started_at = status, None, NOW + 70
    held.ended_at = NOW + 80 if status in FINAL else None
    held.error = "E: no" if status is TaskStatus.FAILED else None
    held.run_at = NOW + 99 if status is TaskStatus.RETRYING else None
    await update(store, held)


async def tasks_of(store: Store) -> int:
    return sum((await store.counts()).values())


# -- a slot is fired once -----------------------------------------------------------------------


async def test_a_slot_becomes_a_task_that_anybody_may_claim(place: Place, store: Store) -> None:
    row = await declared(store)
    record = task(1, lane="async", queue="mail", priority=3, args='{"args":[1]}', timeout=2.5,
                  max_attempts=4, tags='{"schedule":"s"}', source="schedule")  # fmt: skip

    assert await store.fire([wish(row, record=record)]) == [Fired.FIRED]

    [claimed] = await take(await place.open("other"), 9)
    assert (claimed.task_id, claimed.queue, claimed.priority) == (record.task_id, "mail", 3)
    assert (claimed.args, claimed.timeout, claimed.max_attempts) == ('{"args":[1]}', 2.5, 4)
    assert (claimed.tags, claimed.source, claimed.run_at) == ('{"schedule":"s"}', "schedule", None)
    after = await row_of(store)
    assert (after.last_task, after.cursor) == (record.task_id, SLOT)
    assert after.version == row.version


async def test_the_task_of_a_slot_may_be_put_off(store: Store) -> None:
    row = await declared(store)
    late = task(1, status=TaskStatus.SCHEDULED, run_at=NOW + 500)

    await store.fire([wish(row, record=late)])

    assert await take(store, 9) == []
    assert await store.next_due() == NOW + 500


async def test_of_eight_instances_that_fire_a_slot_at_once_one_does(place: Place) -> None:
    stores = [await place.open(f"i-{n}") for n in range(8)]
    row = await declared(stores[0])

    became = await asyncio.gather(
        *(one.fire([wish(row, number)]) for number, one in enumerate(stores))
    )

    assert sorted(result for [result] in became) == [Fired.FIRED] + [Fired.TAKEN] * 7
    assert await tasks_of(stores[0]) == 1
    [history] = await stores[3].firings("s", 9)
    [winner] = [number for number, result in enumerate(became) if result == [Fired.FIRED]]
    assert (history.instance, history.task_id) == (f"i-{winner}", task(winner).task_id)


PROGRAM = """
import asyncio, sys
from taskflow.record import TaskRecord
from taskflow.schedules.rows import Firing, Kind
from taskflow.stores.sqlite.store import SQLiteStore

async def main(path, me, first, count):
    store = SQLiteStore(path)
    await store.open(me, 0.0)
    row = await store.schedule("s")
    print("ready", flush=True)
    sys.stdin.readline()
    for slot in range(first, first + count):
        record = TaskRecord(f"{me}-{slot}", "app:f", "async", 0.0)
        firing = Firing("s", row.version, Kind.SLOT, slot, 1.0, record, False)
        print(*await store.fire([firing]))
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


async def test_two_processes_share_the_slots_and_fire_none_twice(
    store: Store, tmp_path: Path
) -> None:
    await declared(store)
    count = 100
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, str(tmp_path / "tasks.db"), me, str(SLOT), str(count),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for me in ("one", "two")
    ]  # fmt: skip
    for child in children:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"ready\n"

    outputs = await asyncio.gather(*(child.communicate(b"go\n") for child in children))

    answers = [out.decode().split() for out, _ in outputs]
    for pair in zip(*answers, strict=True):
        assert sorted(pair) == ["fired", "taken"]
    assert len(answers[0]) == count
    assert await tasks_of(store) == count


async def test_a_wish_repeated_after_an_unknown_outcome_changes_nothing(
    place: Place, store: Store
) -> None:
    row = await declared(store)
    wishes = [
        wish(row, 1), at_start(row, 2, since=NOW), wish(row, 3, kind=Kind.HAND, slot=77),
        wish(row, 4, slot=SLOT + 1, skips_overlap=True),
    ]  # fmt: skip
    first = await store.fire(wishes)
    assert first == [Fired.FIRED, Fired.FIRED, Fired.FIRED, Fired.OVERLAPS]
    before = await row_of(store), await store.firings("s", 9)

    assert await store.fire(wishes) == [Fired.TAKEN] * 4

    # Nor does it if the first try was that of a process that has died since.
    place.backend.die(store)
    other = await place.open("other")
    await other.take_over(rerun=True, max_crashes=3, now=NOW + 61)
    assert await other.fire(wishes[:1] + wishes[3:]) == [Fired.TAKEN] * 2
    assert (await row_of(other), await other.firings("s", 9)) == before
    assert await tasks_of(other) == 3


async def test_kinds_and_schedules_do_not_take_each_others_slots(store: Store) -> None:
    rows = [await declared(store, name) for name in ("s", "t", "s\0", "S", "")]
    wishes = [wish(row, number) for number, row in enumerate(rows)]
    wishes.append(wish(rows[0], 10, kind=Kind.START))
    wishes.append(wish(rows[0], 11, kind=Kind.HAND))

    assert await store.fire(wishes) == [Fired.FIRED] * 7


async def test_many_wishes_are_answered_in_their_order(store: Store) -> None:
    names = [f"s{n}" for n in range(700)]
    await store.declare_schedules([(name, NAME, DAILY) for name in names], NOW)
    rows = {row.name: row for row in await store.schedules()}
    wishes = [wish(rows[name], number) for number, name in enumerate(names)]
    await store.fire(wishes[100:200])

    became = await store.fire(wishes)

    expected = [Fired.FIRED] * 100 + [Fired.TAKEN] * 100 + [Fired.FIRED] * 500
    assert became == expected
    after = {row.name: row.last_task for row in await store.schedules()}
    assert after == {name: task(n).task_id for n, name in enumerate(names)}
    assert await store.fire([]) == []


@pytest.mark.parametrize("count", [3, 300])
async def test_several_slots_of_one_schedule_go_in_together_but_each_once(
    store: Store, count: int
) -> None:
    row = await declared(store)
    wishes = [wish(row, n, slot=SLOT + n) for n in range(count)]

    became = await store.fire([*wishes, wish(row, 1000, slot=SLOT + 1)])

    assert became == [Fired.FIRED] * count + [Fired.TAKEN]
    after = await row_of(store)
    assert (after.cursor, after.last_task) == (SLOT + count - 1, task(count - 1).task_id)


async def test_text_that_cannot_be_stored_does_not_hold_up_the_others(store: Store) -> None:
    row = await declared(store)
    odd = wish(row, 1, record=task(1, args='{"args":["\udc80"]}', priority=2**70))

    became = await store.fire([odd, wish(row, 2, slot=SLOT + 1)])

    assert became == [Fired.FIRED, Fired.FIRED]
    assert (await stored(store, task(1).task_id)).args == '{"args":["\\udc80"]}'
    assert await tasks_of(store) == 2


# -- who may not fire ---------------------------------------------------------------------------


async def test_a_schedule_that_was_paused_meanwhile_does_not_fire(place: Place) -> None:
    one, other = await place.open("one"), await place.open("other")
    row = await declared(one)

    await other.pause_schedule("s", "anna", NOW + 30)

    wishes = [wish(row), at_start(row, 2)]
    assert await one.fire(wishes) == [Fired.PAUSED] * 2
    paused = await row_of(one)
    assert (paused.cursor, paused.last_task) == (row.cursor, None)
    assert await one.fire([wish(paused), at_start(paused, 2)]) == [Fired.PAUSED] * 2
    by_hand = wish(paused, 3, kind=Kind.HAND, slot=5)
    assert await one.fire([by_hand]) == [Fired.FIRED]
    assert await tasks_of(one) == 1


async def test_a_schedule_that_was_changed_meanwhile_does_not_fire(
    place: Place, store: Store
) -> None:
    other = await place.open("other")
    row = await declared(store)

    await other.change_schedule("s", HOURLY, row.version, NOW + 30)

    by_hand = wish(row, 2, kind=Kind.HAND)
    assert await store.fire([wish(row), by_hand]) == [Fired.CHANGED] * 2
    assert await store.fire([wish(await row_of(store))]) == [Fired.FIRED]


async def test_what_was_wished_before_a_pause_is_not_done_after_it(store: Store) -> None:
    row = await declared(store)
    await store.pause_schedule("s", "anna", NOW + 30)
    await store.resume_schedule("s", NOW + 90)

    assert await store.fire([wish(row)]) == [Fired.CHANGED]


async def test_a_schedule_that_is_gone_does_not_fire(store: Store) -> None:
    row = await declared(store)
    await store.remove_schedule("s")

    assert await store.fire([wish(row)]) == [Fired.CHANGED]

    again = await declared(store)
    assert again.version > row.version
    assert await store.fire([wish(row)]) == [Fired.CHANGED]
    assert await tasks_of(store) == 0


async def test_one_refusal_does_not_touch_its_neighbours(store: Store) -> None:
    rows = [await declared(store, name) for name in "abc"]
    await store.pause_schedule("b", "anna", NOW)

    became = await store.fire([wish(row, number) for number, row in enumerate(rows)])

    assert became == [Fired.FIRED, Fired.PAUSED, Fired.FIRED]


# -- the last task is not over -------------------------------------------------------------------


@pytest.mark.parametrize("status", [None, TaskStatus.RETRYING, *sorted(FINAL)])
async def test_a_slot_is_left_out_while_the_last_task_is_unfinished(
    store: Store, status: TaskStatus | None
) -> None:
    row = await declared(store)
    await store.fire([wish(row, 1)])
    if status is not None:
        await finish(store, task(1), status)

    became = await store.fire([wish(row, 2, slot=SLOT + 60, skips_overlap=True)])

    is_over = status in FINAL
    assert became == [Fired.FIRED if is_over else Fired.OVERLAPS]
    after = await row_of(store)
    assert (after.cursor, after.last_task) == (SLOT + 60, task(2 if is_over else 1).task_id)
    assert await tasks_of(store) == (2 if is_over else 1)


async def test_a_last_task_that_was_pruned_is_over(store: Store) -> None:
    row = await declared(store)
    await store.fire([wish(row, 1)])
    await finish(store, task(1), TaskStatus.SUCCESS)
    await store.prune({TaskStatus.SUCCESS: NOW + 900}, 9)

    assert await store.fire([wish(row, 2, slot=SLOT + 1, skips_overlap=True)]) == [Fired.FIRED]


async def test_slots_of_one_call_overlap_too(store: Store) -> None:
    row = await declared(store)
    wishes = [wish(row, n, slot=SLOT + n, skips_overlap=True) for n in range(3)]

    assert await store.fire(wishes) == [Fired.FIRED, Fired.OVERLAPS, Fired.OVERLAPS]
    after = await row_of(store)
    assert (after.cursor, after.last_task) == (SLOT + 2, task(0).task_id)


async def test_only_slots_move_the_cursor(store: Store) -> None:
    row = await declared(store)
    by_hand = wish(row, 2, kind=Kind.HAND, slot=SLOT * 10**6)

    await store.fire([at_start(row, 1), by_hand])

    after = await row_of(store)
    assert (after.cursor, after.last_task) == (row.cursor, task(2).task_id)


# -- at the start of an instance -----------------------------------------------------------------


async def test_at_a_start_a_sibling_that_lives_has_done_it(place: Place) -> None:
    one, other = await place.open("one"), await place.open("other")
    row = await declared(one)
    assert await one.fire([at_start(row, 1, since=NOW)]) == [Fired.FIRED]

    assert await other.fire([at_start(row, 2, since=NOW + 59)]) == [Fired.SIBLING]
    assert await other.fire([at_start(row, 3, since=NOW + 60)]) == [Fired.FIRED]
    assert await other.fire([at_start(row, 4, since=None)]) == [Fired.FIRED]


async def test_what_this_instance_did_at_an_earlier_start_is_no_sibling(store: Store) -> None:
    row = await declared(store)
    await store.fire([at_start(row, 1, since=NOW)])

    assert await store.fire([at_start(row, 2, since=NOW)]) == [Fired.FIRED]


@pytest.mark.parametrize("how", ["close", "die"])
async def test_at_a_start_instances_that_are_gone_do_not_count(place: Place, how: str) -> None:
    one, other = await place.open("one"), await place.open("other")
    row = await declared(one)
    await one.fire([at_start(row, 1, since=NOW)])
    if how == "close":
        await one.close()
    else:
        place.backend.die(one)
        await other.take_over(rerun=True, max_crashes=3, now=NOW)

    assert await other.fire([at_start(row, 2, since=NOW)]) == [Fired.FIRED]


async def test_other_kinds_and_other_schedules_make_no_sibling(place: Place) -> None:
    one, other = await place.open("one"), await place.open("other")
    row, second = await declared(one), await declared(one, "t")
    await one.fire([wish(row, 1), wish(row, 2, kind=Kind.HAND), at_start(second, 3)])

    assert await other.fire([at_start(row, 4, since=0.0)]) == [Fired.FIRED]
    # Nor does a start hinder a slot.
    assert await other.fire([wish(second, 5, since=0.0)]) == [Fired.FIRED]


# -- what is declared, added, changed ------------------------------------------------------------


async def test_what_code_declares_is_there_from_now_on(store: Store) -> None:
    await store.declare_schedules([("b", NAME, DAILY), ("a", NAME, HOURLY)], NOW + 0.5)

    first, second = await store.schedules()
    assert second == ScheduleRow(
        "b", NAME, "code", DAILY, None, second.version, None, None, int(NOW), NOW + 0.5, None
    )
    assert (first.name, first.declared) == ("a", HOURLY)
    assert first.version != second.version
    assert await store.schedule("c") is None


@pytest.mark.parametrize("name", ["s\0", 's"', "\x1f", "käse", "\U0001f9c0", "", "s" * 10_000])
async def test_a_row_is_read_as_it_was_written_alone_and_with_others(
    store: Store, name: str
) -> None:
    moment = NOW + 0.1 + 2**-22
    await store.declare_schedules([(name, name, f'["{name}"]'), ("other", NAME, DAILY)], moment)
    found = await row_of(store, name)
    await store.change_schedule(name, '["\\u0000"]', found.version, moment)
    await store.pause_schedule(name, name, moment)

    row = await row_of(store, name)

    assert (row.name, row.func_name, row.declared) == (name, name, f'["{name}"]')
    assert (row.changes, row.paused_by) == ('["\\u0000"]', name)
    assert row.cursor == row.paused_at == moment
    assert row in await store.schedules()
    stamp = await store.schedules_stamp()
    await store.declare_schedules([(name, name, f'["{name}"]')], NOW + 9)
    assert await store.schedules_stamp() == stamp


async def test_what_is_declared_again_as_it_was_stays_untouched(place: Place, store: Store) -> None:
    row = await declared(store)
    stamp = await store.schedules_stamp()
    await store.fire([wish(row)])
    fired = await row_of(store)

    other = await place.open("other")
    await other.declare_schedules([("s", NAME, DAILY)], NOW + 5000)

    assert await row_of(other) == fired
    assert await other.schedules_stamp() == stamp


@pytest.mark.parametrize("new", [(NAME, HOURLY), ("app:other", DAILY), (NAME, DAILY_WITH_JITTER)])
async def test_what_is_declared_with_another_rule_counts_from_now(
    store: Store, new: tuple[str, str]
) -> None:
    row = await declared(store)
    await store.fire([wish(row)])
    found = await row_of(store)
    await store.change_schedule("s", '{"args": 1, "jitter": 2}', found.version, NOW + 100)
    await store.pause_schedule("s", "anna", NOW + 100)
    before = await row_of(store)

    await store.declare_schedules([("s", *new)], NOW + 5000)

    after = await row_of(store)
    assert (after.func_name, after.declared) == new
    assert after.version > before.version
    assert after.cursor == (NOW + 5000 if new[1] == HOURLY else before.cursor)
    # People's wishes, the phase of its intervals and its history are kept.
    assert (after.paused_by, after.anchor) == ("anna", row.anchor)
    # But for arguments of another function.
    assert after.changes == ('{"jitter":2}' if new[0] != NAME else '{"args": 1, "jitter": 2}')
    assert after.last_task == before.last_task


async def test_what_was_added_at_run_time_may_become_a_part_of_the_code(store: Store) -> None:
    assert await store.add_schedule("s", NAME, DAILY, NOW)
    added = await row_of(store)
    assert (added.origin, added.anchor, added.cursor) == ("run time", int(NOW), NOW)

    await store.declare_schedules([("s", NAME, DAILY)], NOW + 10)

    after = await row_of(store)
    assert (after.origin, after.cursor) == ("code", NOW)
    assert after.version > added.version


async def test_a_name_is_added_once(store: Store) -> None:
    row = await declared(store)

    assert not await store.add_schedule("s", "app:other", HOURLY, NOW + 1)

    assert await row_of(store) == row


async def test_instances_that_declare_at_once_agree(place: Place) -> None:
    stores = [await place.open(f"i-{n}") for n in range(4)]
    rows = [(f"s{n:04}", NAME, DAILY) for n in range(5000)]

    await asyncio.gather(*(one.declare_schedules(rows, NOW) for one in stores))

    found = await stores[0].schedules()
    assert [row.name for row in found] == [name for name, _, _ in rows]
    assert len({row.version for row in found}) == 5000
    assert (await stores[1].schedules_stamp())[0] == 5000


async def test_a_change_counts_from_now_and_can_be_taken_back(store: Store) -> None:
    row = await declared(store)

    assert await store.change_schedule("s", HOURLY, row.version, NOW + 10)
    changed = await row_of(store)
    assert (changed.changes, changed.declared, changed.cursor) == (HOURLY, DAILY, NOW + 10)

    assert not await store.change_schedule("s", None, row.version, NOW + 20)
    assert await row_of(store) == changed
    assert await store.change_schedule("s", None, changed.version, None)
    after = await row_of(store)
    assert (after.changes, after.cursor) == (None, NOW + 10)
    assert row.version < changed.version < after.version


async def test_a_pause_keeps_who_wanted_it_first(store: Store) -> None:
    row = await declared(store)

    assert await store.pause_schedule("s", "anna", NOW + 10)
    assert await store.pause_schedule("s", "bert", NOW + 20)

    paused = await row_of(store)
    assert (paused.paused_by, paused.paused_at) == ("anna", NOW + 10)
    assert paused.cursor == row.cursor


async def test_what_fell_into_a_pause_was_not_missed(store: Store) -> None:
    await declared(store)
    await store.pause_schedule("s", "anna", NOW + 10)
    paused = await row_of(store)

    assert await store.resume_schedule("s", NOW + 5000)

    after = await row_of(store)
    assert (after.paused_by, after.paused_at, after.cursor) == (None, None, NOW + 5000)
    assert after.version > paused.version


async def test_to_resume_what_is_not_paused_changes_nothing(store: Store) -> None:
    row = await declared(store)

    assert await store.resume_schedule("s", NOW + 5000)

    assert await row_of(store) == row


async def test_a_removed_schedule_takes_its_history_along_but_not_its_tasks(store: Store) -> None:
    row, other = await declared(store), await declared(store, "t")
    await store.fire([wish(row, 1), wish(other, 2)])

    assert await store.remove_schedule("s")

    assert [left.name for left in await store.schedules()] == ["t"]
    assert (await store.firings("s", 9), len(await store.firings("t", 9))) == ([], 1)
    assert await tasks_of(store) == 2


async def test_nothing_can_be_done_to_a_schedule_that_is_not_there(store: Store) -> None:
    stamp = await store.schedules_stamp()

    assert not await store.change_schedule("s", DAILY, 1, NOW)
    assert not await store.pause_schedule("s", "anna", NOW)
    assert not await store.resume_schedule("s", NOW)
    assert not await store.remove_schedule("s")
    assert await store.schedules_stamp() == stamp


async def test_the_stamp_tells_every_change_to_every_instance(place: Place, store: Store) -> None:
    other = await place.open("other")
    seen = [await other.schedules_stamp()]
    for change in (
        store.declare_schedules([("s", NAME, DAILY), ("t", NAME, DAILY)], NOW),
        store.add_schedule("u", NAME, DAILY, NOW),
        store.change_schedule("s", HOURLY, 1, NOW),
        store.pause_schedule("s", "anna", NOW),
        store.resume_schedule("s", NOW),
        store.declare_schedules([("s", NAME, HOURLY)], NOW),
        # The one with the highest version, then one like it.
        store.remove_schedule("s"),
        store.add_schedule("s", NAME, HOURLY, NOW),
    ):
        await change
        seen.append(await other.schedules_stamp())
    assert len(set(seen)) == len(seen)

    await store.fire([wish(await row_of(store)), at_start(await row_of(store), 2)])

    assert await other.schedules_stamp() == seen[-1]


# -- history ------------------------------------------------------------------------------------


async def test_the_history_shows_each_task_as_it_is_now_newest_first(store: Store) -> None:
    row = await declared(store)
    await store.fire([wish(row, 1, at=NOW + 1)])
    await finish(store, task(1), TaskStatus.FAILED)
    await store.fire([wish(row, 2, slot=SLOT + 1, at=NOW + 2)])
    late = wish(row, 3, slot=SLOT + 2, at=NOW + 3, skips_overlap=True)
    await store.fire([late, wish(row, 4, kind=Kind.HAND, slot=9, at=NOW + 4)])

    by_hand, left_out, waits, failed = await store.firings("s", 9)

    assert (by_hand.kind, by_hand.slot, by_hand.task_id) == (Kind.HAND, 9, task(4).task_id)
    assert left_out == FiringRow(
        Kind.SLOT, SLOT + 2, NOW + 3, "overlaps", None, "me", None, None, None, None
    )
    assert (waits.status, waits.started_at, waits.error) == (TaskStatus.PENDING, None, None)
    assert failed == FiringRow(
        Kind.SLOT, SLOT, NOW + 1, "fired", task(1).task_id, "me", TaskStatus.FAILED, "E: no",
        NOW + 70, NOW + 80,
    )  # fmt: skip
    assert await store.firings("s", 2) == [by_hand, left_out]
    assert await store.firings("s", -1) == []


async def test_the_history_outlives_the_tasks(store: Store) -> None:
    row = await declared(store)
    await store.fire([wish(row, 1)])
    await finish(store, task(1), TaskStatus.SUCCESS)
    await store.prune({TaskStatus.SUCCESS: NOW + 900}, 9)

    [found] = await store.firings("s", 9)

    assert (found.outcome, found.task_id) == ("fired", task(1).task_id)
    assert (found.status, found.ended_at) == (None, None)


async def with_history(store: Store, name: str, *ats: int) -> ScheduleRow:
    row = await declared(store, name)
    wishes = [
        wish(row, slot=SLOT + at, at=NOW + at, record=task(task_id=f"{name}-{at}")) for at in ats
    ]
    assert await store.fire(wishes) == [Fired.FIRED] * len(ats)
    return row


async def ages(store: Store, name: str) -> list[float]:
    return [found.at - NOW for found in await store.firings(name, 99)]


async def test_old_firings_are_pruned_but_for_the_newest_of_each_schedule(store: Store) -> None:
    await with_history(store, "old", 1, 2, 3, 4, 5)
    await with_history(store, "mixed", 1, 2, 11, 12, 13)
    await with_history(store, "new", 11, 12, 13, 14)
    await with_history(store, "rare", 1)

    assert await store.prune_firings(NOW + 10, 2, 99) == 5

    assert await ages(store, "old") == [5, 4]
    assert await ages(store, "mixed") == [13, 12, 11]
    assert await ages(store, "new") == [14, 13, 12, 11]
    assert await ages(store, "rare") == [1]
    assert await store.prune_firings(NOW + 10, 2, 99) == 0


async def test_pruning_stops_at_its_limit_and_goes_on_with_the_oldest(store: Store) -> None:
    await with_history(store, "s", *range(9))
    await with_history(store, "t", *range(3))

    counts = [await store.prune_firings(NOW + 100, 1, 4) for _ in range(4)]

    assert counts == [4, 4, 2, 0]
    assert (await ages(store, "s"), await ages(store, "t")) == ([8], [2])


async def test_firings_of_one_moment_are_pruned_by_slot(store: Store) -> None:
    row = await declared(store)
    await store.fire([wish(row, n, slot=SLOT + n, at=NOW) for n in range(6)])

    assert await store.prune_firings(NOW + 1, 2, 99) == 4

    assert [found.slot for found in await store.firings("s", 9)] == [SLOT + 5, SLOT + 4]


async def test_keeping_none_prunes_all_that_is_old(store: Store) -> None:
    await with_history(store, "s", 1, 2, 20)

    assert await store.prune_firings(NOW + 10, 0, 0) == 0
    assert await store.prune_firings(NOW + 10, 0, 99) == 2
