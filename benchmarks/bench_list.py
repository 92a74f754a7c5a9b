"""How long does the first page of the task list take over a million finished tasks?

Asked through the REST API, fifty tasks a page, the response decoded; meanwhile a coroutine that
wants to run every millisecond notes the longest time it was kept from it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import uvloop
from fastapi import FastAPI

from benchmarks import work
from benchmarks.harness import (
    Figure,
    Report,
    check_all_done,
    collect,
    first_line,
    percentile,
    scratch,
)
from taskflow import TaskAdmin, TaskManager
from taskflow.record import Batch, TaskRecord, insert_row
from taskflow.states import TaskStatus
from taskflow.stores.sqlite.store import SQLiteStore

SLICE = 5000
PAGE = 50
#: What is asked for, and how many tasks of the first page that are found at least.
QUERIES: tuple[tuple[str, Mapping[str, str], int], ...] = (
    ("first page", {}, PAGE),
    ("first page of one status", {"status": "success"}, PAGE),
    ("first page of a part of a name", {"q": "count"}, PAGE),
    ("a name that no task has", {"q": "nobody has this name"}, 0),
)
TINY = {"rounds": 1, "tasks": 300, "requests": 3}


async def fill(path: Path, tasks: int) -> float:
    """Put finished tasks into a new database; how many a second."""
    store, now = SQLiteStore(path), time.time()
    await store.open("bench-fill", now)
    began = time.perf_counter()
    try:
        for start in range(0, tasks, SLICE):
            rows = [_row(number, now) for number in range(start, min(start + SLICE, tasks))]
            await store.commit(Batch(inserts=rows))
    finally:
        await store.close()
    return tasks / (time.perf_counter() - began)


def _row(number: int, now: float) -> tuple[object, ...]:
    at = now - 3600 + number / 1000
    return insert_row(
        TaskRecord(
            task_id=f"bench-{number:012d}",
            func_name="benchmarks.work:count_async",
            lane="async",
            created_at=at,
            status=TaskStatus.FAILED if number % 50 == 0 else TaskStatus.SUCCESS,
            args=f'{{"args":[{number}]}}',
            started_at=at,
            ended_at=at,
            attempt=1,
            instance="bench-fill",
        )
    )


async def longest_stall(stop: asyncio.Event) -> float:
    """Milliseconds that the event loop was kept from a timer of one millisecond, at most."""
    worst = 0.0
    while not stop.is_set():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - began - 0.001)
    return worst * 1000


async def timed(http: httpx.AsyncClient, query: Mapping[str, str], least: int) -> float:
    """Milliseconds for one page."""
    began = time.perf_counter()
    response = await http.get("/tasks", params={"limit": PAGE, **query})
    items = response.raise_for_status().json()["items"]
    took = (time.perf_counter() - began) * 1000
    if len(items) < least:
        raise AssertionError(f"{query} found {len(items)} tasks, not {least}")
    return took


async def one_round(path: Path, tasks: int, requests: int) -> dict[str, float]:
    """p50 and p95 of every query, and the longest stall meanwhile."""
    manager = TaskManager(path)
    manager.task(work.count_async)
    app = FastAPI()
    TaskAdmin(app, manager)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    found = {}
    async with manager, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        check_all_done(sum((await manager.engine.store.counts()).values()), tasks)
        await timed(http, {}, min(PAGE, tasks))  # routes are compiled on the first request
        for name, query, least in QUERIES:
            stop = asyncio.Event()
            watch = asyncio.create_task(longest_stall(stop))
            values = [await timed(http, query, min(least, tasks)) for _ in range(requests)]
            stop.set()
            found[f"{name}, p50"] = percentile(values, 0.5)
            found[f"{name}, p95"] = percentile(values, 0.95)
            found[f"{name}, longest stall of the loop"] = await watch
    return found


def run(rounds: int = 3, tasks: int = 1_000_000, requests: int = 30) -> Report:
    """The figures of this benchmark."""
    with scratch() as folder:
        path = Path(folder) / "tasks.db"
        rate = uvloop.run(fill(path, tasks))
        found = collect(rounds, lambda: uvloop.run(one_round(path, tasks, requests)))
    targets = {"first page, p50": 100.0, "first page, p95": 100.0}
    return Report(
        first_line(__doc__),
        tuple(
            Figure(name, "ms", values, at_most=targets.get(name)) for name, values in found.items()
        ),
        (f"{tasks} tasks were filled in at {rate:,.0f} a second",),
    )
