"""What only the lane on the event loop has to cope with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from executors import Cancelled, EventLoopLane, Raised, Returned, TimedOut
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench("async", tmp_path)
    yield bench
    await bench.close()


async def test_a_coroutine_that_ignores_its_cancellation_is_given_up_and_its_slot_is_free(
    bench: Bench,
) -> None:
    lane = await bench.lane(limit=1)
    assert isinstance(lane, EventLoopLane)
    call = Told(work.swallow_cancellation, str(bench.gate("stubborn")))
    lane.submit(call)
    await until(bench.gate("stubborn").with_suffix(".held").exists)

    assert lane.cancel(call)

    assert await call.outcome() == Cancelled("ignored cancellation")
    assert lane.strays == 1
    assert await bench.run(lane, work.add, 1) == Returned(1)
    bench.open("stubborn")
    await until(lambda: lane.strays == 0)
    assert len(call.outcomes) == 1


async def test_a_coroutine_that_ignores_its_timeout_is_given_up(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    call = Told(work.swallow_cancellation, str(bench.gate("stubborn")), timeout=0.05)

    lane.submit(call)

    assert await call.outcome() == TimedOut(0.05, "ignored cancellation")


async def test_a_coroutine_that_swallows_its_cancellation_once_is_cancelled_again(
    bench: Bench,
) -> None:
    lane = await bench.lane(limit=1)
    swallowed = asyncio.Event()

    async def swallow_once() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await asyncio.Event().wait()

    call = Told(swallow_once)
    lane.submit(call)
    await asyncio.sleep(0)
    lane.cancel(call)

    assert await call.outcome() == Cancelled("its coroutine was cancelled")
    assert swallowed.is_set()


async def test_a_cancelled_call_is_never_followed_by_success(bench: Bench) -> None:
    lane = await bench.lane(limit=1)

    async def succeed_all_the_same() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done"
        return "unreachable"

    call = Told(succeed_all_the_same)
    lane.submit(call)
    await asyncio.sleep(0)
    lane.cancel(call)

    assert await call.outcome() == Cancelled("its coroutine was cancelled")


async def test_a_call_that_has_just_returned_cannot_be_cancelled_any_more(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    returned = asyncio.Event()

    async def function() -> str:
        returned.set()
        return "done"

    call = Told(function)
    lane.submit(call)
    await returned.wait()

    assert not lane.cancel(call)
    assert await call.outcome() == Returned("done")
    assert not call.cancelled


async def test_a_function_that_is_no_coroutine_function_fails(bench: Bench) -> None:
    lane = await bench.lane()
    call = Told(work.add, 1)

    lane.submit(call)

    outcome = await call.outcome()
    assert isinstance(outcome, Raised)
    assert outcome.failure.type_name == "TypeError"


async def test_what_is_told_of_a_call_is_told_outside_of_it(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    seen: list[tuple[str, object]] = []

    class Nosy(Told):
        def on_done(self, outcome: object) -> None:
            seen.append((work.colour.get(), asyncio.current_task()))
            self.ended.set()

    async def paint() -> None:
        work.colour.set("red")

    call = Nosy(paint)
    lane.submit(call)
    await call.ended.wait()

    assert seen == [("none", None)]


async def test_the_call_of_a_running_coroutine_can_be_asked_for_from_another_thread(
    bench: Bench,
) -> None:
    lane = await bench.lane(limit=2)
    assert isinstance(lane, EventLoopLane)
    runners: list[asyncio.Task[object] | None] = []

    async def show_yourself() -> None:
        runners.append(asyncio.current_task())
        await asyncio.Event().wait()

    calls = [Told(show_yourself), Told(show_yourself)]
    for call in calls:
        lane.submit(call)
    await until(lambda: len(runners) == 2)

    found = [await asyncio.to_thread(lane.call_of, runner) for runner in runners if runner]
    nobody = asyncio.current_task()

    assert found == calls
    assert nobody is not None and lane.call_of(nobody) is None


async def test_a_call_that_was_given_up_is_known_until_its_coroutine_ends(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    assert isinstance(lane, EventLoopLane)
    let_go = asyncio.Event()
    runners: list[asyncio.Task[object]] = []

    async def stubborn() -> None:
        runners.extend(filter(None, [asyncio.current_task()]))
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    call = Told(stubborn, timeout=0.01)
    lane.submit(call)
    assert await call.outcome() == TimedOut(0.01, "ignored cancellation")

    assert lane.call_of(runners[0]) is call
    let_go.set()
    await until(lambda: lane.call_of(runners[0]) is None)


def test_a_loop_that_ends_under_a_running_call_tells_it_so() -> None:
    calls: list[Told] = []

    async def main() -> None:
        lane = EventLoopLane(limit=1, room=0)
        await lane.start()
        calls.append(Told(asyncio.Event().wait))
        lane.submit(calls[0])
        await asyncio.sleep(0)

    asyncio.run(main())

    assert calls[0].outcomes == [Cancelled("its coroutine was cancelled")]
