"""What is special about the store on one SQLite file."""

# ruff: noqa: ASYNC240 - a look at a file between two awaits is no harm in a test

from __future__ import annotations

import asyncio
import resource
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from taskflow.errors import StoreError, StoreUnavailableError
from taskflow.record import (
    AttemptRecord,
    Batch,
    LogLine,
    TaskFilter,
    TaskRecord,
    insert_row,
    update_row,
)
from taskflow.schedules.rows import Fired, Firing, Kind
from taskflow.states import TaskStatus
from taskflow.stores.sqlite import commit, schema, writer
from taskflow.stores.sqlite.commit import SIZES, write
from taskflow.stores.sqlite.store import SQLiteStore
from taskflow.stores.sqlite.transactions import transaction

NOW = 1_700_000_000.0


def task(number: int, **values: object) -> TaskRecord:
    record = TaskRecord(f"id-{number}", "app:f", "io", NOW)
    for name, value in values.items():
        setattr(record, name, value)
    return record


def batch(*records: TaskRecord) -> Batch:
    return Batch(inserts=[insert_row(record) for record in records])


@pytest.fixture
async def store(db_path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(db_path)
    await store.open("me", NOW)
    yield store
    await store.close()


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


# -- opening ------------------------------------------------------------------------------------


async def test_every_file_of_the_database_is_private(store: SQLiteStore, db_path: Path) -> None:
    await store.commit(batch(task(1)))

    files = [path for path in db_path.parent.iterdir() if path.is_file()]

    assert {path.name for path in files} == {
        "tasks.db", "tasks.db-wal", "tasks.db-shm", "tasks.db.lock", "tasks.db.lock-next",
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


async def test_the_database_is_set_up_to_keep_what_it_acknowledged(store: SQLiteStore) -> None:
    def pragmas(connection: sqlite3.Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "trusted_schema", "cell_size_check")
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    assert await store._write(pragmas) == {
        "journal_mode": "wal", "synchronous": 2, "trusted_schema": 0, "cell_size_check": 1,
    }  # fmt: skip


async def test_the_read_path_cannot_write(store: SQLiteStore) -> None:
    with pytest.raises(StoreUnavailableError, match="cannot be written"):
        await store._fetch("DELETE FROM tasks")


async def test_memory_is_a_private_place_that_disappears() -> None:
    store = SQLiteStore(":memory:")
    await store.open("me", NOW)
    await store.commit(batch(task(1)))
    directory = store.path.parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    await store.close()

    assert not directory.exists()
    await store.open("me", NOW)
    assert await store.get("id-1") is None
    await store.close()


async def test_the_url_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert SQLiteStore("tasks.db").url == f"sqlite://{tmp_path}/tasks.db"
    assert SQLiteStore(":memory:").url == "sqlite:///:memory:"


async def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    path = tmp_path / "100% mine?#&é.db"
    store = SQLiteStore(path)
    await store.open('it\'s "me"; DROP TABLE tasks', NOW)
    await store.commit(batch(task(1, owner='it\'s "me"; DROP TABLE tasks')))

    assert path.is_file()
    assert len((await store.list(TaskFilter())).items) == 1
    await store.close()


async def test_opening_twice_is_an_error_that_harms_nothing(store: SQLiteStore) -> None:
    with pytest.raises(StoreError, match="is open already"):
        await store.open("again", NOW)

    await store.commit(batch(task(1)))
    assert await store.get("id-1") is not None


async def test_an_instance_is_registered_while_it_is_open(
    store: SQLiteStore, db_path: Path
) -> None:
    assert ask(db_path, "SELECT id, started_at FROM instances") == [("me", NOW)]

    await store.close()

    assert ask(db_path, "SELECT count(*) FROM instances") == [(0,)]


def _garbage(path: Path) -> None:
    path.write_bytes(b"This is not a database at all. " * 100)


def _newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    for statement in schema.MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('schema_version', '99')")
    connection.commit()
    connection.close()


def _foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE users (name)")
    connection.execute("CREATE TABLE tasks (title)")
    connection.execute("CREATE TABLE meta (a, b)")
    connection.close()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (_garbage, "is not an SQLite database: give taskflow a file of its own"),
        (_newer, "has schema version 99, this taskflow knows 4: upgrade"),
        (_foreign, r"holds tables of another program \(meta, tasks, users\)"),
    ],
)
async def test_a_file_of_somebody_else_is_refused_and_left_as_it_was(
    db_path: Path, make: Callable[[Path], None], complaint: str
) -> None:
    make(db_path)
    before = ask(db_path, "SELECT * FROM sqlite_master") if make is not _garbage else []
    store = SQLiteStore(db_path)

    with pytest.raises(StoreError, match=complaint) as caught:
        await store.open("me", NOW)

    assert not isinstance(caught.value, StoreUnavailableError)
    if make is _garbage:
        assert db_path.read_bytes().startswith(b"This is not")
    else:
        assert ask(db_path, "SELECT * FROM sqlite_master") == before


