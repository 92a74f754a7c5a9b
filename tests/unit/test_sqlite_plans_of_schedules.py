"""No statement about schedules that runs often reads a table from end to end."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskflow.stores.sqlite import firing, once, schedules
from taskflow.stores.sqlite.checks import check_path
from taskflow.stores.sqlite.schema import connect, migrate

TABLES = "tasks|attempts|schedules|firings|it|once|instances"
STATEMENTS = {
    "stamp": schedules.STAMP,
    "one": schedules.ONE,
    "is it paused": schedules.IS_PAUSED,
    "change": schedules.CHANGE,
    "pause": schedules.PAUSE,
    "resume": schedules.RESUME,
    "remove": schedules.REMOVE,
    "remove firings": schedules.REMOVE_FIRINGS,
    "look for one": firing.look(1),
    "look for many": firing.look(256),
    "mark many": firing.mark(256),
    "history": firing.HISTORY,
    "drop many": firing.drop(256),
    "once: held": once.HELD,
    "once: change": once.CHANGE,
    "once: cancel": once.CANCEL,
    "once: task of": once.TASK_OF,
    "once: pruned": "DELETE FROM once WHERE task_id = ?",
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

    assert any(re.search(TABLES, step) for step in steps)
    assert [step for step in steps if re.match(rf"SCAN ({TABLES})\b", step)] == []


@pytest.mark.parametrize("sql", [firing.HISTORY, once.SCHEDULED])
def test_a_list_is_read_in_its_order(connection: sqlite3.Connection, sql: str) -> None:
    assert not any("TEMP B-TREE" in step for step in plan(connection, sql))


def test_what_is_to_be_pruned_is_found_by_a_few_looks_at_each_schedule(
    connection: sqlite3.Connection,
) -> None:
    steps = plan(connection, firing.DOOMED)

    of_firings = [step for step in steps if "firings" in step]
    assert len(of_firings) == 6
    assert all("COVERING INDEX firings_by_time (schedule=?" in step for step in of_firings)
    assert "TEMP B-TREE" not in " ".join(steps)
    # What is too many is walked over by itself, not all that is there.
    assert of_firings[-1].endswith("(schedule=? AND at<?)")


def test_scheduled_tasks_are_read_along_the_index_of_what_is_due(
    connection: sqlite3.Connection,
) -> None:
    steps = plan(connection, once.SCHEDULED)

    assert [step for step in steps if re.search(r"\btasks\b", step)] == [
        "SCAN tasks USING INDEX tasks_due"
    ]
