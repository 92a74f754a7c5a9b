"""What an error of SQLite means for whoever waits for the store. Pure."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from taskflow.errors import StoreError, StoreUnavailableError

#: Somebody else has the lock: the same statement may work in a moment.
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
#: Nothing that this connection still believes about the file can be trusted.
_BROKEN = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)


class UncertainError(StoreUnavailableError):
    """The write failed in a way that leaves open whether it was done."""


def _code(error: sqlite3.Error) -> int:
    # Errors that the Python module raises by itself carry no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds the lock that was needed."""
    return _code(error) in _BUSY


def is_broken(error: sqlite3.Error) -> bool:
    """Whether the connection has to be opened anew before anything else is tried."""
    return _code(error) in _BROKEN


def locked(path: Path, seconds: float) -> StoreUnavailableError:
    """The error of a write that waited for its turn in vain."""
    return StoreUnavailableError(
        f"{path} was locked by another process for {seconds:.1f} s: nothing was written; "
        "see which program holds it (`fuser`, `lsof`) and end its transaction"
    )


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """The error to raise instead of ``error``: what happened, to which file, and the way out."""
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailableError(f"no space left for {path}: free some; nothing was written")
    if code == sqlite3.SQLITE_READONLY:
        return StoreUnavailableError(f"{path} cannot be written ({error}): make it writable")
    if code in _BUSY:
        return StoreUnavailableError(f"{path} is locked by another process ({error})")
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(
            f"{path} is not an SQLite database: give taskflow a file of its own, "
            "or a path where nothing is yet"
        )
    if code in _BROKEN:
        return UncertainError(
            f"{path} could not be read or written ({error}): check the disk; "
            "the file is opened anew before the next write"
        )
    return StoreError(f"{path}: {error}")
