"""What every lane promises, whatever it runs calls in."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from executors import (
    Cancelled,
    LaneClosedError,
    LaneFullError,
    Outcome,
    Raised,
    Returned,
    TimedOut,
    WorkerLost,
)
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until

HOW_CANCELLED = {
    "async": "its coroutine was cancelled",
    "io": "its thread goes on",
    "cpu": "its worker process was killed",
}
HOW_TIMED_OUT = {**HOW_CANCELLED, "async": "cancelled"}


@pytest.fixture(params=["async", "io", "cpu"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(request.param, tmp_path)
    yield bench
    await bench.close()


# -- running ---------------------------------------------------------------------------------------


async def test_a_call_returns_what_its_function_returns(bench: Bench) -> None:
    lane = await bench.lane()
    call = bench.call(work.add, 1, kwargs={"right": 2})

    lane.submit(call)

    assert await call.outcome() == Returned(3)
    assert call.started.is_set()


async def test_none_is_a_result_like_any_other(bench: Bench) -> None:
    lane = await bench.lane()

    assert await bench.run(lane, work.paint, "red") == Returned(None)


async def test_an_exception_is_told_as_plain_data(bench: Bench) -> None:
    lane = await bench.lane()

    outcome = await bench.run(lane, work.fail, "no route")

    assert isinstance(outcome, Raised)
    failure = outcome.failure
    assert failure.type_name == "ConnectionResetError"
    assert {"builtins.ConnectionError", "builtins.OSError"} <= set(failure.type_names)
    assert failure.message == "no route"
    assert "in fail" in failure.traceback
    assert "executors/" not in failure.traceback
    assert (failure.exception is None) == (bench.kind == "cpu")


async def test_a_slot_is_free_again_when_the_call_is_told_its_end(bench: Bench) -> None:
    lane = await bench.lane(limit=1, room=0)
    running = []

    class Nosy(Told):
        def on_done(self, outcome: Outcome) -> None:
            running.append(lane.running)
            super().on_done(outcome)

    call = Nosy(bench.call(work.add, 1).function, 1)
    lane.submit(call)
    await call.outcome()

    assert running == [0]
    assert await bench.run(lane, work.add, 4) == Returned(4)


async def test_many_calls_each_end_once_with_their_own_result(bench: Bench) -> None:
    lane = await bench.lane(limit=2, room=300)
    calls = [bench.call(work.add, number, 1) for number in range(300)]

    for call in calls:
        lane.submit(call)

    assert [await call.outcome() for call in calls] == [Returned(n + 1) for n in range(300)]
    assert (lane.running, lane.waiting) == (0, 0)


async def test_an_error_in_on_done_costs_no_slot(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    lane = await bench.lane(limit=1)

    class Broken(Told):
        def on_done(self, outcome: Outcome) -> None:
            super().on_done(outcome)
            raise RuntimeError("listener fell over")

    call = Broken(bench.call(work.add, 1).function, 1)
    lane.submit(call)
    await call.outcome()

    assert await bench.run(lane, work.add, 5) == Returned(5)
    assert "listener fell over" in caplog.text


async def test_an_error_in_on_start_ends_the_call_and_costs_no_slot(bench: Bench) -> None:
    lane = await bench.lane(limit=1)

    class Broken(Told):
        def on_start(self) -> None:
            raise RuntimeError("could not write it down")

    call = Broken(bench.call(work.add, 1).function, 1)
    lane.submit(call)

    outcome = await call.outcome()
    assert isinstance(outcome, Raised)
    assert outcome.failure.message == "could not write it down"
    assert await bench.run(lane, work.add, 5) == Returned(5)


async def test_a_partial_is_as_good_as_a_function(bench: Bench) -> None:
    lane = await bench.lane()
    function = functools.partial(bench.call(work.add).function, 40)

    call = Told(function, 2)
    if bench.kind == "async":
        call = Told(functools.partial(work.in_a_loop_of_its_own, 41))
    lane.submit(call)

    assert await call.outcome() == Returned(42)


# -- admission -------------------------------------------------------------------------------------


async def test_calls_start_by_priority_and_then_in_order_of_arrival(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    diary = bench.folder / "diary"
    holder = await bench.hold(lane, "first")
    calls = [
        bench.call(work.note, str(diary), f"{priority}{letter}", priority=priority)
        for letter in "ab"
        for priority in (0, 5, -1)
    ]

    for call in calls:
        lane.submit(call)
    bench.open("first")
    for call in (holder, *calls):
        await call.outcome()

    assert diary.read_text().split() == ["5a", "5b", "0a", "0b", "-1a", "-1b"]


async def test_the_limit_is_never_exceeded(bench: Bench) -> None:
    lane = await bench.lane(limit=2)
    diary = bench.folder / "diary"
    calls = [bench.call(work.overlap, str(diary)) for _ in range(40)]

    for call in calls:
        lane.submit(call)
    for call in calls:
        assert await call.outcome() == Returned(None)

    inside, most = 0, 0
    for sign in diary.read_text().split():
        inside += 1 if sign == "+" else -1
        most = max(most, inside)
    assert (inside, most) == (0, 2)


async def test_a_full_lane_refuses_and_says_how_full_it_is(bench: Bench) -> None:
    lane = await bench.lane(limit=1, room=1)
    holder = await bench.hold(lane, "first")
    second = bench.call(work.add, 1)
    lane.submit(second)

    with pytest.raises(LaneFullError, match="1 running, 1 waiting"):
        lane.submit(bench.call(work.add, 2))

    assert lane.free == 0
    bench.open("first")
    await holder.outcome()
    assert await second.outcome() == Returned(1)


async def test_a_reserved_place_is_kept_until_it_is_used_or_released(bench: Bench) -> None:
    lane = await bench.lane(limit=1, room=0)

    assert lane.reserve()
    assert not lane.reserve()
    with pytest.raises(LaneFullError):
        lane.submit(bench.call(work.add, 1))
    lane.release()
    assert lane.reserve()
    call = bench.call(work.add, 2)
    lane.submit(call, reserved=True)

    assert await call.outcome() == Returned(2)
    assert (lane.reserved, lane.free) == (0, 1)


async def test_a_call_that_is_not_let_go_holds_its_slot_without_running(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    let_go: list[Callable[[], None]] = []

    class Gated(Told):
        def before_start(self, proceed: Callable[[], None]) -> bool:
            let_go.append(proceed)
            return True

    call = Gated(bench.call(work.add, 1).function, 1)
    other = bench.call(work.add, 2)
    lane.submit(call)
    lane.submit(other)

    assert (lane.running, lane.waiting) == (1, 1)
    assert not call.started.is_set()
    let_go[0]()
    let_go[0]()  # a second time means nothing
    assert await call.outcome() == Returned(1)
    assert await other.outcome() == Returned(2)


async def test_a_call_cancelled_before_it_was_let_go_never_runs(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    let_go: list[Callable[[], None]] = []

    class Gated(Told):
        def before_start(self, proceed: Callable[[], None]) -> bool:
            let_go.append(proceed)
            return True

    call = Gated(bench.call(work.add, 1).function, 1)
    lane.submit(call)

    assert lane.cancel(call)
    let_go[0]()

    assert await call.outcome() == Cancelled("before it started")
    assert not call.started.is_set()
    assert lane.running == 0


async def test_a_lane_takes_calls_only_between_start_and_stop(bench: Bench) -> None:
    lane = bench.fresh()
    with pytest.raises(LaneClosedError, match="not running"):
        lane.submit(bench.call(work.add, 1))
    await lane.start()
    with pytest.raises(LaneClosedError, match="started before"):
        await lane.start()

    await lane.stop()

    with pytest.raises(LaneClosedError):
        lane.submit(bench.call(work.add, 1))


async def test_more_slots_start_waiting_calls_at_once_and_fewer_interrupt_none(
    bench: Bench,
) -> None:
    lane = await bench.lane(limit=1)
    first = await bench.hold(lane, "first")
    second = bench.call(work.hold, str(bench.gate("second")))
    third = bench.call(work.add, 3)
    lane.submit(second)

    lane.resize(2)
    await until(bench.gate("second").with_suffix(".held").exists)
    lane.resize(1)
    lane.submit(third)
    bench.open("first")

    assert await first.outcome() == Returned("first")
    assert (lane.running, lane.waiting) == (1, 1)
    bench.open("second")
    assert await second.outcome() == Returned("second")
    assert await third.outcome() == Returned(3)


async def test_a_paused_lane_starts_nothing_until_it_is_resumed(bench: Bench) -> None:
    lane = await bench.lane()
    call = bench.call(work.add, 1)

    lane.pause()
    lane.submit(call)

    assert (lane.running, lane.waiting, lane.paused) == (0, 1, True)
    lane.resume()
    assert await call.outcome() == Returned(1)


async def test_a_lane_starts_nothing_until_every_brake_is_released(bench: Bench) -> None:
    lane = await bench.lane()
    call = bench.call(work.add, 1)

    lane.pause()
    lane.brake("short of memory")
    lane.brake("short of memory")
    lane.submit(call)

    assert list(lane.brakes) == ["paused", "short of memory"]
    lane.resume()
    lane.release_brake("never heard of")
    assert (lane.running, lane.waiting, lane.brakes) == (0, 1, ("short of memory",))
    lane.release_brake("short of memory")
    assert await call.outcome() == Returned(1)
    assert not lane.paused


async def test_a_full_lane_says_what_it_waits_for(bench: Bench) -> None:
    lane = await bench.lane(limit=1, room=0)
    lane.brake("short of memory")
    lane.submit(bench.call(work.add, 1))

    with pytest.raises(LaneFullError, match="1 waiting; it is short of memory"):
        lane.submit(bench.call(work.add, 1))


async def test_who_waits_can_be_seen_and_the_last_of_the_lowest_be_taken_back(
    bench: Bench,
) -> None:
    lane = await bench.lane()
    assert (lane.lowest_waiting, lane.heads(), lane.take_back(9)) == (None, [], None)
    lane.pause()
    calls = [bench.call(work.add, 1, priority=priority) for priority in (0, 5, 0, 5, 0)]
    for call in calls:
        lane.submit(call)

    assert lane.lowest_waiting == 0
    assert lane.heads() == [calls[1], calls[0]]
    assert lane.take_back(below=0) is None
    assert [lane.take_back(below=5) for _ in range(4)] == [calls[4], calls[2], calls[0], None]
    assert (lane.waiting, lane.lowest_waiting) == (2, 5)
    lane.resume()
    assert [await calls[1].outcome(), await calls[3].outcome()] == [Returned(1)] * 2
    assert not any(calls[number].outcomes or calls[number].cancelled for number in (0, 2, 4))


async def test_a_call_that_is_withdrawn_from_the_room_is_told_nothing(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    holder = await bench.hold(lane, "first")
    waiting = [bench.call(work.add, number) for number in range(2)]
    for call in waiting:
        lane.submit(call)

    assert lane.withdraw(waiting[0])
    assert not lane.withdraw(waiting[0])
    assert not lane.withdraw(holder)

    bench.open("first")
    assert await waiting[1].outcome() == Returned(1)
    assert await holder.outcome() == Returned("first")
    assert not waiting[0].outcomes
    assert not waiting[0].cancelled


async def test_any_change_while_the_lane_works_keeps_the_limit_and_loses_nothing(
    bench: Bench,
) -> None:
    lane = await bench.lane(limit=3, room=10_000)
    draw = random.Random(bench.kind)
    too_many: list[tuple[int, int]] = []

    class Counted(Told):
        def on_start(self) -> None:
            if lane.running > lane.limit or lane.brakes:
                too_many.append((lane.running, lane.limit))
            super().on_start()

    def change() -> None:
        kind = draw.choice(["resize", "pause", "resume", "brake", "release", "cancel"])
        if kind == "resize":
            lane.resize(draw.randint(1, 4))
        elif kind == "cancel" and lane.heads():
            assert lane.cancel(draw.choice(lane.heads()))
        elif kind in {"pause", "resume"}:
            getattr(lane, kind)()
        elif kind == "brake":
            lane.brake(draw.choice("ab"))
        else:
            lane.release_brake(draw.choice("ab"))

    def more() -> list[Counted]:
        calls = []
        for _ in range(3):
            made = bench.call(work.add, 1, priority=draw.randint(0, 2))
            calls.append(Counted(made.function, *made.args, priority=made.priority))
            lane.submit(calls[-1])
        return calls

    calls = []
    for _ in range(200):
        calls += more()
        change()
        await asyncio.sleep(draw.choice([0, 0.001]))
    for reason in lane.brakes:
        lane.release_brake(reason)

    outcomes = [await call.outcome() for call in calls]
    assert set(outcomes) == {Returned(1), Cancelled("before it started")}
    assert outcomes.count(Returned(1)) > 500
    assert not too_many
    assert (lane.running, lane.waiting) == (0, 0)


# -- ending early ----------------------------------------------------------------------------------


async def test_a_waiting_call_that_is_cancelled_never_runs(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    holder = await bench.hold(lane, "first")
    waiting = [bench.call(work.add, number) for number in range(3)]
    for call in waiting:
        lane.submit(call)

    assert lane.cancel(waiting[1])

    assert await waiting[1].outcome() == Cancelled("before it started")
    assert waiting[1].cancelled
    assert not waiting[1].started.is_set()
    bench.open("first")
    await holder.outcome()
    assert [await waiting[0].outcome(), await waiting[2].outcome()] == [Returned(0), Returned(2)]


async def test_a_running_call_that_is_cancelled_says_what_became_of_it(bench: Bench) -> None:
    lane = await bench.lane(limit=2)
    neighbour = await bench.hold(lane, "neighbour")
    call = await bench.hold(lane, "victim")

    assert lane.cancel(call)

    assert await call.outcome() == Cancelled(HOW_CANCELLED[bench.kind])
    assert call.cancelled
    assert await bench.run(lane, work.add, 6) == Returned(6)
    bench.open("neighbour")
    assert await neighbour.outcome() == Returned("neighbour")


async def test_a_call_that_has_ended_cannot_be_cancelled(bench: Bench) -> None:
    lane = await bench.lane()
    call = bench.call(work.add, 1)
    lane.submit(call)
    await call.outcome()

    assert not lane.cancel(call)
    assert not call.cancelled
    assert not lane.cancel(bench.call(work.add, 1))


async def test_a_call_that_takes_too_long_says_what_became_of_it(bench: Bench) -> None:
    lane = await bench.lane(limit=2)
    neighbour = await bench.hold(lane, "neighbour")

    call = bench.call(work.hold, str(bench.gate("slow")), timeout=0.3)
    lane.submit(call)

    assert await call.outcome() == TimedOut(0.3, HOW_TIMED_OUT[bench.kind])
    assert await bench.run(lane, work.add, 6) == Returned(6)
    bench.open("neighbour")
    assert await neighbour.outcome() == Returned("neighbour")


async def test_a_call_within_its_time_is_not_disturbed(bench: Bench) -> None:
    lane = await bench.lane()
    call = bench.call(work.add, 1, timeout=60.0)

    lane.submit(call)

    assert await call.outcome() == Returned(1)


# -- stopping --------------------------------------------------------------------------------------


async def test_draining_waits_for_what_runs_and_starts_nothing_more(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    holder = await bench.hold(lane, "first")
    waiting = bench.call(work.add, 1)
    lane.submit(waiting)

    assert not await lane.drain(0.01)
    bench.open("first")
    assert await lane.drain(30)

    assert await holder.outcome() == Returned("first")
    assert (lane.running, lane.waiting) == (0, 1)
    assert not waiting.started.is_set()


async def test_what_waits_is_handed_back_in_starting_order_and_told_nothing(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    holder = await bench.hold(lane, "first")
    calls = [bench.call(work.add, 1, priority=priority) for priority in (0, 9, 0, 3)]
    for call in calls:
        lane.submit(call)

    back = lane.hand_back()

    assert back == [calls[1], calls[3], calls[0], calls[2]]
    assert lane.waiting == 0
    bench.open("first")
    await holder.outcome()
    assert not any(call.started.is_set() or call.outcomes for call in calls)


async def test_stopping_ends_everything_and_can_be_done_twice(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    running = await bench.hold(lane, "running")
    waiting = bench.call(work.add, 1)
    lane.submit(waiting)

    await asyncio.gather(lane.stop(), lane.stop())
    await lane.stop()

    assert await running.outcome() == Cancelled(HOW_CANCELLED[bench.kind])
    assert await waiting.outcome() == Cancelled("before it started")
    assert (lane.running, lane.waiting) == (0, 0)


async def test_stopping_ends_a_call_that_was_not_let_go_yet(bench: Bench) -> None:
    lane = await bench.lane()
    let_go: list[Callable[[], None]] = []

    class Gated(Told):
        def before_start(self, proceed: Callable[[], None]) -> bool:
            let_go.append(proceed)
            return True

    call = Gated(bench.call(work.add, 1).function, 1)
    lane.submit(call)

    await lane.stop()
    let_go[0]()

    assert await call.outcome() == Cancelled("before it started")
    assert not call.started.is_set()


async def test_a_lane_that_was_never_started_can_be_stopped(bench: Bench) -> None:
    lane = bench.fresh()

    await lane.stop()

    assert (lane.running, lane.waiting) == (0, 0)
    with pytest.raises(LaneClosedError):
        lane.submit(Told(work.add, 1))


async def test_a_fresh_lane_works_after_another_was_stopped(bench: Bench) -> None:
    first = await bench.lane()
    assert await bench.run(first, work.add, 1) == Returned(1)
    await first.stop()

    second = await bench.lane()

    assert await bench.run(second, work.add, 2) == Returned(2)


# -- poison ----------------------------------------------------------------------------------------

RAISING = [
    (work.raise_system_exit, "SystemExit"),
    (work.raise_keyboard_interrupt, "KeyboardInterrupt"),
    (work.raise_generator_exit, "GeneratorExit"),
    (work.raise_cancelled, "CancelledError"),
    (work.raise_hostile, "HostileError"),
    (work.raise_two_arguments, "TwoArgumentsError"),
    (work.raise_str_raises, "StrRaisesError"),
    (work.raise_str_exits, "StrExitsError"),
    (work.raise_in_a_circle, "ValueError"),
    (work.raise_long, "ValueError"),
    (work.recurse, "RecursionError"),
]


async def test_nothing_that_a_function_raises_harms_a_neighbour(bench: Bench) -> None:
    lane = await bench.lane(limit=2)
    neighbour = await bench.hold(lane, "neighbour")

    for function, name in RAISING:
        outcome = await bench.run(lane, function)
        assert isinstance(outcome, Raised), function
        assert outcome.failure.type_name == name
        assert len(outcome.failure.message) < 100_000

    assert await bench.run(lane, work.add, 7) == Returned(7)
    bench.open("neighbour")
    assert await neighbour.outcome() == Returned("neighbour")


async def test_a_raised_stop_iteration_is_a_failure_like_any_other(bench: Bench) -> None:
    lane = await bench.lane()

    outcome = await bench.run(lane, next, iter(()))

    assert isinstance(outcome, Raised)
    # A coroutine cannot raise it as such: Python itself turns it into a RuntimeError.
    assert outcome.failure.type_name == (
        "RuntimeError" if bench.kind == "async" else "StopIteration"
    )


# -- context variables -----------------------------------------------------------------------------


async def test_context_variables_follow_a_call_within_the_process(bench: Bench) -> None:
    lane = await bench.lane()
    context = contextvars.copy_context()
    context.run(work.colour.set, "blue")
    call = bench.call(work.tell_colour, context=context)

    lane.submit(call)

    expected = "none" if bench.kind == "cpu" else "blue"
    assert await call.outcome() == Returned(expected)


async def test_what_a_call_sets_is_not_seen_by_the_next_one(bench: Bench) -> None:
    lane = await bench.lane(limit=1)
    calls = [bench.call(work.paint, "red"), bench.call(work.tell_colour)]

    for call in calls:
        lane.submit(call)

    assert await calls[0].outcome() == Returned(None)
    assert await calls[1].outcome() == Returned("none")
    assert work.colour.get() == "none"


def test_outcomes_are_values() -> None:
    assert WorkerLost("SIGKILL") == WorkerLost("SIGKILL") != WorkerLost("SIGSEGV")
