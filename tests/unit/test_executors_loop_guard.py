"""Who holds the event loop is found out, on every loop, and nobody is blamed who did not.

The loop is really blocked here, by calls that wait, that compute, and that hold the interpreter.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Self

import pytest
import uvloop

from executors import EventLoopLane
from executors.loop_guard import LoopGuard
from executors.stalls import Stall
from tests.apps.holding import hold_the_interpreter
from tests.contract.lane_bench import PATIENCE, Told, until

#: A limit for stalls that tests can exceed by far without taking long.
LIMIT = 0.1

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on a loop of each kind."""

    def run(story: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(story)

    return run


def who(frame: FrameType, task: asyncio.Task[Any] | None) -> object:
    """The innermost function of this module, and the name of the task."""
    at: FrameType | None = frame
    while at is not None and at.f_code.co_filename != __file__:
        at = at.f_back
    return (at and at.f_code.co_name, task and task.get_name())


class Watched:
    """A guard on the running loop, and what it told."""

    def __init__(self, limit: float = LIMIT, identify: Any = who) -> None:
        self.told: list[Stall] = []
        self.guard = LoopGuard(limit, identify, self.told.append)

    async def __aenter__(self) -> Self:
        self.guard.start()
        await self.beats(2)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.guard.stop()

    async def beats(self, count: int) -> None:
        """Wait until so many beats more were answered: what was before is known by then."""
        seen = self.guard.lag.total.count
        await until(lambda: self.guard.lag.total.count >= seen + count)

    async def block(
        self, how: Callable[[], object], clear: Callable[[Stall], bool] = lambda _: True
    ) -> Stall:
        """Block the loop in a task; the stall that comes of it.

        A busy machine may let the whole process wait meanwhile, which is no stall or blurs what is
        seen of it: tried a few times, until it is ``clear``.
        """

        async def blocker() -> None:
            how()

        for _ in range(10):
            await asyncio.create_task(blocker(), name="blocker")
            await self.beats(2)
            if self.guard.stalls and clear(self.guard.stalls[-1]):
                break
        stall = self.guard.stalls[-1]
        await until(lambda: stall in self.told)
        return stall


# -- ways of holding a loop ------------------------------------------------------------------------


def wait() -> None:
    time.sleep(0.3)


def compute() -> None:
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        pass


def hold_it() -> None:
    hold_the_interpreter(0.6)


# -- who it was ------------------------------------------------------------------------------------


def test_a_call_that_waits_is_found_with_its_stack_and_uses_no_cpu(run: Run) -> None:
    async def story() -> None:
        async with Watched() as watched:
            before = time.time()
            stall = await watched.block(wait)

            assert stall.culprit == ("wait", "blocker")
            assert "in blocker" in stall.stack and "time.sleep(0.3)" in stall.stack
            assert stall.stack.index("in blocker") < stall.stack.index("in wait")
            assert LIMIT <= stall.duration < PATIENCE
            assert before - 1 < stall.at < time.time()
            assert stall.cpu_share < 0.2
            assert not stall.gil_held
            assert list(watched.guard.stalls) == watched.told == [stall]

    run(story())


def test_a_call_that_computes_uses_the_cpu(run: Run) -> None:
    async def story() -> None:
        async with Watched() as watched:
            stall = await watched.block(compute, lambda stall: stall.cpu_share > 0.2)

            assert stall.culprit == ("compute", "blocker")
            # Of a core; how much of one it gets is for the machine to say.
            assert 0.2 < stall.cpu_share <= 1.0

    run(story())


def test_native_code_that_keeps_the_watchdog_from_running_is_found_all_the_same(run: Run) -> None:
    async def story() -> None:
        async with Watched() as watched:
            stall = await watched.block(hold_it, lambda stall: stall.gil_held and bool(stall.stack))

            assert stall.gil_held
            assert stall.culprit == ("hold_it", "blocker")
            assert stall.cpu_share > 0.2

    run(story())


def test_another_thread_that_holds_the_interpreter_is_shown(run: Run) -> None:
    async def story() -> None:
        over = threading.Event()

        def work() -> None:
            hold_it()
            over.wait(PATIENCE)

        async with Watched() as watched:
            for _ in range(10):  # as in `block`
                over.clear()
                thread = threading.Thread(target=work, name="selfish")
                thread.start()
                await asyncio.sleep(0.01)
                await watched.beats(2)
                over.set()
                thread.join()
                if watched.guard.stalls and watched.guard.stalls[-1].gil_held:
                    break

            stall = watched.guard.stalls[-1]
            assert stall.gil_held
            assert stall.cpu_share < 0.5
            assert "Meanwhile, in thread 'selfish'" in stall.stack
            assert "in work" in stall.stack

    run(story())


def test_a_callback_that_belongs_to_no_task_is_found_as_well(run: Run) -> None:
    async def story() -> None:
        async with Watched() as watched:
            asyncio.get_running_loop().call_soon(wait)
            await until(lambda: watched.told)

            assert watched.told[0].culprit == ("wait", None)

    run(story())


def test_the_call_of_a_lane_can_be_identified_by_its_task(run: Run) -> None:
    async def story() -> None:
        lane = EventLoopLane(limit=5, room=0)
        await lane.start()

        def call_of(_: FrameType, task: asyncio.Task[Any] | None) -> object:
            return task and lane.call_of(task)

        async def block() -> None:
            wait()

        async with Watched(identify=call_of) as watched:
            calls = [Told(asyncio.sleep, 0.001), Told(block), Told(asyncio.sleep, 0.001)]
            for call in calls:
                lane.submit(call)
            await until(lambda: watched.told)

            assert watched.told[0].culprit is calls[1]
        await lane.stop()

    run(story())


def test_a_stall_that_goes_on_is_looked_at_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors.loop_guard._LOOK_AGAIN", 0.4)

    def first_half() -> None:
        time.sleep(0.5)

    def second_half() -> None:
        time.sleep(0.7)

    def both_halves() -> None:
        first_half()
        second_half()

    async def story() -> None:
        async with Watched() as watched:
            stall = await watched.block(both_halves)

            assert stall.culprit == ("first_half", "blocker")
            assert "in first_half" in stall.stack and "in second_half" not in stall.stack
            assert "in second_half" in stall.last_stack

    run(story())


def test_a_stall_can_be_asked_about_while_it_goes_on(run: Run) -> None:
    async def story() -> None:
        seen: list[Stall] = []
        asked = threading.Event()

        async with Watched() as watched:

            def ask() -> None:
                deadline = time.monotonic() + PATIENCE
                while len(seen) < 2 and time.monotonic() < deadline:
                    seen.extend(filter(None, [watched.guard.current]))
                    time.sleep(0.02)
                asked.set()

            asker = threading.Thread(target=ask)
            asker.start()
            await watched.block(lambda: asked.wait(PATIENCE))
            asker.join()

            first, second = seen
            assert first.culprit == second.culprit == ("<lambda>", "blocker")
            assert LIMIT <= first.duration < second.duration <= watched.told[0].duration
            assert watched.guard.current is None

    run(story())


# -- who it was not --------------------------------------------------------------------------------
# The limits are higher here: on a busy machine the loop really does nothing for a while.


def test_a_loop_that_is_not_run_for_a_while_does_not_stall() -> None:
    watches = [(make(), Watched(limit=0.4)) for make in LOOPS.values()]
    for loop, watched in watches:
        loop.run_until_complete(watched.__aenter__())

    time.sleep(1.0)

    for loop, watched in watches:
        loop.run_until_complete(watched.beats(2))
        watched.guard.stop()
        loop.close()
        assert not watched.guard.stalls
        assert watched.guard.lag.total.max < 0.7


def test_a_loop_that_was_ended_before_it_could_answer_does_not_stall() -> None:
    for make in LOOPS.values():
        loop = make()
        watched = Watched(limit=0.5)
        loop.run_until_complete(watched.__aenter__())

        def end_late(loop: asyncio.AbstractEventLoop = loop) -> None:
            loop.stop()
            time.sleep(0.3)  # in which a beat is posted

        loop.call_soon(end_late)
        loop.run_forever()
        time.sleep(0.6)
        loop.run_until_complete(watched.beats(2))

        watched.guard.stop()
        loop.close()
        assert not watched.guard.stalls


GUARDED = """
import asyncio, json, sys, time
from executors.loop_guard import LoopGuard

def report(guard):
    print(json.dumps([len(guard.stalls), guard.lag.total.max]), flush=True)

async def main():
    guard = LoopGuard(0.4)
    guard.start()
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line == "block\\n":
            time.sleep(1.0)
        seen = guard.lag.total.count
        while guard.lag.total.count < seen + 2:
            await asyncio.sleep(0.01)
        report(guard)
    guard.stop()

asyncio.run(main())
"""


def test_a_process_that_was_stopped_by_a_signal_did_not_stall() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", GUARDED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "ready\n"

        for _ in range(2):
            process.send_signal(signal.SIGSTOP)
            time.sleep(1.0)
            process.send_signal(signal.SIGCONT)
            print("report", file=process.stdin, flush=True)
            stalls, longest_lag = json.loads(process.stdout.readline())
            assert stalls == 0
            assert longest_lag < 0.7
        print("block", file=process.stdin, flush=True)
        stalls, longest_lag = json.loads(process.stdout.readline())
        assert stalls == 1

        process.stdin.close()
        assert process.wait(PATIENCE) == 0


# -- lag -------------------------------------------------------------------------------------------


def test_the_lag_is_measured_whether_there_are_stalls_or_not(run: Run) -> None:
    async def story() -> None:
        async with Watched(limit=0) as watched:
            await watched.beats(3)
            assert watched.guard.lag.recent.quantile(0.0) is not None
            for _ in range(50):  # until a beat comes in the middle of it
                wait()
                await watched.beats(2)
                if watched.guard.lag.total.max > 0.1:
                    break

            assert 0.1 < watched.guard.lag.total.max < PATIENCE
            assert (list(watched.guard.stalls), watched.guard.current) == ([], None)

    run(story())


def test_beats_are_rare_enough_to_cost_next_to_nothing(run: Run) -> None:
    async def story() -> None:
        async with Watched() as watched:
            seen, cost = watched.guard.lag.total.count, watched.guard.cost
            began = time.monotonic()
            await watched.beats(5)
            seconds = time.monotonic() - began

            assert (watched.guard.lag.total.count - seen) / seconds < 45
            assert watched.guard.cost - cost < 0.05 * seconds

    run(story())


# -- errors and ends -------------------------------------------------------------------------------


def test_a_culprit_that_cannot_be_identified_is_none_and_the_error_is_logged(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: FrameType, __: object) -> object:
        raise LookupError("nobody I know")

    async def story() -> None:
        async with Watched(identify=fail) as watched:
            stall = await watched.block(wait)

            assert stall.culprit is None
            assert "in wait" in stall.stack
            assert "nobody I know" in caplog.text

    run(story())


def test_a_listener_is_called_on_the_loop_and_its_error_does_not_end_the_watch(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        told: list[asyncio.AbstractEventLoop] = []

        def listen(_: Stall) -> None:
            told.append(asyncio.get_running_loop())
            raise RuntimeError("listener fell over")

        guard = LoopGuard(LIMIT, on_stall=listen)
        guard.start()
        for count in (1, 2):
            await asyncio.sleep(0.15)
            wait()
            await until(lambda count=count: len(told) >= count)  # type: ignore[misc]  # bound now
        guard.stop()

        assert set(told) == {asyncio.get_running_loop()}
        assert caplog.text.count("on_stall failed") == 2
        assert "listener fell over" in caplog.text

    run(story())


def test_a_guard_that_is_stopped_tells_nothing_more_but_keeps_what_it_saw(run: Run) -> None:
    async def story() -> None:
        async with Watched() as watched:
            wait()
            watched.guard.stop()
            watched.guard.stop()
            await until(lambda: watched.guard.stalls)

        (stall,) = watched.guard.stalls
        assert stall.culprit == ("wait", asyncio.current_task().get_name())  # type: ignore[union-attr]  # there is one
        assert not watched.told

    run(story())


def test_a_guard_can_be_stopped_before_it_was_started_and_started_only_once(run: Run) -> None:
    async def story() -> None:
        LoopGuard().stop()
        async with Watched() as watched:
            with pytest.raises(RuntimeError, match="started before"):
                watched.guard.start()

    run(story())


def test_only_the_latest_stalls_are_kept() -> None:
    assert LoopGuard().stalls.maxlen == 50


@pytest.mark.parametrize("stall", [-0.1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(stall: float) -> None:
    with pytest.raises(ValueError, match=f"0 seconds or more, not {stall}"):
        LoopGuard(stall)


def test_the_thread_ends_with_the_loop_if_nobody_stops_it(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())

    async def story() -> None:
        LoopGuard(LIMIT).start()

    run(story())

    deadline = time.monotonic() + PATIENCE
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not caplog.records


def test_a_program_ends_although_its_loop_is_guarded() -> None:
    code = (
        "import asyncio\nfrom executors.loop_guard import LoopGuard\n"
        "async def main(): LoopGuard(0.1).start(); await asyncio.sleep(0.05)\n"
        "loop = asyncio.new_event_loop(); loop.run_until_complete(main())"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=PATIENCE, capture_output=True, text=True
    )

    assert done.stderr == ""
