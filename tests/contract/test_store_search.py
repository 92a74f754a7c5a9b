"""What every store promises of its search: what it finds, how far it looks, what it changes."""

from __future__ import annotations

import pytest

from taskflow.query import parse
from taskflow.record import AttemptRecord, Batch, LogLine, TaskRecord
from taskflow.states import TaskStatus
from taskflow.stores.base import Store
from taskflow.stores.search import Found, Handle
from taskflow.stores.sqlite.access import Access
from taskflow.stores.sqlite.search import SQLiteSearch
from taskflow.stores.sqlite.store import SQLiteStore
from tests.contract.store_bench import (
    NOW,
    Place,
    ids,
    put,
    running,
    stored,
    survivor_of,
    take,
    task,
)

LATER = NOW + 1000


def ended(number: int, status: TaskStatus = TaskStatus.FAILED, **values: object) -> TaskRecord:
    times = {"started_at": NOW + 5, "ended_at": NOW + 9, "attempt": 1}
    return task(number, status=status, **{**times, **values})


async def search(store: Store, text: str, limit: int = 50, cursor: str | None = None) -> Found:
    return await store.search.page(parse(text, LATER), LATER, limit, cursor)


async def numbers(store: Store, text: str) -> list[int]:
    """The tasks that are found, by the numbers that `task` gave them."""
    found = await search(store, text)
    assert found.next_cursor is None
    assert found.searched_to is None
    return sorted(int(record.task_id[5:]) for record in found.items)


async def handles(store: Store, text: str) -> list[Handle]:
    return (await store.search.pick(parse(text, LATER), LATER, 100, None)).items


# -- what is found -------------------------------------------------------------------------------


async def put_a_few(store: Store) -> None:
    await put(
        store,
        task(1, func_name="shop:send_mail", queue="mail", tags='{"team": "blue"}'),
        task(2, func_name="shop:resize", lane="cpu", tags='["urgent"]', idempotency_key="order-1"),
        task(3, func_name="app:send", concurrency_key="app:send:user-7", source="schedule"),
        ended(4, error="SMTPError: no_route", fingerprint="aa11", instance="one-1", attempt=3),
        ended(5, TaskStatus.SUCCESS, ended_at=NOW + 400),
        running(6, owner="two-2"),
        task(7, tags="no json", func_name="50%_off"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [1, 2, 3, 4, 5, 6, 7]),
        ("status:pending", [1, 2, 3, 7]),
        ("status:failed,success", [4, 5]),
        ("-status:pending", [4, 5, 6]),
        ("task:send", [1, 3, 4, 5, 6]),
        ("task:send_*", [1]),
        ("task:shop:*", [1, 2]),
        ("task:SEND_M", [1]),
        ("task:%", [7]),
        ("task:0%_", [7]),
        ("task:d_m", [1]),
        ("task:s?nd", [3, 4, 5, 6]),
        ("lane:cpu", [2]),
        ("queue:mail,other", [1]),
        ("queue:m*", [1]),
        ("tag:team", [1]),
        ("tag:team=blue", [1]),
        ("tag:team=red", []),
        ("tag:urgent", [2]),
        ("-tag:urgent", [1, 3, 4, 5, 6, 7]),
        ("source:schedule", [3]),
        ("error:route", [4]),
        ("error:SMTP*", [4]),
        ("error:route*", []),
        ("-error:route", [1, 2, 3, 5, 6, 7]),
        ("fingerprint:aa11", [4]),
        ("fingerprint:aa*", [4]),
        ("fingerprint:aa", []),
        ("instance:one", [4]),
        ("instance:two-2", [6]),
        ("id:0190-00000005", [5]),
        ("id:0190-00000005,0190-00000006", [5, 6]),
        ("id:0190-000", [1, 2, 3, 4, 5, 6, 7]),
        ("id:*6", [6]),
        ("id:nobody-has-this", []),
        ("key:order-1", [2]),
        ("key:user-7", [3]),
        ("key:user-*", [3]),
        ("run>1m", [5, 6]),
        ("run<1m", [4]),
        ("wait>990s", [1, 2, 3, 7]),
        ("attempt>1", [4]),
        ("attempt:3", [4]),
        ("after:-30m before:2099-01-01", [1, 2, 3, 4, 5, 6, 7]),
        ("before:-995s", [1, 2, 3, 4]),
        ("smtp", [4]),
        ("resize", [2]),
        ("0190-00000002", [2]),
        ("shop -resize", [1]),
        ("status:failed status:success", []),
        ("'; DROP TABLE tasks; --", []),
    ],
)
async def test_a_query_finds_what_it_says(store: Store, text: str, expected: list[int]) -> None:
    await put_a_few(store)

    assert await numbers(store, text) == expected
    query = parse(text, LATER)
    assert sum((await store.search.tally(query, LATER)).counts.values()) == len(expected)
    assert (await store.search.overview(query, LATER)).count == len(expected)


