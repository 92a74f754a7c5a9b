"""The lane that runs coroutine functions on the event loop itself.

Nothing a coroutine raises reaches the loop: asyncio lets SystemExit and KeyboardInterrupt out of
``run_forever``, which would end the program.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import Any

from executors.base import Call, Lane
from executors.describe import describe
from executors.outcomes import RETURNED_NONE, Cancelled, Outcome, Raised, Returned, TimedOut

#: Seconds after which a coroutine that swallowed its cancellation is cancelled again.
CANCEL_AGAIN = 0.5
#: Seconds after which a coroutine that ignores its cancellation is left to itself.
GIVE_UP = 2.0
#: How long `stop` waits: everything has ended or was given up by then.
_STOP_PATIENCE = GIVE_UP + 3.0


class EventLoopLane(Lane):
    """Runs coroutine functions, up to ``limit`` at a time, on the loop `start` was awaited on.

    A timeout or a cancel cancels the coroutine. One that swallows it is cancelled again each
    `CANCEL_AGAIN` seconds, and given up after `GIVE_UP`: its outcome says ``ignored cancellation``,
    its slot is free, and it goes on for as long as it likes.
    """

    def __init__(self, name: str = "async", *, limit: int, room: int) -> None:
        super().__init__(name, limit=limit, room=room)
        self._active: dict[Call, asyncio.Task[None]] = {}
        self._timers: dict[Call, asyncio.TimerHandle] = {}
        #: What a call will be told whatever its coroutine does about its cancellation.
        self._verdicts: dict[Call, Cancelled | TimedOut] = {}
        #: Coroutines that were given up. The loop alone holds them too weakly.
        self._strays: dict[asyncio.Task[None], Call] = {}
        self._ended: deque[tuple[Call, Outcome]] = deque()
        self._awake = False

    @property
    def strays(self) -> int:
        """How many coroutines go on although they were cancelled."""
        return len(self._strays)

    def call_of(self, task: asyncio.Task[Any]) -> Call | None:
        """The call that ``task`` runs, given up or not; None if it is none of this lane's.

        From any thread. A task that a call started by itself is not known here.
        """
        # Copied in one step of the interpreter: the loop's thread may change it at any time.
        for call, runner in list(self._active.items()):
            if runner is task:
                return call
        return self._strays.get(task)

    # -- running -----------------------------------------------------------------------------

    def _execute(self, call: Call) -> None:
        # A constant name: asyncio would format a number into one for each call, at a third of
        # the price of the whole call.
        self._active[call] = self._loop.create_task(
            self._run(call), name=self.name, context=call.context or self._context.copy()
        )
        if call.timeout is not None:
            verdict = TimedOut(call.timeout, "cancelled")
            self._timers[call] = self._loop.call_later(call.timeout, self._condemn, call, verdict)

    async def _run(self, call: Call) -> None:
        outcome: Outcome
        try:
            # Whoever made the call vouches for its function being a coroutine function.
            function: Any = call.function
            value = await function(*call.args, **call.kwargs)
            outcome = RETURNED_NONE if value is None else Returned(call.convert(value))
        except asyncio.CancelledError as error:
            if not self._was_cancelled(call):
                outcome = Raised(describe(error))
            else:
                self._end(call, Cancelled("its coroutine was cancelled"))
                raise
        except BaseException as error:
            outcome = Raised(describe(error))
        self._end(call, outcome)

    def _was_cancelled(self, call: Call) -> bool:
        """Whether somebody cancelled the coroutine, or it raised CancelledError by itself."""
        runner = asyncio.current_task()
        return call in self._verdicts or (runner is not None and runner.cancelling() > 0)

    def _end(self, call: Call, outcome: Outcome) -> None:
        # Not told from in here: that would run in the call's own context, and under its name.
        self._ended.append((call, outcome))
        if not self._awake:
            self._awake = True
            try:
                self._loop.call_soon(self._tell_ended, context=self._context)
            except RuntimeError:  # the loop was closed under a coroutine that still ran
                self._ended.clear()

    def _tell_ended(self) -> None:
        self._awake = False
        ended = self._ended
        for _ in range(len(ended)):
            call, outcome = ended.popleft()
            if self._active.pop(call, None) is None:
                continue  # given up before
            if self._timers:
                timer = self._timers.pop(call, None)
                if timer is not None:
                    timer.cancel()
            if self._verdicts:
                outcome = self._verdicts.pop(call, outcome)
            self._finish(call, outcome)

    # -- ending ------------------------------------------------------------------------------

    def _cancel_running(self, call: Call) -> bool:
        runner = self._active.get(call)
        if runner is None or runner.done() or call in self._verdicts:
            return False
        call.cancelled = True
        self._condemn(call, Cancelled("its coroutine was cancelled"))
        return True

    def _condemn(self, call: Call, verdict: Cancelled | TimedOut) -> None:
        if call in self._active and not self._active[call].done():
            self._verdicts[call] = verdict
            timer = self._timers.pop(call, None)
            if timer is not None:
                timer.cancel()
            self._insist(call, self._loop.time() + GIVE_UP)

    def _insist(self, call: Call, deadline: float) -> None:
        runner = self._active[call]
        if self._loop.time() < deadline:
            runner.cancel()
            self._timers[call] = self._loop.call_later(CANCEL_AGAIN, self._insist, call, deadline)
            return
        del self._active[call]
        del self._timers[call]
        self._strays[runner] = call
        runner.add_done_callback(self._forget_stray)
        self._finish(call, replace(self._verdicts.pop(call), how="ignored cancellation"))

    def _forget_stray(self, runner: asyncio.Task[None]) -> None:
        del self._strays[runner]

    async def _stop_running(self) -> None:
        for call in tuple(self._active):
            self._cancel_running(call)
        await self._until_idle(_STOP_PATIENCE)
