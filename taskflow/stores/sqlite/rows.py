"""Rows of the database as values."""

from __future__ import annotations

from typing import Any

from taskflow.record import COLUMNS, TaskRecord
from taskflow.states import TaskStatus

_STATUS = COLUMNS.index("status")
_AT_MOST_ONCE = COLUMNS.index("at_most_once")


def to_record(row: tuple[Any, ...]) -> TaskRecord:
    """A row of `COLUMNS` as a record."""
    record = TaskRecord(*row)
    record.status = TaskStatus(row[_STATUS])
    record.at_most_once = bool(row[_AT_MOST_ONCE])
    return record
