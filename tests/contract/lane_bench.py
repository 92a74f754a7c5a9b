"""A lane of any kind under test: starts it, runs calls in it, knows what each was told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from executors import Call, EventLoopLane, Lane, Outcome, ProcessLane, ThreadLane
from tests.contract import lane_functions as work

#: Seconds that anything may take which should happen at once: machines are busy.
PATIENCE = 30.0


class Told(Call):
    """A call that remembers what it was told."""

    __slots__ = ("ended", "outcomes", "started")

    def __init__(self, function: Callable[..., object], *args: object, **options: object) -> None:
        super().__init__(function, args, **options)  # type: ignore[arg-type]  # as they come
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.outcomes: list[Outcome] = []

    def on_start(self) -> None:
        self.started.set()

    def on_done(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.ended.set()

    async def outcome(self) -> Outcome:
        """How it ended; waits for that."""
        async with asyncio.timeout(PATIENCE):
            await self.ended.wait()
        (outcome,) = self.outcomes
        return outcome


class Bench:
    """Makes lanes of one kind and calls that fit them."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.lanes: list[Lane] = []

    async def lane(self, limit: int = 2, room: int = 100, **options: object) -> Lane:
        """A lane that runs."""
        lane = self.fresh(limit, room, **options)
        await lane.start()
        return lane

    def fresh(self, limit: int = 2, room: int = 100, **options: object) -> Lane:
        """A lane that was not started."""
        lane: Lane
        if self.kind == "async":
            lane = EventLoopLane(limit=limit, room=room)
        elif self.kind == "io":
            lane = ThreadLane(limit=limit, room=room, **options)  # type: ignore[arg-type]  # as they come
        else:
            # No spare and no lower priority: tests share the machine, and start many lanes.
            chosen = {"spare": False, "nice": None, **options}
            lane = ProcessLane(limit=limit, room=room, **chosen)  # type: ignore[arg-type]  # the same
        self.lanes.append(lane)
        return lane

    def call(self, function: Callable[..., object], *args: object, **options: object) -> Told:
        """A call of ``function``, in the form this kind of lane takes."""
        return Told(work.on_loop(function) if self.kind == "async" else function, *args, **options)

    async def run(self, lane: Lane, function: Callable[..., object], *args: object) -> Outcome:
        """Run ``function`` and wait for its end."""
        call = self.call(function, *args)
        lane.submit(call)
        return await call.outcome()

    async def hold(self, lane: Lane, name: str, **options: object) -> Told:
        """A call that runs, really, until its gate is opened."""
        call = self.call(work.hold, str(self.gate(name)), **options)
        lane.submit(call)
        await until(self.gate(name).with_suffix(".held").exists)
        return call

    def gate(self, name: str) -> Path:
        """The file that lets the held call of this name go."""
        return self.folder / f"{name}.gate"

    def open(self, name: str) -> None:
        """Let the held call of this name go."""
        self.gate(name).touch()

    async def close(self) -> None:
        """Let everything go and stop every lane."""
        (self.folder / work.OVER).touch()
        for lane in self.lanes:
            await lane.stop()


async def until(what: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait until ``what()`` is true."""
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline, f"{what} did not come true in {patience} s"
        await asyncio.sleep(0.002)