async def test_an_empty_file_becomes_a_database(db_path: Path) -> None:
    db_path.touch()
    store = SQLiteStore(db_path)

    await store.open("me", NOW)

    assert ask(db_path, "SELECT value FROM meta") == [(str(schema.SCHEMA_VERSION),)]
    await store.close()


async def test_a_migration_that_fails_changes_nothing(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (*schema.MIGRATIONS, ("CREATE TABLE more (x)", "CREATE TABLE more (x)"))
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(steps))

    with pytest.raises(StoreError, match="table more already exists"):
        await SQLiteStore(db_path).open("me", NOW)

    assert ask(db_path, "SELECT * FROM sqlite_master") == []


async def test_a_database_of_an_older_version_is_brought_up_to_date(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SQLiteStore(db_path)
    await store.open("me", NOW)
    await store.commit(batch(task(1)))
    await store.close()
    steps = (*schema.MIGRATIONS, ("CREATE TABLE more (x)",))
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(steps))

    await store.open("me", NOW)

    assert await store.get("id-1") is not None
    assert ask(db_path, "SELECT value FROM meta") == [(str(len(steps)),)]
    assert ask(db_path, "SELECT * FROM more") == []
    await store.close()


def _made_by(version: int, path: Path, *inserts: str) -> None:
    """A database as this version of the schema made it, with what was written into it."""
    connection = sqlite3.connect(path)
    for statements in (*schema.MIGRATIONS[:version], inserts):
        for statement in statements:
            connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('schema_version', ?)", (str(version),))
    connection.commit()
    connection.close()


async def test_the_tasks_of_the_first_version_are_still_there_and_run(db_path: Path) -> None:
    columns = "task_id, func_name, lane, created_at, status, priority, owner, parked, args"
    _made_by(
        1,
        db_path,
        f"INSERT INTO tasks ({columns}) VALUES"
        " ('low', 'app:f', 'io', 1.5, 'pending', -1, NULL, NULL, '[1]'),"
        " ('high', 'app:f', 'io', 2.5, 'pending', 7, NULL, NULL, ''),"
        " ('parked', 'gone:f', 'io', 3.5, 'pending', 9, NULL, 'no such function', ''),"
        " ('held', 'app:f', 'io', 4.5, 'running', 0, 'dead', NULL, ''),"
        " ('done', 'app:f', 'io', 5.5, 'success', 0, NULL, NULL, '')",
        "INSERT INTO logs (task_id, attempt, at, level, message)"
        " VALUES ('done', 1, 5.0, 'info', 'hello')",
    )
    store = SQLiteStore(db_path)

    await store.open("me", NOW)

    assert ask(db_path, "SELECT value FROM meta") == [("4",)]
    assert (await store.take_over(rerun=True, max_crashes=3, now=NOW)).handed_back == 1
    claimed = await store.claim("io", 9, {"app:f"}, NOW)
    assert [one.task_id for one in claimed.tasks] == ["high", "held", "low"]
    low = claimed.tasks[-1]
    assert (low.args, low.concurrency_key, low.key_limit) == ("[1]", None, 1)
    assert [line.message for line in await store.logs("done", 9)] == ["hello"]
    assert await store.unpark({"gone:f"}) == 1
    await store.close()