async def test_pages_are_newest_first_and_hold_every_task_once(store: Store) -> None:
    await put(store, *(ended(n, lane="io" if n % 3 else "cpu") for n in range(1, 31)))
    for text in ("lane:io", "status:failed lane:io", "status:failed,pending lane:io"):
        seen: list[str] = []
        cursor: str | None = None
        while True:
            found = await search(store, text, 7, cursor)
            seen += ids(found.items)
            cursor = found.next_cursor
            if cursor is None:
                break

        assert seen == ids([task(n) for n in range(30, 0, -1) if n % 3])


async def test_the_last_page_says_that_it_is_the_last(store: Store) -> None:
    await put(store, *(task(n) for n in range(4)))

    first = await search(store, "task:send", 2)
    assert (await search(store, "task:send", 2, first.next_cursor)).next_cursor is None


async def test_a_list_has_neither_arguments_nor_results(store: Store) -> None:
    await put(store, ended(1, args='{"args":[1]}', result="2", error="E: no"))

    (record,) = (await search(store, "status:failed")).items

    assert (record.args, record.result, record.error) == ("", None, "E: no")


async def test_a_cursor_that_is_none_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await search(store, "task:x", 5, "nonsense")


async def test_counts_and_overviews_tell_what_matches(store: Store) -> None:
    await put_a_few(store)

    tally = await store.search.tally(parse("task:send", LATER), LATER)
    overview = await store.search.overview(parse("task:send", LATER), LATER)

    assert tally.complete
    assert tally.counts == {
        TaskStatus.PENDING: 2,
        TaskStatus.FAILED: 1,
        TaskStatus.SUCCESS: 1,
        TaskStatus.RUNNING: 1,
    }
    assert overview.tasks == {"app:send": 4, "shop:send_mail": 1}
    assert (overview.oldest, overview.newest) == (NOW + 1, NOW + 6)
    nothing = await store.search.overview(parse("task:nobody", LATER), LATER)
    assert (nothing.count, nothing.oldest, nothing.newest) == (0, None, None)


async def test_a_search_that_gives_up_says_how_far_it_came_and_goes_on_from_there(
    store: Store,
) -> None:
    assert isinstance(store, SQLiteStore)
    await put(store, *(task(n, lane="cpu" if n == 3 else "io") for n in range(95)))
    access = Access(store._write, store._fetch, store._survey, lambda: "me", lambda: store.path)
    hasty = SQLiteSearch(access, page_time=0, count_time=0, first=10)
    query = parse("lane:cpu", LATER)

    found = await hasty.page(query, LATER, 5, None)
    assert (found.items, found.searched_to) == ([], NOW + 85)
    assert not (await hasty.tally(query, LATER)).complete
    pages = 1
    while not found.items:
        found = await hasty.page(query, LATER, 5, found.next_cursor)
        pages += 1

    assert (ids(found.items), pages) == (ids([task(3)]), 10)
    assert found.next_cursor is None
    assert found.searched_to is None


# -- what is done to many ------------------------------------------------------------------------


async def test_reviving_many_is_as_reviving_each(store: Store) -> None:
    await put(
        store,
        *(ended(n, error="E: no", fingerprint="aa", stacktrace="trace") for n in (1, 2)),
        task(3),
    )
    found = await handles(store, "task:send")

    assert await store.search.revive(found, LATER) == 2

    for number in (1, 2):
        record = await stored(store, task(number).task_id)
        assert (record.status, record.attempt, record.max_attempts) == (TaskStatus.PENDING, 1, 2)
        assert (record.error, record.fingerprint, record.lease) == (None, None, 1)
        assert [one.error for one in await store.attempts(record.task_id)] == ["E: no"]
    assert len(await take(store, 9)) == 3


