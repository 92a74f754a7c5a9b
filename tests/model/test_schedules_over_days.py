"""Many instances, many virtual days, random crashes: every slot of every schedule is one task.

The expectation is made without any scheduler: by walking the rules over the whole time.
``DAYS``, ``INSTANCES`` and ``SEED`` in the environment make it longer, or another one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections import Counter
from datetime import datetime
from pathlib import Path

from taskflow import TaskManager
from taskflow.record import TaskFilter
from taskflow.schedules.rule import parse_rule

DAYS = int(os.environ.get("DAYS", "6"))
INSTANCES = int(os.environ.get("INSTANCES", "4"))
SEED = int(os.environ.get("SEED", "7"))
DAY = 86_400

#: Half a year before a clock change in Berlin would be dull: the fold of 2026 is on the third day.
BEGIN = 1_792_800_000
RULES = {
    "half-hourly": {"every": 1800, "timezone": None, "cron": None},
    "hourly": {"cron": "7 * * * *", "timezone": "Europe/Berlin", "every": None},
    "nightly": {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "every": None},
}


class VirtualClock:
    """One for all instances, but each reads it a little wrong."""

    def __init__(self) -> None:
        self.time = float(BEGIN)

    def reading(self, error: float) -> Reading:
        return Reading(self, error)


class Reading:
    def __init__(self, clock: VirtualClock, error: float) -> None:
        self._clock, self._error = clock, error

    def now(self) -> float:
        return self._clock.time + self._error

    def monotonic(self) -> float:
        return self._clock.time


def nothing() -> None:
    """What the schedules run."""


class Instance:
    """A manager whose scheduler is driven by hand; its tasks stay on disk."""

    def __init__(self, path: Path, clock: Reading) -> None:
        self.manager = TaskManager(path, clock=clock)
        self.manager.task(name="nothing")(nothing)
        for name, rule in RULES.items():
            self.manager.schedule(name=name, catch_up="all", overlap="allow", **rule)(nothing)  # type: ignore[arg-type]

    async def open(self) -> None:
        await self.manager.open()

    async def look(self) -> None:
        await self.manager.engine.scheduler.turn()

    async def crash(self, draw: random.Random) -> None:
        """Die in the middle of a turn, wherever that is."""
        turn = asyncio.create_task(self.look())
        for _ in range(draw.randrange(12)):
            await asyncio.sleep(0)
        turn.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await turn
        await self.manager.close()


def expected(until: float) -> Counter[tuple[str, int]]:
    """Each slot of each rule, walked one by one."""
    found: Counter[tuple[str, int]] = Counter()
    for name, given in RULES.items():
        rule = parse_rule(**given, anchor=BEGIN)  # type: ignore[arg-type]
        slot = rule.after(BEGIN)
        while slot is not None and slot <= until:
            found[name, slot] += 1
            slot = rule.after(slot)
    return found


async def fired(manager: TaskManager) -> Counter[tuple[str, int]]:
    """Each slot of each task in the store."""
    found: Counter[tuple[str, int]] = Counter()
    cursor = None
    while True:
        page = await manager.engine.store.list(TaskFilter(limit=200, cursor=cursor))
        for record in page.items:
            tags = json.loads(record.tags or "{}")
            # The slots of an interval and of minutes are whole minutes.
            found[tags["schedule"], _epoch(tags["slot"])] += 1
        cursor = page.next_cursor
        if cursor is None:
            return found


def _epoch(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


async def test_every_slot_is_exactly_one_task_whoever_crashes_when(db_path: Path) -> None:
    draw = random.Random(SEED)
    clock = VirtualClock()
    # The one without an error comes last, so that at the end nothing is early or late.
    errors = [draw.uniform(-2, 2) for _ in range(INSTANCES - 1)] + [0.0]
    crew = [Instance(db_path, clock.reading(error)) for error in errors]
    for instance in crew:
        await instance.open()
    await crew[-1].look()  # from here on the schedules are known

    end = BEGIN + DAYS * DAY
    while clock.time < end:
        clock.time = min(clock.time + draw.choice([60, 300, 900, 1800, 5000]), end)
        looking = [instance for instance in crew if draw.random() < 0.7]
        await asyncio.gather(*(instance.look() for instance in looking))
        if draw.random() < 0.1:
            place = draw.randrange(INSTANCES)
            await crew[place].crash(draw)
            crew[place] = Instance(db_path, clock.reading(errors[place]))
            await crew[place].open()
    await crew[-1].look()

    assert await fired(crew[-1].manager) == expected(end)
    for instance in crew:
        await instance.manager.close()
