"""Whatever a call does, its neighbours in the same lane notice nothing of it.

Each poison runs ``ROUNDS`` times (default 1) beside a call that was there before it and outlives
it, and beside small calls that come and go meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from executors import (
    Cancelled,
    Lane,
    Outcome,
    ProcessLane,
    Raised,
    Returned,
    TimedOut,
    WorkerLost,
)
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until

ROUNDS = int(os.environ.get("ROUNDS", "1"))
#: Seconds within which small neighbours must have ended, whatever the machine is busy with.
PROMPT = 10.0

EVERYWHERE = ("async", "io", "cpu")
THREADS = ("io", "cpu")
PROCESSES = ("cpu",)

Matches = Callable[[Outcome], bool]


@dataclass(frozen=True)
class Poison:
    """Something no lane should ever be given."""

    function: Callable[..., object]
    #: Whether it ended as it should.
    ends: Matches
    #: "{started}" stands for a file that it touches, "{gate}" for one that ends it.
    args: tuple[object, ...] = ()
    lanes: tuple[str, ...] = PROCESSES
    timeout: float | None = None

    def call(self, bench: Bench, number: int) -> Told:
        """A call of it, one of several."""
        files = {"{started}": bench.folder / f"{number}.started", "{gate}": bench.gate(f"{number}")}
        args = [str(files[arg]) if isinstance(arg, str) else arg for arg in self.args]
        return bench.call(self.function, *args, timeout=self.timeout)


def lost(*reasons: str) -> Matches:
    return lambda outcome: isinstance(outcome, WorkerLost) and outcome.reason in reasons


def raised(type_name: str, text: str = "") -> Matches:
    return lambda outcome: (
        isinstance(outcome, Raised)
        and outcome.failure.type_name == type_name
        and text in outcome.failure.message
    )


def returned_something(outcome: Outcome) -> bool:
    return isinstance(outcome, Returned)


def timed_out(outcome: Outcome) -> bool:
    return isinstance(outcome, TimedOut)


def raising(function: Callable[..., object], type_name: str, text: str = "") -> Poison:
    return Poison(function, raised(type_name, text), lanes=EVERYWHERE)


def endless(function: Callable[..., object]) -> Poison:
    return Poison(function, timed_out, ("{started}",), timeout=0.5)


POISONS: dict[str, tuple[Poison, ...]] = {
    "ends the process": (
        Poison(work.leave, lost("exit code 3"), (3,)),
        Poison(work.leave, lost("exit code 0"), (0,)),
        Poison(work.read_address_zero, lost("SIGSEGV")),
        Poison(work.kill_myself, lost("SIGABRT"), (signal.SIGABRT,)),
        Poison(work.kill_myself, lost("SIGKILL"), (signal.SIGKILL,)),
        Poison(work.kill_myself, lost("SIGTERM"), (signal.SIGTERM,)),
        Poison(work.kill_my_group, lost("SIGKILL")),
        Poison(work.close_every_file, lost("exit code 1", "SIGTERM", "SIGKILL")),
    ),
    "raises": (
        raising(work.raise_system_exit, "SystemExit", "3"),
        raising(work.raise_hostile, "HostileError", "boo"),
        raising(work.raise_keyboard_interrupt, "KeyboardInterrupt"),
        raising(work.raise_generator_exit, "GeneratorExit"),
        raising(work.raise_cancelled, "CancelledError", "by myself"),
        raising(work.raise_two_arguments, "TwoArgumentsError", "one and two"),
        raising(work.raise_unpicklable, "LockedError"),
        raising(work.raise_str_raises, "StrRaisesError", "raised RuntimeError"),
        raising(work.raise_str_exits, "StrExitsError"),
        raising(work.raise_in_a_circle, "ValueError"),
        raising(work.raise_long, "ValueError"),
        raising(work.recurse, "RecursionError"),
    ),
    "returns what will not do": (
        Poison(work.return_lambda, raised("TypeError", "will not pickle")),
        Poison(work.return_trap, raised("TypeError", "will not unpickle")),
        Poison(work.return_bytes, raised("ValueError", "more than max_result"), (100_000_000,)),
    ),
    "takes too much": (
        Poison(work.leave_threads, returned_something, (200, "{gate}"), THREADS),
        Poison(work.flood_stdout, returned_something, (10**7,), THREADS),
        Poison(work.say_many, returned_something, (10_000,)),
    ),
    "does not end": (
        endless(work.spin),
        endless(work.lock_up),
        endless(work.hold_the_interpreter),
        endless(work.ignore_sigterm),
    ),
}
CASES = [
    pytest.param(kind, lane, id=f"{kind}-{lane}")
    for kind, poisons in POISONS.items()
    for lane in poisons[0].lanes
]


class Neighbours:
    """Calls that share a lane with a poison: one for the whole time, small ones meanwhile."""

    def __init__(self, bench: Bench, lane: Lane) -> None:
        self._bench = bench
        self._lane = lane
        self._small: list[tuple[int, Told]] = []

    async def move_in(self) -> None:
        self._steady = await self._bench.hold(self._lane, "steady")

    def visit(self) -> None:
        """Some small calls come."""
        for _ in range(5):
            number = len(self._small)
            self._small.append((number, self._bench.call(work.add, number, 1)))
            self._lane.submit(self._small[-1][1])

    async def all_went_well(self) -> None:
        async with asyncio.timeout(PROMPT):
            for number, call in self._small:
                assert await call.outcome() == Returned(number + 1)

    async def move_out(self) -> None:
        assert not self._steady.outcomes
        self._bench.open("steady")
        assert await self._steady.outcome() == Returned("steady")


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(request.param, tmp_path)
    yield bench
    await bench.close()


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less time between SIGTERM and SIGKILL: many calls of these tests use it up."""
    monkeypatch.setattr("executors.processes.TERM_GRACE", 0.3)


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize(("kind", "bench"), CASES, indirect=["bench"])
async def test_a_poisonous_call_harms_only_itself(bench: Bench, kind: str) -> None:
    lane = await bench.lane(3, 100)
    neighbours = Neighbours(bench, lane)
    await neighbours.move_in()

    for number, poison in enumerate(POISONS[kind] * ROUNDS):
        if bench.kind not in poison.lanes:
            continue
        call = poison.call(bench, number)
        neighbours.visit()
        lane.submit(call)
        neighbours.visit()
        # These do not wait for it, though it may take long to die.
        await neighbours.all_went_well()
        outcome = await call.outcome()
        assert poison.ends(outcome), (poison.function, outcome)
        neighbours.visit()
        await neighbours.all_went_well()
        bench.open(f"{number}")

    await neighbours.move_out()
    assert (lane.running, lane.waiting) == (0, 0)


