"""What code in a worker process says while it runs reaches its own call, and no other."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from executors import Cancelled, Returned, TimedOut, WorkerLost
from executors.worker import tell
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until


class Listener(Told):
    """A call that remembers what its code said."""

    __slots__ = ("messages",)

    def __init__(self, function: Callable[..., object], *args: object, **options: object) -> None:
        super().__init__(function, *args, **options)
        self.messages: list[str] = []

    def on_message(self, data: bytes) -> None:
        assert not self.outcomes, "told after its end"
        self.messages.append(data.decode())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench("cpu", tmp_path)
    yield bench
    await bench.close()


async def listen(
    bench: Bench, function: Callable[..., object], *args: object, limit: int = 1, **options: object
) -> Listener:
    """Run one call in a lane of its own, and wait for its end."""
    lane = await bench.lane(limit)
    call = Listener(function, *args, **options)
    lane.submit(call)
    await call.outcome()
    return call


# -- on the way ------------------------------------------------------------------------------------


async def test_messages_come_in_order_and_before_the_end(bench: Bench) -> None:
    call = await listen(bench, work.say, "one", "two", "", "drei ✓")

    assert call.messages == ["one", "two", "", "drei ✓"]
    assert call.outcomes == [Returned("said")]


async def test_a_message_comes_while_the_call_still_runs(bench: Bench) -> None:
    lane = await bench.lane(1)
    call = Listener(work.say_and_hold, "begun", str(bench.gate("held")))
    lane.submit(call)

    await until(lambda: call.messages == ["begun"])

    assert not call.outcomes
    bench.open("held")
    assert await call.outcome() == Returned("held")


async def test_a_flood_of_messages_leaves_the_loop_its_turns(bench: Bench) -> None:
    lane = await bench.lane(1)
    await bench.run(lane, work.add, 1)
    loop = asyncio.get_running_loop()
    in_one_turn = Counter[int]()
    turn = 0

    class Counted(Listener):
        def on_message(self, data: bytes) -> None:
            super().on_message(data)
            in_one_turn[turn] += 1

    def count_turns() -> None:
        nonlocal turn
        turn += 1
        if not call.outcomes:
            loop.call_soon(count_turns)

    call = Counted(work.say_many, 10_000)
    lane.submit(call)
    time.sleep(0.3)  # noqa: ASYNC251  (meanwhile they gather)
    count_turns()
    await call.outcome()

    assert call.messages == [str(number) for number in range(10_000)]
    assert max(in_one_turn.values()) <= 200


async def test_a_long_message_is_as_good_as_a_short_one(bench: Bench) -> None:
    long = "x" * 1_000_000

    call = await listen(bench, work.say, "short", long, "short")

    assert call.messages == ["short", long, "short"]


@pytest.mark.parametrize(("count", "size"), [(500, 10), (20, 300_000)])
async def test_threads_of_a_call_may_all_speak_at_once(bench: Bench, count: int, size: int) -> None:
    call = await listen(bench, work.say_from_threads, 8, count, size)

    for name in range(8):
        mine = [text for text in call.messages if text.startswith(f"{name} ")]
        assert [text.rstrip(". ") for text in mine] == [f"{name} {n}" for n in range(count)]
    assert len(call.messages) == 8 * count


async def test_a_signal_handler_that_raises_amidst_a_message_spoils_none(bench: Bench) -> None:
    call = await listen(bench, work.say_with_an_alarm, 200)

    (outcome,) = call.outcomes
    assert isinstance(outcome, Returned)
    assert outcome.value == 200
    assert [int(text) for text in call.messages] == sorted(int(text) for text in call.messages)


async def test_a_long_message_that_is_cut_short_costs_its_own_call_and_no_other(
    bench: Bench,
) -> None:
    lane = await bench.lane(1)
    await bench.run(lane, work.add, 1)
    call = Listener(work.say_with_an_early_alarm, 10_000_000)
    lane.submit(call)
    time.sleep(0.5)  # noqa: ASYNC251  (nobody reads what it sends when the alarm goes off)

    assert await call.outcome() == WorkerLost("exit code 1")
    assert call.messages == []
    assert await bench.run(lane, work.add, 1) == Returned(1)


# -- the end ---------------------------------------------------------------------------------------


async def test_the_last_words_of_a_process_are_heard(bench: Bench) -> None:
    call = await listen(bench, work.say_and_leave, "farewell")

    assert call.messages == ["farewell"]
    assert call.outcomes == [WorkerLost("exit code 3")]


async def test_what_was_said_before_a_death_is_heard_even_if_the_death_is_known_first(
    bench: Bench,
) -> None:
    lane = await bench.lane(1)
    await bench.run(lane, work.add, 1)
    pid = lane.workers()[0].pid  # type: ignore[attr-defined]  # it is one of processes
    call = Listener(work.say_and_leave, "farewell")
    lane.submit(call)

    while psutil.pid_exists(pid):  # on purpose without giving the loop a chance to listen
        time.sleep(0.01)  # noqa: ASYNC251
    time.sleep(0.1)  # noqa: ASYNC251

    assert await call.outcome() == WorkerLost("exit code 3")
    assert call.messages == ["farewell"]


async def test_the_last_of_many_words_are_heard_too(bench: Bench) -> None:
    lane = await bench.lane(1)
    await bench.run(lane, work.add, 1)
    pid = lane.workers()[0].pid  # type: ignore[attr-defined]  # it is one of processes
    call = Listener(work.say_many_and_leave, 150)
    lane.submit(call)

    while psutil.pid_exists(pid):  # on purpose without giving the loop a chance to listen
        time.sleep(0.01)  # noqa: ASYNC251

    assert await call.outcome() == WorkerLost("exit code 3")
    assert len(call.messages) == 150


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_a_call_hears_what_it_said_although_it_was_given_up(bench: Bench, how: str) -> None:
    lane = await bench.lane(1)
    started, tidied = bench.folder / "started", bench.folder / "tidied"
    timeout = 1.0 if how == "timeout" else None
    call = Listener(work.tidy_up_and_tell, str(started), str(tidied), timeout=timeout)
    lane.submit(call)
    await until(started.exists)
    if how == "cancel":
        lane.cancel(call)

    outcome = await call.outcome()

    assert isinstance(outcome, Cancelled | TimedOut)
    assert outcome.how == "its worker process stopped on SIGTERM"
    assert call.messages == ["begun", "tidied up"]


async def test_a_listener_that_fails_harms_neither_the_call_nor_the_lane(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    lane = await bench.lane(1)

    class Broken(Listener):
        def on_message(self, data: bytes) -> None:
            super().on_message(data)
            raise RuntimeError("listener fell over")

    call = Broken(work.say, "one", "two")
    lane.submit(call)

    assert await call.outcome() == Returned("said")
    assert call.messages == ["one", "two"]
    assert "listener fell over" in caplog.text
    assert await bench.run(lane, work.add, 1) == Returned(1)


async def test_a_listener_may_cancel_its_own_call(bench: Bench) -> None:
    lane = await bench.lane(1)

    class Impatient(Listener):
        def on_message(self, data: bytes) -> None:
            super().on_message(data)
            lane.cancel(self)

    call = Impatient(work.say_and_hold, "begun", str(bench.gate("never")))
    lane.submit(call)

    assert await call.outcome() == Cancelled("its worker process was killed")
    assert await bench.run(lane, work.add, 1) == Returned(1)


# -- whose message it is ---------------------------------------------------------------------------


async def test_a_thread_that_a_call_left_behind_speaks_to_nobody(bench: Bench) -> None:
    lane = await bench.lane(1)
    talker = Listener(work.say_too_late, str(bench.gate("talk")))
    lane.submit(talker)
    await talker.outcome()
    # The worker is to be replaced, but serves on until the next is up.
    (same,) = lane.workers()  # type: ignore[attr-defined]  # it is one of processes
    call = Listener(work.hold_and_tell, str(bench.folder / "pid"), str(bench.gate("held")))
    lane.submit(call)
    await until((bench.folder / "pid").exists)
    assert int((bench.folder / "pid").read_text()) == same.pid

    bench.open("talk")
    await asyncio.sleep(0.1)
    bench.open("held")

    assert await call.outcome() == Returned("held")
    assert talker.messages == call.messages == []


async def test_a_message_of_another_call_is_not_given_to_this_one(bench: Bench) -> None:
    call = await listen(bench, work.say_as_another_call, "hello")

    assert call.messages == []
    assert call.outcomes == [Returned(None)]


async def test_a_forked_child_speaks_to_nobody_and_disturbs_nobody(bench: Bench) -> None:
    call = await listen(bench, work.say_in_a_fork, "I am another")

    assert call.messages == []
    assert call.outcomes == [Returned("said")]


async def test_a_forked_child_that_crashes_is_not_taken_for_the_worker(bench: Bench) -> None:
    lane = await bench.lane(1)
    await bench.run(lane, work.crash_in_a_fork)

    assert await bench.run(lane, work.add, 1) == Returned(1)
    outcome = await bench.run(lane, work.kill_myself, signal.SIGKILL)

    assert isinstance(outcome, WorkerLost)
    assert outcome.detail == ""


def test_outside_of_a_worker_there_is_nobody_to_speak_to() -> None:
    with pytest.raises(RuntimeError, match="outside of a worker process"):
        tell(b"hello")
