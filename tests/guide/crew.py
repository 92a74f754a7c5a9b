"""Workers whose tasks are watched, for the tests of limits: who started, who runs, who may go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from taskflow import TaskHandle, TaskStatus
from taskflow.record import TaskRecord

#: Seconds after which something is broken, not slow.
PATIENCE = 30.0


async def until(true: Callable[[], bool]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.005)


async def until_status(handle: TaskHandle[Any], status: TaskStatus) -> None:
    """Return once the task has this status."""
    async with asyncio.timeout(PATIENCE):
        while await handle.status() is not status:
            await asyncio.sleep(0.005)


async def in_time(awaitable: Awaitable[Any]) -> Any:
    """The result, or a TimeoutError when something is broken."""
    async with asyncio.timeout(PATIENCE):
        return await awaitable


async def record_of(handle: TaskHandle[Any]) -> TaskRecord:
    record = await handle.record()
    assert record is not None
    return record


def wait_for(path: str) -> None:
    """Wait until somebody makes the file: works across processes."""
    end = time.monotonic() + PATIENCE
    while not Path(path).exists():
        assert time.monotonic() < end, f"nobody made {path}"
        time.sleep(0.005)


class Crew:
    """Coroutines that note when they start and go on when they are let go."""

    def __init__(self) -> None:
        #: Labels in the order in which they started, and when: seconds of `time.monotonic`.
        self.started: list[Any] = []
        self.times: list[float] = []
        self.running: list[Any] = []
        self.ended: list[Any] = []
        #: The most that ran at a time.
        self.most = 0
        self._free: set[Any] = set()
        self._all_free = False

    async def hold(self, label: Any = "") -> Any:
        """Run until `let_go` of this label."""
        self._start(label)
        try:
            async with asyncio.timeout(PATIENCE):
                while not (self._all_free or label in self._free):
                    await asyncio.sleep(0.001)
        finally:
            self.running.remove(label)
        self.ended.append(label)
        return label

    async def pass_through(self, label: Any = "") -> Any:
        """Run for a few milliseconds."""
        self._start(label)
        await asyncio.sleep(0.005)
        self.running.remove(label)
        self.ended.append(label)
        return label

    def _start(self, label: Any) -> None:
        self.started.append(label)
        self.times.append(time.monotonic())
        self.running.append(label)
        self.most = max(self.most, len(self.running))

    def let_go(self, *labels: Any) -> None:
        """Those with these labels may end; without any, all."""
        self._free.update(labels)
        self._all_free = self._all_free or not labels

    async def until_started(self, *labels: Any) -> None:
        await until(lambda: set(labels) <= set(self.started))

    async def until_ended(self, *labels: Any) -> None:
        await until(lambda: set(labels) <= set(self.ended))