@pytest.mark.parametrize("bench", PROCESSES, indirect=True)
async def test_workers_killed_while_idle_cost_no_call(bench: Bench) -> None:
    lane = await bench.lane(3, 100)
    assert isinstance(lane, ProcessLane)
    await lane.warm()
    neighbours = Neighbours(bench, lane)
    await neighbours.move_in()

    for _ in range(ROUNDS):
        for worker in lane.workers():
            if not worker.busy:
                os.kill(worker.pid, signal.SIGKILL)
        neighbours.visit()
        await neighbours.all_went_well()

    await neighbours.move_out()


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("bench", PROCESSES, indirect=True)
async def test_all_poisons_at_once_leave_a_lane_that_works(bench: Bench) -> None:
    lane = await bench.lane(3, 1000, spare=True)
    neighbours = Neighbours(bench, lane)
    await neighbours.move_in()
    poisons = [poison for kind in POISONS.values() for poison in kind] * ROUNDS
    calls = [(poison, poison.call(bench, number)) for number, poison in enumerate(poisons)]

    for _, call in calls:
        lane.submit(call)
    async with asyncio.timeout(60 * ROUNDS):
        for poison, call in calls:
            outcome = await call.outcome()
            assert poison.ends(outcome), (poison.function, outcome)

    neighbours.visit()
    await neighbours.all_went_well()
    await neighbours.move_out()
    await until(lambda: (lane.running, lane.waiting) == (0, 0))


# -- the slot of a call that would not end ---------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "most"),
    # Generous: 0.5 s and 2.5 s on a machine that has nothing else to do.
    [(work.spin, 5.0), (work.hold_the_interpreter, 7.0)],
)
@pytest.mark.parametrize("bench", PROCESSES, indirect=True)
async def test_a_slot_serves_again_soon_after_a_call_that_would_not_end(
    bench: Bench, function: Callable[..., object], most: float
) -> None:
    lane = await bench.lane(1, 100, spare=True)
    assert isinstance(lane, ProcessLane)
    await lane.warm()
    await until(lambda: len(lane.workers()) == 2)
    loop = asyncio.get_running_loop()
    call = bench.call(function, str(bench.folder / "started"), timeout=0.5)
    began = loop.time()
    lane.submit(call)
    following = bench.call(work.add, 1)
    lane.submit(following)

    outcome = await call.outcome()
    told = loop.time() - began
    assert await following.outcome() == Returned(1)
    served = loop.time() - began - told

    print(
        f"{function.__name__}: told after {told:.3f} s, the slot served {served * 1000:.0f} ms on"
    )
    assert outcome == TimedOut(0.5, "its worker process was killed")
    assert 0.5 <= told <= most
    assert served <= 2.0


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("bench", PROCESSES, indirect=True)
async def test_what_would_not_end_can_be_cancelled(bench: Bench) -> None:
    lane = await bench.lane(2, 100)
    started = bench.folder / "started"
    call = bench.call(work.hold_the_interpreter, str(started))
    lane.submit(call)
    await until(started.exists)

    assert lane.cancel(call)
    assert await bench.run(lane, work.add, 1) == Returned(1)

    assert await call.outcome() == Cancelled("its worker process was killed")
