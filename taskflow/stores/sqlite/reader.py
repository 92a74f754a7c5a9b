"""The read path: one connection that cannot write, on a thread of its own.

Cursors are always read to their end: half a read keeps the write-ahead log from being reused.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiosqlite

from taskflow.errors import StoreUnavailableError
from taskflow.stores.sqlite import problems
from taskflow.stores.sqlite.forks import FORKS
from taskflow.stores.sqlite.schema import file_uri

#: Seconds a read waits for a lock; readers hardly ever need one.
_TIMEOUT = 5.0


#: By name in SQL: how many values each takes, and what is called with them, in the reader's thread.
Functions = Mapping[str, tuple[int, Callable[..., object]]]


class Reader:
    """Answers queries; opened by the first one, and again after an error that broke it."""

    def __init__(self, path: Path, functions: Functions | None = None) -> None:
        self._path = path
        self._functions = functions or {}
        self._connection: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def fetch(
        self, sql: str, values: Sequence[Any] | dict[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Every row of the answer."""
        connection = self._connection
        if connection is None:
            connection = await self._open()
        try:
            rows = await connection.execute_fetchall(sql, values)
        except sqlite3.ProgrammingError:
            # Closed while this query was on its way.
            raise StoreUnavailableError(f"the store {self._path} is closed") from None
        except sqlite3.Error as error:
            if problems.is_broken(error):
                await self._drop(connection)
            raise problems.explain(error, self._path) from error
        except ValueError as error:
            raise StoreUnavailableError(f"the store {self._path} is closed ({error})") from None
        return [tuple(row) for row in rows]

    async def _open(self) -> aiosqlite.Connection:
        async with self._opening:
            if self._closed:
                raise StoreUnavailableError(f"the store {self._path} is not open")
            if self._connection is not None:
                return self._connection
            connection = aiosqlite.connect(
                file_uri(self._path), uri=True, timeout=_TIMEOUT, isolation_level=None
            )
            try:
                connection = await connection
                for pragma in ("query_only = ON", "trusted_schema = OFF", "cell_size_check = ON"):
                    await connection.execute_fetchall(f"PRAGMA {pragma}")
                for name, (count, function) in self._functions.items():
                    await connection.create_function(name, count, function, deterministic=True)
            except BaseException as error:
                await connection.close()
                if isinstance(error, sqlite3.Error):
                    raise problems.explain(error, self._path) from error
                raise
            self._connection = connection
            FORKS.add(self)
            return connection

    async def _drop(self, connection: aiosqlite.Connection) -> None:
        if self._connection is connection:
            self._connection = None
            await connection.close()

    async def close(self) -> None:
        """End the thread, which would otherwise keep the process from exiting. Idempotent."""
        self._closed = True
        FORKS.discard(self)
        async with self._opening:
            if self._connection is not None:
                await self._drop(self._connection)

    def abandon(self) -> None:
        """End the thread without an event loop."""
        self._closed = True
        FORKS.discard(self)
        connection, self._connection = self._connection, None
        if connection is not None:
            # In a thread without a loop, so that it does not ask to be told the end.
            threading.Thread(target=connection.stop, name="taskflow-abandon").start()

    def forked(self) -> None:
        """In a forked child: neither the thread nor the connection is usable."""
        self._connection = None
        self._closed = True
