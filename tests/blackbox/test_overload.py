"""Ten times more work than the app can do: it stays small, says so, and is itself again at once.

``OVERLOAD_SECONDS`` (default 2) is how long that goes on.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.apps.server import PATIENCE, Server, until

SECONDS = float(os.environ.get("OVERLOAD_SECONDS", "2"))
#: Tasks a second that the app can do: one thread, and each takes so long.
LENGTH = 0.15
CAPACITY = 1 / LENGTH
TIMES = 10
FLAGS = ("--loop", "uvloop", "--log-level", "warning")
SETTINGS: dict[str, Any] = {"io_workers": 1, "io_queue": 2, "cpu_workers": 1}
#: Clients that ask again as soon as they have an answer.
CLIENTS = 8
#: MiB that the app may grow by while it has too much to do.
GROWTH = 30.0


@dataclass
class Flood:
    """What came of asking for far more than can be done."""

    taken: list[str] = field(default_factory=list)
    #: The Retry-After of those that were turned away.
    refused: list[str] = field(default_factory=list)
    other: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    #: Resident memory of the app, in MiB, before and at its highest.
    before: float = 0.0
    highest: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return (len(self.taken) + len(self.refused)) / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.rate:.0f} requests a second, {len(self.taken)} taken, "
            f"{len(self.refused)} refused, {self.highest - self.before:+.1f} MiB"
        )


async def flood(server: Server, seconds: float) -> Flood:
    """Ask for one task after the other, for so long."""
    found = Flood(before=resident(server))
    began = time.monotonic()
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, limits=limits) as http:

        async def ask() -> None:
            while time.monotonic() - began < seconds:
                answer = await http.post("/add", json={"lanes": ["io"]})
                if answer.status_code == 200:
                    found.taken += answer.json()
                elif answer.status_code == 429:
                    found.refused.append(answer.headers["retry-after"])
                else:
                    found.other[answer.status_code] += 1

        async def watch() -> None:
            while time.monotonic() - began < seconds:
                found.highest = max(found.highest, resident(server))
                await asyncio.sleep(0.05)

        await asyncio.gather(watch(), *(ask() for _ in range(CLIENTS)))
    found.seconds = time.monotonic() - began
    return found


def resident(server: Server) -> float:
    return float(psutil.Process(server.process.pid).memory_info().rss) / 2**20


def assert_all_ran_once(server: Server, ids: list[str]) -> None:
    starts = server.marks("start")
    assert {starts[task_id] for task_id in ids} == {1}


async def test_an_app_that_rejects_stays_small_and_keeps_its_word(tmp_path: Path) -> None:
    settings = {**SETTINGS, "overflow": "reject"}
    with Server(tmp_path, flags=FLAGS, length=LENGTH, **settings) as server:
        await flood(server, 0.5)  # caches fill, modules load

        found = await flood(server, SECONDS)
        took_again = until(lambda: is_taken(server), "a task is taken again")
        drained = until(lambda: set(server.states().values()) == {"success"}, "all are done")
        server.length(0.0)
        (last,) = server.add("io")
        server.wait_until_done([last])

        print(f"{found}; room again after {took_again:.3f} s, all done after {drained:.3f} s")
        assert found.other == {}
        assert found.rate >= TIMES * CAPACITY
        assert len(found.taken) <= CAPACITY * found.seconds + 10
        assert len(found.refused) > len(found.taken)
        assert all(1 <= int(wait) <= 60 for wait in found.refused)
        assert found.highest - found.before <= GROWTH
        assert_all_ran_once(server, found.taken)
        # Nothing of what was refused is in the store or has run.
        assert set(server.marks("start")) == set(server.states())
        assert took_again + drained <= 1.0


def is_taken(server: Server) -> bool:
    answer = server.http.post("/add", json={"lanes": ["io"]})
    assert answer.status_code in {200, 429}
    return answer.status_code == 200


async def test_an_app_that_spills_takes_all_of_it_and_stays_small(tmp_path: Path) -> None:
    settings = {**SETTINGS, "overflow": "spill"}
    with Server(tmp_path, flags=FLAGS, length=LENGTH, **settings) as server:
        await flood(server, 0.5)

        found = await flood(server, SECONDS)
        server.length(0.0)
        server.wait_until_done(patience=PATIENCE + 4 * SECONDS)

        print(found)
        assert found.other == {}
        assert found.refused == []
        assert found.rate >= TIMES * CAPACITY
        assert len(server.states()) >= len(found.taken)
        assert found.highest - found.before <= GROWTH
        assert_all_ran_once(server, found.taken)
