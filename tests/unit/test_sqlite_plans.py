"""No statement that runs often reads a table from end to end."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskflow.record import TaskFilter
from taskflow.states import TaskStatus
from taskflow.stores.sqlite import (
    claims,
    commit,
    keyed,
    many,
    moves,
    queries,
    search,
    search_sql,
    takeover,
)
from taskflow.stores.sqlite.checks import check_path
from taskflow.stores.sqlite.schema import connect, migrate

_CURSOR = queries.make_cursor(500)
STATEMENTS = {
    "claim: any": claims.ANY,
    "claim: heads": claims.HEADS,
    "claim: look": claims.NEXT,
    "claim: look at several": claims.NEXT_OF_SEVERAL,
    "claim: holders": claims.HOLDERS,
    "claim: take": claims.TAKE,
    "park": claims.PARK,
    "block": claims.BLOCK,
    "unpark": claims.UNPARK,
    "parked": claims.PARKED,
    "due": moves.DUE,
    "promote": moves.PROMOTE,
    "cancel": moves.CANCEL,
    "ask to end": moves.ASK_TO_END,
    "revive": moves.REVIVE,
    "status": moves.STATUS,
    "prune: look": moves.OLD,
    "prune: delete": moves.DELETE,
    "prune: attempts": moves.DELETE_OF_TASKS[0],
    "prune: logs": moves.DELETE_OF_TASKS[1],
    "prune: cancels": moves.DELETE_OF_TASKS[2],
    "keep attempt": keyed.KEEP_ATTEMPT,
    "keyed revival": keyed._REVIVE,
    "owners": takeover.OWNERS,
    "interrupt": takeover.INTERRUPT,
    "fail": takeover.FAIL,
    "cancel what was asked": takeover.CANCEL_ASKED,
    "keep attempts": takeover.KEEP_ATTEMPTS,
    "hand back what ran": takeover.HAND_BACK_RAN,
    "hand back what waited": takeover.HAND_BACK_PENDING,
    "free": takeover.FREE_OTHERS,
    "update one": commit._update(12, 1),
    "update many": commit._update(16, 64),
    "get": queries.GET,
    "attempts": queries.ATTEMPTS,
    "logs": queries.LOGS,
    "key holders": queries.KEY_HOLDERS,
    "next due": queries.NEXT_DUE,
    "window": queries.WINDOW,
    "groups of errors": search._ERRORS,
    "rows of a search": search._ROWS,
    "searched to": search._ARRIVED,
    "the task at a moment": search._SEQ_AT,
    "window of a status": f"SELECT seq FROM {search_sql.SOURCES['status'][0]} AND seq < :top",
    "window of an error": f"SELECT seq FROM {search_sql.SOURCES['fingerprint'][0]} AND seq < :top",
    "window of all": f"SELECT seq FROM {search_sql.SOURCES['all'][0]} AND seq < :top",
    "floor of a status": search_sql.SOURCES["status"][1],
    "floor of all": search_sql.SOURCES["all"][1],
    "many: final": many.FINAL,
    "many: open": many.OPEN,
    "many: cancel": many.CANCEL,
    "many: ask to end": many.ASK_TO_END,
    "many: revive": many.REVIVE,
    "many: keep attempts": many.KEEP_ATTEMPTS,
    "is it an id": queries.HAS_ID,
    "page by status": queries.page(TaskFilter(status=TaskStatus.FAILED), by_id=False)[0],
    "page by id": queries.page(TaskFilter(q="0190-000"), by_id=True)[0],
    "next page": queries.page(TaskFilter(cursor=_CURSOR), by_id=False)[0],
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path: Path = tmp_path_factory.mktemp("plans") / "tasks.db"
    check_path(path)
    connection = connect(path)
    migrate(connection, path)
    yield connection
    connection.close()


def plan(connection: sqlite3.Connection, sql: str) -> list[str]:
    names = set(re.findall(r":(\w+)", sql))
    values = dict.fromkeys(names, 1) if names else (1,) * sql.count("?")
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize("sql", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_a_frequent_statement_finds_its_rows_by_an_index(
    connection: sqlite3.Connection, sql: str
) -> None:
    steps = plan(connection, sql)

    assert any(re.search("tasks|attempts|logs|cancels", step) for step in steps)
    assert [step for step in steps if re.match(r"SCAN (tasks|attempts|logs|cancels)", step)] == []


@pytest.mark.parametrize(
    "name",
    [
        "claim: heads",
        "claim: look",
        "claim: look at several",
        "due",
        "prune: look",
        "next due",
        "page by status",
    ],
)
def test_a_bounded_look_needs_no_sorting(connection: sqlite3.Connection, name: str) -> None:
    assert not any("TEMP B-TREE" in step for step in plan(connection, STATEMENTS[name]))


@pytest.mark.parametrize("name", [name for name in STATEMENTS if "back" in name or "free" in name])
def test_taking_over_reads_only_what_is_owned(connection: sqlite3.Connection, name: str) -> None:
    assert any("tasks_owned" in step for step in plan(connection, STATEMENTS[name]))


def test_counting_reads_an_index_and_no_task(connection: sqlite3.Connection) -> None:
    assert [s for s in plan(connection, queries.COUNTS) if "COVERING INDEX" not in s] == []


def test_the_backlog_reads_an_index_and_a_few_tasks(connection: sqlite3.Connection) -> None:
    steps = [step for step in plan(connection, queries.BACKLOG) if re.search(r"\btasks\b", step)]

    assert steps
    # A single task is read where it is known by its number.
    assert [s for s in steps if not re.search("COVERING INDEX|INTEGER PRIMARY KEY", s)] == []
    assert "TEMP B-TREE" not in " ".join(plan(connection, queries.BACKLOG))


def test_requests_to_cancel_are_read_from_the_requests(connection: sqlite3.Connection) -> None:
    """They are few; the tasks of an instance may be many."""
    first, second = plan(connection, queries.CANCEL_REQUESTS)

    assert first == "SCAN cancels"
    assert second.startswith("SEARCH tasks USING INDEX tasks_by_id")


@pytest.mark.parametrize("trigger", ["tasks_leave_key", "tasks_leave_key_deleted"])
def test_the_next_of_a_key_is_found_by_an_index(
    connection: sqlite3.Connection, trigger: str
) -> None:
    sql = "SELECT sql FROM sqlite_master WHERE name = ?"
    [(text,)] = connection.execute(sql, (trigger,)).fetchall()
    found = re.search(r"seq IN \((.*)\);\s*END", text, re.DOTALL)
    assert found is not None

    steps = plan(connection, found[1].replace("OLD.concurrency_key", "?"))

    of_tasks = [step for step in steps if "tasks" in step]
    assert len(of_tasks) == 3
    assert [s for s in of_tasks if "COVERING INDEX tasks_blocked (concurrency_key=?" not in s] == []
    assert "TEMP B-TREE" not in " ".join(steps)


def test_the_first_page_walks_back_from_the_newest_task(connection: sqlite3.Connection) -> None:
    sql, _ = queries.page(TaskFilter(), by_id=False)

    # Along the table's own order, and no further than the page is long.
    assert plan(connection, sql) == ["SCAN tasks"]
    assert "ORDER BY seq DESC LIMIT ?" in sql