async def test_the_tasks_of_the_second_version_are_still_there_and_can_have_schedules(
    db_path: Path,
) -> None:
    columns = "task_id, func_name, lane, created_at, status, run_at, owner, concurrency_key"
    _made_by(
        2,
        db_path,
        f"INSERT INTO tasks ({columns}) VALUES"
        " ('first', 'app:f', 'io', 1.5, 'pending', NULL, NULL, 'k'),"
        " ('second', 'app:f', 'io', 2.5, 'pending', NULL, NULL, 'k'),"
        " ('later', 'app:f', 'io', 3.5, 'scheduled', 99.5, NULL, NULL),"
        " ('done', 'app:f', 'io', 4.5, 'cancelled', NULL, NULL, NULL)",
        "UPDATE tasks SET ended_at = 5.5 WHERE task_id = 'done'",
        "INSERT INTO controls VALUES ('lane', 'io', '{}', 1.5)",
    )
    store = SQLiteStore(db_path)

    await store.open("me", NOW)

    assert ask(db_path, "SELECT value FROM meta") == [("4",)]
    assert await store.controls() == {("lane", "io"): "{}"}
    assert [one.task_id for one in (await store.claim("io", 9, {"app:f"}, NOW)).tasks] == ["first"]
    assert [(one.task_id, key) for one, key in await store.scheduled(9)] == [("later", None)]
    assert await store.prune({TaskStatus.CANCELLED: NOW}, 9) == 1
    await store.declare_schedules([("s", "app:f", "{}")], NOW)
    row = await store.schedule("s")
    assert row is not None
    firing = Firing("s", row.version, Kind.SLOT, 60, NOW, task(1), skips_overlap=False)
    assert await store.fire([firing]) == [Fired.FIRED]
    assert (await store.put_once("k", task(2), NOW))[0] == "id-2"
    await store.close()


@pytest.mark.parametrize("version", range(1, schema.SCHEMA_VERSION))
async def test_a_new_database_and_a_migrated_one_have_the_same_tables(
    tmp_path: Path, version: int
) -> None:
    _made_by(version, tmp_path / "old.db")
    found = []
    for name in ("old.db", "new.db"):
        store = SQLiteStore(tmp_path / name)
        await store.open("me", NOW)
        await store.close()
        found.append(sorted(ask(tmp_path / name, "SELECT type, name, sql FROM sqlite_master")))

    assert found[0] == found[1]


@pytest.mark.parametrize("how", ["revive", "key"])
async def test_what_the_first_version_cancelled_while_it_was_blocked_can_run_again(
    store: SQLiteStore, how: str
) -> None:
    """It may still run beside this one while the app is deployed, and knows nothing of keys."""
    await store.commit(batch(*(task(n, concurrency_key="k") for n in range(3))))
    [held] = (await store.claim("io", 9, {"app:f"}, NOW)).tasks
    await store._write(
        lambda it: it.execute(
            "UPDATE tasks SET status = 'cancelled', parked = NULL WHERE task_id <> 'id-0'"
        )
    )
    held.status, held.owner = TaskStatus.SUCCESS, None
    await store.commit(Batch(updates=[update_row(held)]))

    if how == "revive":
        await store.revive("id-2", NOW)
    else:
        again = task(2, concurrency_key="k", idempotency_key="i")
        await store.commit(Batch(keyed=[insert_row(again)]))

    claimed = await store.claim("io", 9, {"app:f"}, NOW)
    assert [one.task_id for one in claimed.tasks] == ["id-2"]


async def test_a_deleted_holder_of_a_key_lets_the_next_go(
    store: SQLiteStore, db_path: Path
) -> None:
    """As when somebody tidies up by hand."""
    await store.commit(batch(*(task(n, concurrency_key="k") for n in range(3))))
    await store.claim("io", 9, {"app:f"}, NOW)
    await store._write(lambda it: it.execute("DELETE FROM tasks WHERE owner = 'me'"))

    claimed = await store.claim("io", 9, {"app:f"}, NOW)

    assert [one.task_id for one in claimed.tasks] == ["id-1"]


async def test_an_old_sqlite_library_is_named(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))

    with pytest.raises(StoreError, match=r"is too old: taskflow needs 3\.35"):
        await SQLiteStore(db_path).open("me", NOW)


# -- trouble ------------------------------------------------------------------------------------


