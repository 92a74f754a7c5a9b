"""What claims cost: what was walked over once, or may not be taken, is not walked over again.

Cost is counted in instructions of SQLite's machine, which are the same on every machine.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskflow.record import Batch, TaskRecord, insert_row, update_row
from taskflow.states import TaskStatus
from taskflow.stores.base import Claimed
from taskflow.stores.sqlite import claims, commit, schema
from taskflow.stores.sqlite.checks import check_path
from taskflow.stores.sqlite.transactions import transaction

NOW = 1_700_000_000.0
NAMES = frozenset({"app:f"})


@pytest.fixture
def connection(db_path: Path) -> Iterator[sqlite3.Connection]:
    check_path(db_path)
    connection = schema.connect(db_path)
    schema.migrate(connection, db_path)
    commit.prepare(connection, "me")
    yield connection
    connection.close()


def put(connection: sqlite3.Connection, first: int, count: int, **values: object) -> None:
    records = [TaskRecord(f"id-{first + n}", "app:f", "io", NOW) for n in range(count)]
    for record in records:
        for name, value in values.items():
            setattr(record, name, value)
    commit.write(connection, Batch(inserts=[insert_row(one) for one in records]), "me")


def claim(connection: sqlite3.Connection, limit: int, **places: int) -> Claimed:
    return claims.claim(connection, "me", "io", limit, NAMES, places, None)


def cost(connection: sqlite3.Connection, work: Callable[[], object]) -> int:
    """Instructions of SQLite that ``work`` takes."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    connection.set_progress_handler(count, 1)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 1)
    return steps


def test_a_queue_without_places_is_stepped_over_however_long_it_is(
    connection: sqlite3.Connection,
) -> None:
    put(connection, 0, 10, queue="closed", priority=9)
    put(connection, 1_000_000, 10)
    short = cost(connection, lambda: claim(connection, 3, closed=0))
    put(connection, 100, 20_000, queue="closed", priority=9)

    long = cost(connection, lambda: claim(connection, 3, closed=0))

    assert long <= short


def test_what_waits_for_a_key_is_walked_over_once(connection: sqlite3.Connection) -> None:
    put(connection, 0, 1500, concurrency_key="k")
    first = cost(connection, lambda: claim(connection, 10))
    put(connection, 9000, 3)

    second = cost(connection, lambda: claim(connection, 10))

    assert first > 1500 * 10
    assert second < 1000


def test_a_claim_that_has_looked_past_too_many_ends_and_says_that_there_is_more(
    connection: sqlite3.Connection,
) -> None:
    count = 2 * claims.MOST_MARKED
    put(connection, 0, count, concurrency_key="k", queue="a")
    put(connection, 50_000, 1, queue="b", priority=-1)

    claimed = claim(connection, 9)

    assert [one.task_id for one in claimed.tasks] == ["id-0"]
    assert claimed.left == {"a": 0, "b": -1}
    sql = "SELECT count(*) FROM tasks WHERE blocked IS NOT NULL"
    [(marked,)] = connection.execute(sql).fetchall()
    assert claims.MOST_MARKED <= marked < claims.MOST_MARKED + claims.SLICE


def test_what_cannot_be_taken_is_walked_over_in_long_steps(
    connection: sqlite3.Connection,
) -> None:
    """However few tasks the claim may take."""
    put(connection, 0, 900, concurrency_key="k")
    claim(connection, 1)
    put(connection, 5000, 900, queue="other", concurrency_key="k", priority=-1)
    put(connection, 9000, 1, priority=-2)

    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    assert claim(connection, 1).tasks[0].task_id == "id-9000"

    # Triggers are traced as well, as comments.
    assert len([one for one in statements if not one.startswith("--")]) < 50


