"""Values that SQLite cannot hold, made into such that it can. Pure; only for batches that failed.

Text that has no UTF-8 form (a lone surrogate) is written as an escape; an integer of more than 64
bits becomes the nearest one that fits.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from taskflow.record import AttemptRecord, Batch, LogLine

_MOST = 2**63 - 1
_Line = TypeVar("_Line", AttemptRecord, LogLine)


def clean(batch: Batch) -> Batch:
    """The same batch, with every value storable."""
    return Batch(
        [_row(row) for row in batch.inserts],
        [_row(row) for row in batch.keyed],
        [_row(row) for row in batch.updates],
        [_line(attempt) for attempt in batch.attempts],
        [_line(line) for line in batch.logs],
    )


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, int):
        return max(-_MOST, min(value, _MOST))
    return value


def _row(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(map(_value, row))


def _line(line: _Line) -> _Line:
    return replace(line, **{one.name: _value(getattr(line, one.name)) for one in fields(line)})