async def test_a_full_disk_refuses_the_write_whole_and_heals_by_itself(store: SQLiteStore) -> None:
    await store.commit(batch(task(1)))
    [(pages,)] = await store._write(lambda it: it.execute("PRAGMA page_count").fetchall())
    await store._write(lambda it: it.execute(f"PRAGMA max_page_count = {pages + 5}").fetchall())

    with pytest.raises(StoreUnavailableError, match=r"no space left .* nothing was written"):
        await store.commit(batch(*(task(n, args="x" * 3000) for n in range(2, 100))))

    assert (await store.list(TaskFilter())).next_cursor is None
    assert [one.task_id for one in (await store.list(TaskFilter())).items] == ["id-1"]
    await store._write(lambda it: it.execute("PRAGMA max_page_count = 1000000").fetchall())
    await store.commit(batch(task(2)))
    assert await store.get("id-2") is not None


@pytest.mark.parametrize("count", [3, 100, 1000])
async def test_a_batch_that_does_not_fit_is_not_written_in_part(
    store: SQLiteStore, count: int
) -> None:
    [(pages,)] = await store._write(lambda it: it.execute("PRAGMA page_count").fetchall())
    room = pages + 2 + count // 4
    await store._write(lambda it: it.execute(f"PRAGMA max_page_count = {room}").fetchall())
    everything = Batch(
        inserts=[insert_row(task(n)) for n in range(count)],
        attempts=[AttemptRecord("x", 0, NOW, NOW, "failed", "E", None, None)] * count,
        logs=[LogLine("id-1", 1, NOW, "info", "x" * 9000)] * count,
    )

    with pytest.raises(StoreUnavailableError, match="no space left"):
        await store.commit(everything)

    assert await store.counts() == {}
    assert await store.attempts("x") == []
    assert await store.logs("id-1", 9) == []


async def test_a_failing_disk_is_reported_and_the_same_batch_is_then_written_once(
    store: SQLiteStore,
) -> None:
    everything = Batch(
        inserts=[insert_row(task(1, args="x" * 20_000_000))],
        keyed=[insert_row(task(2, idempotency_key="k", owner="me"))],
        logs=[LogLine("id-1", 1, NOW, "info", "once")],
        attempts=[AttemptRecord("id-1", 0, NOW, NOW, "failed", None, None, None)],
    )
    connection = await store._write(lambda it: it)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Beyond this size every write fails as on a broken disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, hard))
    try:
        with pytest.raises(StoreUnavailableError, match="could not be read or written"):
            await store.commit(everything)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    # What the connection believes of the file is not to be trusted any more.
    assert await store._write(lambda it: it) is not connection
    committed = await store.commit(everything)

    assert committed.duplicates == frozenset()
    assert len((await store.list(TaskFilter())).items) == 2
    assert len(await store.logs("id-1", 9)) == 1
    assert len(await store.attempts("id-1")) == 1


