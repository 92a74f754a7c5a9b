"""Tasks as a download, CSV or one JSON object a line: page by page, never all in memory."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi import Query as Parameter
from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from taskflow.admin.outgoing import Outgoing
from taskflow.admin.present import present
from taskflow.admin.search_routes import Line, read_query
from taskflow.engine import Engine
from taskflow.manager import TaskManager
from taskflow.query import Query
from taskflow.record import TaskRecord
from taskflow.stores.search import Found

#: Rows of one download, and of one page of it.
MOST_ROWS, PAGE = 100_000, 200
#: Seconds for which rows are made without letting anything else run; one row may take longer.
SLICE = 0.005

Format = Literal["csv", "ndjson"]

_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
#: The columns of CSV.
COLUMNS = (
    "task_id", "func_name", "status", "lane", "queue", "priority", "created_at", "run_at",
    "start_time", "end_time", "duration", "attempts", "max_attempts", "crashes", "timeout", "error",
    "result_error", "tags", "idempotency_key", "concurrency_key", "source", "instance",
    "stacktrace",
)  # fmt: skip
#: Spreadsheets take a cell that begins like this for a formula, in whatever width it is written.
_SIGNS = frozenset("=+-@")
#: They leave out what nobody sees before it: blanks, controls, marks of direction, empty letters.
_UNSEEN = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp", "Mn"})
_EMPTY = frozenset("\u115f\u1160\u2800\u3164\uffa0")
#: Some take these for the end of a cell.
_BETWEEN = re.compile(r"([;\t])")


def add_export(
    router: APIRouter, scope: str, task_manager: TaskManager, outgoing: Outgoing
) -> None:
    """Add the route to ``router``."""

    @router.get(
        "/export",
        operation_id=f"{scope}_export",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/csv": {}, "application/x-ndjson": {}}}},
    )
    async def export_tasks(
        request: Request,
        query: Line = "",
        form: Annotated[Format, Parameter(alias="format")] = "csv",
    ) -> Response:
        """The tasks that match a query, newest first, at most 100,000 of them."""
        engine = task_manager.engine
        wanted = read_query(engine, query)
        await engine.settle()
        pages = _pages(engine, wanted, request)
        # Whatever can go wrong at the start is still an answer of its own.
        first = await anext(pages)
        write = _write_csv if form == "csv" else _write_lines
        return StreamingResponse(
            _texts(engine, outgoing, first, pages, write, header=form == "csv"),
            media_type=_TYPES[form],
            headers={"Content-Disposition": f'attachment; filename="tasks.{form}"'},
        )


async def _pages(engine: Engine, query: Query, request: Request) -> AsyncIterator[Found]:
    """One page at least, and no more once whoever asked has gone."""
    left, cursor, now = MOST_ROWS, None, engine.clock.now()
    while left > 0:
        found = await engine.store.search.page(query, now, min(PAGE, left), cursor)
        yield found
        left -= len(found.items)
        cursor = found.next_cursor
        if cursor is None or await request.is_disconnected():
            return


async def _texts(
    engine: Engine,
    outgoing: Outgoing,
    first: Found,
    others: AsyncIterator[Found],
    write: Callable[[Sequence[dict[str, Any]]], str],
    *,
    header: bool,
) -> AsyncIterator[bytes]:
    if header:
        yield _encode(_line(COLUMNS))
    for rows in _slices(engine, outgoing, first.items):
        yield _encode(write(rows))
        await asyncio.sleep(0)  # others want to run, too
    async for found in others:
        for rows in _slices(engine, outgoing, found.items):
            yield _encode(write(rows))
            await asyncio.sleep(0)


def _slices(
    engine: Engine, outgoing: Outgoing, items: list[TaskRecord]
) -> Iterator[list[dict[str, Any]]]:
    """The rows, in pieces of which each takes a moment only: traces may be long."""
    rows: list[dict[str, Any]] = []
    until = engine.clock.monotonic() + SLICE
    for record in items:
        task = present(record, engine.clock.now())
        rows.append(outgoing.hide(task.model_dump(mode="json", exclude={"logs"})))
        if engine.clock.monotonic() >= until:
            yield rows
            rows, until = [], engine.clock.monotonic() + SLICE
    if rows:
        yield rows


def _write_lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(f"{to_json(row).decode()}\n" for row in rows)


def _write_csv(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(_line([_cell(row[name]) for name in COLUMNS]) for row in rows)


def _line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _cell(value: object) -> object:
    """``value`` as one cell; a text that a spreadsheet would calculate is made a plain one."""
    if isinstance(value, dict | list):
        value = to_json(value).decode() if value else ""
    if not isinstance(value, str):
        return value
    text = "".join(f"'{part}" if _is_formula(part) else part for part in _BETWEEN.split(value))
    return f"'{text}" if text.startswith(("\t", "\r", "\n")) else text


def _is_formula(text: str) -> bool:
    for char in text:
        if char not in _EMPTY and unicodedata.category(char) not in _UNSEEN:
            return unicodedata.normalize("NFKC", char) in _SIGNS
    return False


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
