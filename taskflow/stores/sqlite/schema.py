"""Opens a connection as taskflow wants it, and brings the tables to the version of this code.

A database of a newer version is refused, never touched.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from taskflow.errors import StoreError
from taskflow.stores.sqlite.transactions import transaction

#: RETURNING and UPDATE .. FROM came with it.
OLDEST_SQLITE = (3, 35, 0)
#: Values bound to one statement; SQLite's own default.
NEEDED_VARIABLES = 32766
#: Slices in which a connection waits for a lock, in seconds: between them it looks around.
BUSY_SLICE = 0.1
#: Frames of the log after which SQLite checkpoints by itself, if nobody else did.
LAST_RESORT_FRAMES = 2048


def _statements(name: str) -> Iterator[str]:
    """The statements of one of the files beside this one; each ends at the end of a line."""
    gathered = ""
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    for line in text.splitlines(keepends=True):
        gathered += line
        # Only then it is known whether a semicolon ends a trigger, or a statement in it.
        if line.endswith(";\n") and sqlite3.complete_statement(gathered):
            yield gathered
            gathered = ""


#: The statements that lead from version n to version n + 1, at index n.
MIGRATIONS: tuple[tuple[str, ...], ...] = tuple(
    tuple(_statements(name))
    for name in ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql")
)
SCHEMA_VERSION = len(MIGRATIONS)

_PRAGMAS: tuple[tuple[str, str | int, str | int], ...] = (
    # name, what is set, what must be read back
    ("journal_mode", "wal", "wal"),
    ("synchronous", "full", 2),
    ("trusted_schema", 0, 0),
    ("cell_size_check", 1, 1),
    ("temp_store", "memory", 2),
    ("cache_size", -16000, -16000),
    ("wal_autocheckpoint", LAST_RESORT_FRAMES, LAST_RESORT_FRAMES),
    # On macOS a plain fsync leaves the data in the disk's own cache.
    ("fullfsync", 1, 1),
    ("checkpoint_fullfsync", 1, 1),
)


def check_library() -> None:
    """Raise `StoreError` if the SQLite library itself is too old."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE[:2]))
        raise StoreError(
            f"SQLite {sqlite3.sqlite_version} is too old: taskflow needs {oldest} or newer, "
            "which comes with the Python of python.org or of a current distribution"
        )


def file_uri(path: Path) -> str:
    """The name under which SQLite opens ``path`` and never makes it.

    A file that was deleted while in use must not come back empty.
    """
    return f"file:{quote(str(path))}?mode=rw"


def connect(path: Path) -> sqlite3.Connection:
    """A connection for writing, with every setting made and read back.

    For the thread that called; another one may only interrupt and close it.
    """
    connection = sqlite3.connect(
        file_uri(path),
        uri=True,
        timeout=BUSY_SLICE,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        for name, value, expected in _PRAGMAS:
            connection.execute(f"PRAGMA {name} = {value}").fetchall()
            (found,) = connection.execute(f"PRAGMA {name}").fetchone()
            if found != expected:
                raise StoreError(
                    f"{path}: SQLite would not set {name} to {value} (it is {found}): "
                    "is the file on an unusual file system?"
                )
        variables = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        if variables < NEEDED_VARIABLES:
            raise StoreError(
                f"this SQLite library takes only {variables} values a statement: "
                f"use one built with {NEEDED_VARIABLES}, which is the default"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables to `SCHEMA_VERSION`; nothing is changed if that fails."""
    if _version(connection, path) == SCHEMA_VERSION:
        return
    with transaction(connection):
        version = _version(connection, path)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(
            "INSERT INTO meta (key, value) VALUES ('schema_version', ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (str(SCHEMA_VERSION),),
        )


def _version(connection: sqlite3.Connection, path: Path) -> int:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master").fetchall()}
    if not tables:
        return 0
    row = None
    if {"meta", "tasks"} <= tables:
        try:
            row = connection.execute(
                "SELECT value FROM meta WHERE key = 'schema_version'"
            ).fetchone()
        except sqlite3.OperationalError:
            pass  # a table of this name, made by somebody else
    if row is None or not str(row[0]).isdecimal():
        raise StoreError(
            f"{path} holds tables of another program ({', '.join(sorted(tables)[:3])}): "
            "give taskflow a database file of its own"
        )
    version = int(row[0])
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, this taskflow knows {SCHEMA_VERSION}: "
            "upgrade taskflow, or use another file"
        )
    return version
