"""How the parts of the store reach its file."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]


class Write(Protocol):
    """One durable transaction on the thread that writes."""

    def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]: ...


class Read(Protocol):
    """All rows of one query."""

    def __call__(
        self, sql: str, values: Sequence[Any] | dict[str, Any] = ..., /
    ) -> Awaitable[list[Row]]: ...


@dataclass(frozen=True, slots=True)
class Access:
    """What a part of the store may use."""

    write: Write
    #: For what is answered at once, by an index.
    fetch: Read
    #: For what has to look at many rows: a page must not wait behind it.
    survey: Read
    #: The name of this instance, and where the file is; both are known after `open`.
    instance: Callable[[], str]
    path: Callable[[], Path]