async def test_a_commit_that_was_written_although_it_failed_is_not_written_twice(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = Batch(
        inserts=[insert_row(task(1))],
        keyed=[insert_row(task(2, idempotency_key="k", owner="me"))],
        logs=[LogLine("id-1", 1, NOW, "info", "once")],
        attempts=[AttemptRecord("id-1", 0, NOW, NOW, "failed", None, None, None)],
    )

    def write_and_break(*given: Any) -> NoReturn:
        write(*given)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(commit, "write", write_and_break)
        with pytest.raises(StoreUnavailableError, match="could not be read or written"):
            await store.commit(everything)

    committed = await store.commit(everything)

    assert committed.duplicates == frozenset()
    assert await store.logs("id-1", 9) == everything.logs
    assert len(await store.attempts("id-1")) == 1
    # From here on the same line is another line, and the same key a duplicate.
    committed = await store.commit(everything)
    assert committed.duplicates == {"id-2"}
    assert len(await store.logs("id-1", 9)) == 2


async def test_a_file_that_was_deleted_or_replaced_is_noticed(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_LOOK", 0.0)
    store = SQLiteStore(db_path)
    await store.open("me", NOW)
    await store.commit(batch(task(1)))
    kept = db_path.rename(db_path.with_name("kept"))

    with pytest.raises(StoreError, match="was deleted or replaced while it was in use"):
        await store.commit(batch(task(2)))
    db_path.touch()
    with pytest.raises(StoreError, match="was deleted or replaced while it was in use"):
        await store.commit(batch(task(2)))

    kept.rename(db_path)
    await store.commit(batch(task(2)))
    assert await store.get("id-2") is not None
    await store.close()


async def test_no_write_goes_into_a_file_that_was_deleted_once_that_was_noticed(
    db_path: Path,
) -> None:
    store = SQLiteStore(db_path)
    await store.open("me", NOW)
    await store.commit(batch(task(1)))
    await asyncio.sleep(writer._LOOK)
    db_path.unlink()

    for number in range(2, 9):
        with pytest.raises(StoreError, match="was deleted or replaced while it was in use"):
            await store.commit(batch(task(number)))
    await store.close()


async def test_a_damaged_file_is_an_error_and_not_a_crash(db_path: Path) -> None:
    store = SQLiteStore(db_path)
    await store.open("me", NOW)
    await store.commit(batch(*(task(n, args="x" * 500) for n in range(500))))
    await store.close()
    data = bytearray(db_path.read_bytes())
    data[4096 : len(data) // 2] = b"\xa5" * (len(data) // 2 - 4096)
    db_path.write_bytes(data)

    async def use() -> None:
        await store.open("me", NOW)
        await store.list(TaskFilter())

    with pytest.raises(StoreError, match="malformed"):
        await use()
    await store.close()


async def test_a_caller_who_gives_up_does_not_disturb_the_next(store: SQLiteStore) -> None:
    writing = asyncio.create_task(store.commit(batch(task(1))))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing

    await store.commit(batch(task(2)))

    assert await store.get("id-2") is not None


# -- size ---------------------------------------------------------------------------------------


async def test_the_log_stays_small_while_commits_go_on(store: SQLiteStore, db_path: Path) -> None:
    for start in range(0, 20_000, 200):
        await store.commit(batch(*(task(start + n, args="x" * 1000) for n in range(200))))

    # 20 MB were written; without checkpoints all of that would be in the log.
    assert Path(f"{db_path}-wal").stat().st_size < 12_000_000
    assert (await store.backlog())["io", "default"].count == 20_000


async def test_the_log_is_copied_when_nothing_is_written_for_a_while(
    store: SQLiteStore, db_path: Path
) -> None:
    await store.commit(batch(task(1, args="needle")))
    assert b"needle" not in db_path.read_bytes()

    for _ in range(1000):
        if b"needle" in db_path.read_bytes():
            break
        await asyncio.sleep(0.02)

    assert b"needle" in db_path.read_bytes()


@pytest.mark.parametrize("count", [1, SIZES[-1] - 1, SIZES[-1], SIZES[-1] + 1, 2 * SIZES[-1] + 3])
def test_padding_never_reaches_the_table(count: int, db_path: Path) -> None:
    db_path.touch()
    connection = schema.connect(db_path)
    schema.migrate(connection, db_path)

    write(connection, batch(*(task(n) for n in range(count))), "me")

    assert connection.execute("SELECT count(*), count(DISTINCT task_id) FROM tasks").fetchall() == [
        (count, count)
    ]
    connection.close()


def test_a_transaction_that_fails_is_undone(db_path: Path) -> None:
    connection = sqlite3.connect(db_path, isolation_level=None)
    connection.execute("CREATE TABLE t (a UNIQUE)")

    def insert_twice() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO t VALUES (1)")
            connection.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(sqlite3.IntegrityError):
        insert_twice()

    assert not connection.in_transaction
    assert connection.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
    connection.close()


def test_a_transaction_has_the_lock_before_it_reads(db_path: Path) -> None:
    first = sqlite3.connect(db_path, isolation_level=None)
    second = sqlite3.connect(db_path, isolation_level=None, timeout=0)

    with transaction(first), pytest.raises(sqlite3.OperationalError, match="locked"):
        second.execute("BEGIN IMMEDIATE")

    first.close()
    second.close()


def test_a_connection_never_makes_a_file_that_is_not_there(db_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        schema.connect(db_path)

    assert not db_path.exists()
