"""How long do the query bar, its counts and the groups of errors take over a million tasks?

Asked through the REST API, the response decoded; meanwhile a coroutine that wants to run every
millisecond notes the longest time it was kept from it. One task in fifty has failed, with one of
twenty kinds of errors.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import uvloop
from fastapi import FastAPI

from benchmarks import work
from benchmarks.bench_list import longest_stall
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
from taskflow.fingerprint import fingerprint
from taskflow.stores.sqlite.store import SQLiteStore

KINDS = 20
_NAMES = ("shop.mail:send_welcome", "shop.images:resize", "shop.reports:nightly", "shop.pay:charge")
#: What is asked: path, parameters, and the target in milliseconds, if there is one.
QUESTIONS: dict[str, tuple[str, Mapping[str, str], float | None]] = {
    "first page": ("/tasks", {}, 150.0),
    "first page of a name": ("/tasks", {"query": "task:send_*"}, 150.0),
    "a name that no task has": ("/tasks", {"query": "task:nobody"}, 150.0),
    "first page of a status": ("/tasks", {"query": "status:failed"}, 150.0),
    "first page of a kind of error": ("/tasks", {"query": "fingerprint:{fingerprint}"}, 150.0),
    "a part of an error": ("/tasks", {"query": "error:refused status:failed"}, 150.0),
    "200 failed tasks": ("/tasks", {"query": "status:failed", "limit": "200"}, None),
    "counts per status": ("/tasks/counts", {}, 150.0),
    "counts of a query": ("/tasks/counts", {"query": "task:send_*"}, 150.0),
    "groups of errors": ("/tasks/errors", {"hours": "24"}, None),
}
TINY = {"rounds": 1, "tasks": 300, "requests": 2}
_INSERT = (
    "INSERT INTO tasks (task_id, func_name, lane, created_at, status, args, started_at, ended_at,"
    " attempt, instance, error, stacktrace, fingerprint)"
    " VALUES (?, ?, 'io', ?, ?, ?, ?, ?, 1, 'bench-fill', ?, ?, ?)"
)


def _error(number: int) -> tuple[str, str, str]:
    """One of so many kinds of errors, with its traceback and its fingerprint."""
    kind = number // 50 % KINDS
    error = f"ConnectionRefusedError: host {number}: refused by '{number}'"
    frames = f'  File "/srv/shop/kind{kind}.py", line {number % 100}, in call\n' * 10
    trace = f"Traceback (most recent call last):\n{frames}{error}"
    return error, trace, fingerprint(_NAMES[number % len(_NAMES)], error, trace)


def _rows(tasks: int, now: float) -> Iterator[tuple[Any, ...]]:
    for number in range(tasks):
        at = now - 3600 + number * 3600 / tasks
        failed = number % 50 == 0
        error = _error(number) if failed else (None, None, None)
        status = "failed" if failed else "success"
        name = _NAMES[number % len(_NAMES)]
        args = f'{{"args":[{number}]}}'
        yield (f"bench-{number:012d}", name, at, status, args, at, at, *error)


async def fill(path: Path, tasks: int) -> float:
    """Put finished tasks into a new database; how many a second."""
    store, now = SQLiteStore(path), time.time()
    await store.open("bench-fill", now)
    await store.close()
    began = time.perf_counter()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(_INSERT, _rows(tasks, now))
    return tasks / (time.perf_counter() - began)


async def timed(http: httpx.AsyncClient, path: str, query: Mapping[str, str]) -> float:
    """Milliseconds for one answer."""
    began = time.perf_counter()
    (await http.get(path, params=query)).raise_for_status().json()
    return (time.perf_counter() - began) * 1000


async def one_round(path: Path, tasks: int, requests: int) -> dict[str, float]:
    """p50 and p95 of every question, and the longest stall meanwhile."""
    manager = TaskManager(path)
    manager.task(work.count_async)
    app = FastAPI()
    TaskAdmin(app, manager)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    known = {"fingerprint": _error(0)[2]}
    found = {}
    async with manager, httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        check_all_done(sum((await manager.engine.store.counts()).values()), tasks)
        for name, (route, query, _target) in QUESTIONS.items():
            values = {key: text.format(**known) for key, text in query.items()}
            await timed(http, route, values)  # routes are compiled on the first request
            stop = asyncio.Event()
            watch = asyncio.create_task(longest_stall(stop))
            times = []
            for _ in range(requests):
                if route != "/tasks":
                    await asyncio.sleep(1.01)  # past the second for which an answer is kept
                times.append(await timed(http, route, values))
            stop.set()
            found[f"{name}, p50"] = percentile(times, 0.5)
            found[f"{name}, p95"] = percentile(times, 0.95)
            found[f"{name}, longest stall of the loop"] = await watch
    return found


def run(rounds: int = 3, tasks: int = 1_000_000, requests: int = 10) -> Report:
    """The figures of this benchmark."""
    with scratch() as folder:
        path = Path(folder) / "tasks.db"
        rate = uvloop.run(fill(path, tasks))
        found = collect(rounds, lambda: uvloop.run(one_round(path, tasks, requests)))
    targets = {
        f"{name}, p{share}": target
        for name, (_, _, target) in QUESTIONS.items()
        for share in (50, 95)
    }
    return Report(
        first_line(__doc__),
        tuple(
            Figure(name, "ms", values, at_most=20.0 if "stall" in name else targets.get(name))
            for name, values in found.items()
        ),
        (f"{tasks} tasks were filled in at {rate:,.0f} a second",),
    )