async def test_what_was_changed_since_it_was_found_is_left_alone(
    place: Place, store: Store
) -> None:
    other = await place.open("other")
    await put(store, *(ended(n) for n in range(5)))
    found = await handles(store, "status:failed")

    done = [await one.search.revive(found, LATER) for one in (store, other)]
    assert done == [5, 0]
    assert await other.search.discard(found) == 0
    assert (await other.search.request_cancel(found, LATER)).cancelled == []
    assert await numbers(store, "status:pending") == [0, 1, 2, 3, 4]


async def test_many_are_cancelled_where_they_wait_and_asked_to_end_where_they_run(
    place: Place, store: Store
) -> None:
    other = await place.open("other")
    await put(store, task(1), task(2, status=TaskStatus.SCHEDULED, run_at=LATER), ended(4))
    await put(other, running(3, owner="other"))

    found = await store.search.request_cancel(await handles(store, "task:send"), LATER)

    assert sorted(found.cancelled) == ids([task(1), task(2)])
    assert found.asked == 1
    assert await other.cancel_requests() == ids([task(3)])
    assert (await stored(store, task(1).task_id)).ended_at == LATER
    again = await store.search.request_cancel(await handles(store, "status:running"), LATER)
    assert (again.cancelled, again.asked) == ([], 1)


async def test_what_is_discarded_is_gone_with_all_that_belongs_to_it(store: Store) -> None:
    first = ended(1)
    await put(store, first, task(2))
    history = AttemptRecord(first.task_id, 0, NOW, NOW + 1, "failed", "E", None, "me")
    line = LogLine(first.task_id, 1, NOW, "info", "hello")
    await store.commit(Batch(attempts=[history], logs=[line]))

    assert await store.search.discard(await handles(store, "task:send")) == 1

    assert await store.get(first.task_id) is None
    assert await store.attempts(first.task_id) == []
    assert await store.logs(first.task_id, 5) == []
    assert await numbers(store, "") == [2]


async def test_nothing_is_done_to_nobody(store: Store) -> None:
    assert await store.search.revive([], LATER) == 0
    assert await store.search.discard([]) == 0
    assert (await store.search.request_cancel([], LATER)).asked == 0
    assert await store.search.handle("nobody") is None


# -- groups of errors ----------------------------------------------------------------------------


async def test_failures_are_grouped_by_their_kind_the_newest_first(store: Store) -> None:
    await put(
        store,
        *(
            ended(n, fingerprint="aa", error=f"E: {n}", ended_at=NOW + n, started_at=NOW)
            for n in range(1, 6)
        ),
        ended(6, fingerprint="bb", error="F: no", ended_at=NOW + 99.5, func_name="app:other"),
        ended(7, fingerprint="aa", error="long ago", ended_at=NOW - 500),
        ended(8, TaskStatus.SUCCESS),
    )

    groups = await store.search.errors(NOW, NOW + 100, 4, 10)

    assert groups.since == NOW
    second, first = groups.items
    assert (first.fingerprint, first.count, first.trend) == ("aa", 5, [5, 0, 0, 0])
    assert (first.first_at, first.last_at) == (NOW + 1, NOW + 5)
    assert (first.error, first.func_name, first.task_id) == ("E: 5", "app:send", task(5).task_id)
    assert (second.fingerprint, second.func_name, second.trend) == ("bb", "app:other", [0, 0, 0, 1])
    assert [g.fingerprint for g in (await store.search.errors(NOW, NOW + 100, 4, 1)).items] == [
        "bb"
    ]
    assert (await store.search.errors(NOW + 200, NOW + 300, 4, 9)).items == []


async def test_a_task_that_came_to_good_is_no_failure_whatever_it_was_before(store: Store) -> None:
    """Instances of a version that knew no kinds of errors leave the kind where it is."""
    later = (TaskStatus.SUCCESS, TaskStatus.CANCELLED, TaskStatus.FAILED, TaskStatus.INTERRUPTED)
    await put(
        store,
        *(
            ended(n, status, fingerprint="aa", error="E", ended_at=NOW + n)
            for n, status in enumerate(later, 1)
        ),
    )

    (group,) = (await store.search.errors(NOW, NOW + 100, 4, 10)).items

    assert (group.count, group.first_at, group.last_at) == (2, NOW + 3, NOW + 4)


async def test_what_a_dead_instance_left_has_a_kind_of_error_too(place: Place) -> None:
    survivor, _ = await survivor_of(
        place, running(1, owner="dead"), running(2, owner="dead"), rerun=False
    )

    (group,) = (await survivor.search.errors(NOW, NOW + 100, 24, 10)).items

    assert group.count == 2
    assert "died" in group.error