def test_waking_the_next_of_a_key_costs_the_same_however_many_wait(
    connection: sqlite3.Connection,
) -> None:
    def end(key: str) -> int:
        [held] = claim(connection, 1).tasks
        assert held.concurrency_key == key
        while claim(connection, 10).left:
            pass  # marks the others
        held.status, held.owner = TaskStatus.SUCCESS, None
        batch = Batch(updates=[update_row(held)])
        return cost(connection, lambda: commit.write(connection, batch, "me"))

    put(connection, 0, 4, concurrency_key="few")
    few = end("few")
    claim(connection, 10)
    put(connection, 100, 15_000, concurrency_key="many")

    assert end("many") <= few + 20


def test_the_end_of_a_task_without_a_key_costs_little_more_for_keys_and_requests(
    connection: sqlite3.Connection,
) -> None:
    """Two conditions, and one look into the table of requests: 62 instructions of 190."""

    def ends() -> int:
        records = claim(connection, 64).tasks
        for record in records:
            record.status, record.owner = TaskStatus.SUCCESS, None
        batch = Batch(updates=[update_row(record) for record in records])
        return cost(connection, lambda: commit.write(connection, batch, "me"))

    put(connection, 0, 128)
    with_triggers = ends()
    for name in ("tasks_leave_key", "tasks_asked_to_end"):
        connection.execute(f"DROP TRIGGER {name}")

    assert with_triggers - ends() < 64 * 80


def test_looking_at_several_queues_reads_no_further_than_needed(
    connection: sqlite3.Connection,
) -> None:
    for n in range(5):
        put(connection, n * 10_000, 3, queue=f"q{n}")
    short = cost(connection, lambda: claim(connection, 4))
    for n in range(5):
        put(connection, n * 10_000 + 100, 4000, queue=f"q{n}")

    assert cost(connection, lambda: claim(connection, 4)) <= short * 1.2


def test_a_claim_of_nothing_needs_no_lock(connection: sqlite3.Connection, db_path: Path) -> None:
    """Where nothing waits, or nothing that may be taken: another process may be writing."""
    put(connection, 0, 3, queue="closed", priority=4)
    other = schema.connect(db_path)
    other.execute("BEGIN IMMEDIATE")

    assert claim(connection, 5, closed=0) == Claimed([], {"closed": 4})
    assert claims.claim(connection, "me", "cpu", 5, NAMES, {}, None) == Claimed([], {})
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        claim(connection, 5)

    other.execute("ROLLBACK")
    other.close()


@pytest.fixture
def meanwhile(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, db_path: Path
) -> Iterator[Callable[[Callable[[sqlite3.Connection], object]], None]]:
    """Lets another process write between the first look of a claim and its transaction."""
    other = schema.connect(db_path)
    commit.prepare(other, "other")

    def arrange(work: Callable[[sqlite3.Connection], object]) -> None:
        @contextmanager
        def late(connection: sqlite3.Connection) -> Iterator[None]:
            work(other)
            with transaction(connection):
                yield

        monkeypatch.setattr(claims, "transaction", late)

    yield arrange
    other.close()


def test_a_claim_that_waited_for_the_lock_takes_what_came_first_meanwhile(
    connection: sqlite3.Connection,
    meanwhile: Callable[[Callable[[sqlite3.Connection], object]], None],
) -> None:
    put(connection, 0, 1, queue="a")
    meanwhile(lambda other: put(other, 10, 1, queue="b", priority=9))

    claimed = claim(connection, 1, a=1)

    assert [one.task_id for one in claimed.tasks] == ["id-10"]
    assert claimed.left == {"a": 0}


def test_a_claim_that_waited_for_the_lock_counts_who_holds_a_key_then(
    connection: sqlite3.Connection,
    meanwhile: Callable[[Callable[[sqlite3.Connection], object]], None],
) -> None:
    put(connection, 0, 1, queue="a", concurrency_key="k")
    put(connection, 10, 1, queue="b")
    # Looked at first, and free then.
    meanwhile(lambda other: put(other, 20, 1, lane="cpu", concurrency_key="k", owner="other"))

    claimed = claim(connection, 5, a=0)

    assert [one.task_id for one in claimed.tasks] == ["id-10"]
    assert claimed.left == {}
