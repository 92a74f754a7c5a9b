"""What only the lane with threads has to cope with: nothing can stop a thread."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from executors import Cancelled, LaneFullError, Raised, Returned, ThreadLane
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench("io", tmp_path)
    yield bench
    await bench.close()


async def thread_lane(bench: Bench, limit: int, room: int = 100) -> ThreadLane:
    lane = await bench.lane(limit, room)
    assert isinstance(lane, ThreadLane)
    return lane


async def test_threads_are_started_only_when_they_are_needed(bench: Bench) -> None:
    lane = await thread_lane(bench, 8)
    assert lane.threads == 0

    for number in range(5):
        assert await bench.run(lane, work.add, number) == Returned(number)

    assert lane.threads == 1


async def test_an_abandoned_thread_counts_as_stuck_until_it_comes_back(bench: Bench) -> None:
    lane = await thread_lane(bench, 1)
    call = await bench.hold(lane, "slow")

    lane.cancel(call)

    assert (lane.stuck, lane.running) == (1, 0)
    assert await bench.run(lane, work.add, 1) == Returned(1)
    assert lane.threads == 2
    bench.open("slow")
    await until(lambda: lane.stuck == 0)
    assert lane.threads == 1
    assert call.outcomes == [Cancelled("its thread goes on")]


async def test_too_many_stuck_threads_stop_the_lane_until_one_comes_back(bench: Bench) -> None:
    lane = await thread_lane(bench, 1)
    assert lane.max_stuck == 2
    lane.cancel(await bench.hold(lane, "one"))
    second = await bench.hold(lane, "two")
    waiting = bench.call(work.add, 1)
    lane.submit(waiting)
    lane.cancel(second)

    assert lane.brakes == ("waiting for stuck threads",)
    assert (lane.running, lane.waiting) == (0, 1)
    bench.open("two")
    assert await waiting.outcome() == Returned(1)
    assert not lane.paused


async def test_a_lane_that_is_full_of_stuck_threads_refuses_work_and_says_why(
    bench: Bench,
) -> None:
    lane = await bench.lane(limit=4, max_stuck=2)
    for name in ("one", "two"):
        assert (lane.refusing, lane.free > 0) == ("", True)
        lane.cancel(await bench.hold(lane, name))

    assert lane.refusing == (
        "2 threads are stuck in calls that were given up; waiting for one to come back"
    )
    assert lane.free == 0
    assert not lane.reserve()
    with pytest.raises(LaneFullError, match="takes no work: 2 threads are stuck"):
        lane.submit(bench.call(work.add, 2))
    bench.open("one")
    await until(lambda: not lane.refusing)
    assert await bench.run(lane, work.add, 2) == Returned(2)


async def test_a_place_that_was_reserved_before_the_lane_refused_is_still_good(
    bench: Bench,
) -> None:
    lane = await bench.lane(limit=4, max_stuck=1)
    assert lane.reserve()
    lane.cancel(await bench.hold(lane, "slow"))
    call = bench.call(work.add, 1)

    lane.submit(call, reserved=True)

    assert (lane.running, lane.waiting) == (0, 1)
    bench.open("slow")
    assert await call.outcome() == Returned(1)


async def test_the_reason_counts_each_thread_that_gets_stuck_meanwhile(bench: Bench) -> None:
    lane = await bench.lane(limit=2, max_stuck=1)
    calls = [await bench.hold(lane, name) for name in ("one", "two")]

    for call, reason in zip(calls, ("1 thread is stuck", "2 threads are stuck"), strict=True):
        lane.cancel(call)
        assert lane.refusing.startswith(reason)


async def test_more_slots_allow_for_more_stuck_threads_unless_their_number_was_given(
    bench: Bench,
) -> None:
    by_limit = await thread_lane(bench, 1)
    given = await bench.lane(limit=1, max_stuck=2)
    for index, lane in enumerate((by_limit, given)):
        for name in ("one", "two"):
            lane.cancel(await bench.hold(lane, f"{name}{index}"))
        assert lane.refusing

    by_limit.resize(2)
    given.resize(2)

    assert by_limit.max_stuck == 4
    assert not by_limit.refusing
    assert given.refusing


@pytest.mark.parametrize("max_stuck", [0, -1])
def test_a_lane_in_which_no_thread_may_be_stuck_cannot_be_made(max_stuck: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 or None, not {max_stuck}"):
        ThreadLane(limit=1, room=1, max_stuck=max_stuck)


@pytest.mark.parametrize("timeout", [None, 0.2])
async def test_code_in_a_thread_can_see_that_it_was_cancelled_or_timed_out(
    bench: Bench, timeout: float | None
) -> None:
    lane = await thread_lane(bench, 2)
    seen = bench.folder / "seen"
    call = Told(work.look_at_me, timeout=timeout)
    call.args = (lambda: call.cancelled, str(seen))
    lane.submit(call)
    await until(seen.with_suffix(".held").exists)

    if timeout is None:
        lane.cancel(call)

    await call.outcome()
    await until(seen.exists)


async def test_calls_run_outside_the_loops_thread_and_end_on_it(bench: Bench) -> None:
    lane = await thread_lane(bench, 1)
    told: list[int] = []

    class Nosy(Told):
        def on_done(self, outcome: object) -> None:
            told.append(threading.get_ident())
            self.outcomes.append(outcome)  # type: ignore[arg-type]  # an outcome it is
            self.ended.set()

    call = Nosy(work.where)
    lane.submit(call)
    outcome = await call.outcome()

    assert isinstance(outcome, Returned)
    assert outcome.value != (0, threading.get_ident())
    assert told == [threading.get_ident()]


async def test_stopping_does_not_wait_for_a_thread_that_does_not_return(bench: Bench) -> None:
    lane = await thread_lane(bench, 1)
    call = await bench.hold(lane, "slow")

    async with asyncio.timeout(10):
        await lane.stop()

    assert await call.outcome() == Cancelled("its thread goes on")
    assert not bench.gate("slow").exists()


async def test_an_idle_thread_keeps_nothing_of_its_last_call_alive(bench: Bench) -> None:
    lane = await thread_lane(bench, 1)

    class Thing: ...

    thing = Thing()
    gone = weakref.ref(thing)
    await bench.run(lane, id, thing)
    del thing

    await until(lambda: gc.collect() >= 0 and gone() is None)


async def test_fewer_slots_mean_fewer_threads(bench: Bench) -> None:
    lane = await thread_lane(bench, 4)
    for name in "abcd":
        await bench.hold(lane, name)
    assert lane.threads == 4

    lane.resize(1)
    for name in "abcd":
        bench.open(name)

    await until(lambda: lane.threads == 1)


async def test_a_machine_without_threads_fails_the_call_and_not_the_lane(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = await thread_lane(bench, 1)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        outcome = await bench.run(lane, work.add, 1)

    assert isinstance(outcome, Raised)
    assert "new thread" in outcome.failure.message
    assert await bench.run(lane, work.add, 2) == Returned(2)
