"""The lane that runs plain functions in threads of its own.

Nothing can stop a thread. A call that was cancelled or took too long is told so at once, its
thread counts as stuck until it comes back by itself, and another one takes its place.
"""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue

from executors.base import Call, Lane
from executors.describe import describe
from executors.mailbox import Mailbox
from executors.outcomes import RETURNED_NONE, Cancelled, Outcome, Raised, Returned, TimedOut

_GOES_ON = "its thread goes on"
_STUCK = "waiting for stuck threads"


class ThreadLane(Lane):
    """Runs functions, up to ``limit`` at a time, in daemon threads started on demand.

    ``max_stuck`` threads (default twice the limit) may be stuck at a time. At that many the lane
    starts nothing and takes no more work (`refusing`) until one of them comes back; what waits in
    the room goes on waiting.

    Code that wants to end early when it is cancelled or timed out looks at ``call.cancelled``.
    """

    def __init__(
        self, name: str = "io", *, limit: int, room: int, max_stuck: int | None = None
    ) -> None:
        super().__init__(name, limit=limit, room=room)
        if max_stuck is not None and max_stuck < 1:
            raise ValueError(f"max_stuck must be at least 1 or None, not {max_stuck}")
        self._max_stuck = max_stuck
        #: Threads that run a call which has been told its end already.
        self.stuck = 0
        self._threads = 0
        self._inbox: SimpleQueue[Call | None] = SimpleQueue()
        self._active: set[Call] = set()
        self._timers: dict[Call, asyncio.TimerHandle] = {}

    @property
    def max_stuck(self) -> int:
        """How many threads may be stuck before the lane takes no more work."""
        return 2 * self.limit if self._max_stuck is None else self._max_stuck

    @property
    def threads(self) -> int:
        """How many threads the lane has, stuck ones included."""
        return self._threads

    async def start(self) -> None:
        await super().start()
        self._outbox = Mailbox(self._loop, self._ended)

    def resize(self, limit: int) -> None:
        super().resize(limit)
        self._dismiss_surplus()
        self._check_stuck()

    # -- running -----------------------------------------------------------------------------

    def _execute(self, call: Call) -> None:
        if self._threads < self.running + self.stuck:
            try:
                self._hire()
            except RuntimeError as error:  # the system has no more threads to give
                if self._threads <= self.stuck:
                    self._finish(call, Raised(describe(error)))
                    return
        self._active.add(call)
        if call.timeout is not None:
            verdict = TimedOut(call.timeout, _GOES_ON)
            self._timers[call] = self._loop.call_later(call.timeout, self._abandon, call, verdict)
        self._inbox.put(call)

    def _hire(self) -> None:
        name = f"{self.name}-{self._threads + 1}"
        threading.Thread(target=self._work, name=name, daemon=True).start()
        self._threads += 1

    def _work(self) -> None:
        take = self._inbox.get
        post = self._outbox.post
        while (call := take()) is not None:
            post((call, self._run(call)))
            # A thread at rest must not keep the arguments and the result of its last call alive.
            del call

    def _run(self, call: Call) -> Outcome:
        if call.cancelled:  # told its end before a thread came to it
            return Cancelled("before it started")
        context = call.context or self._context.copy()
        try:
            value = context.run(call.function, *call.args, **call.kwargs)
            return RETURNED_NONE if value is None else Returned(call.convert(value))
        except BaseException as error:
            return Raised(describe(error))

    def _ended(self, item: tuple[Call, Outcome]) -> None:
        call, outcome = item
        if call not in self._active:
            self.stuck -= 1
            self._dismiss_surplus()
            self._check_stuck()
            return
        self._active.discard(call)
        if self._timers:
            timer = self._timers.pop(call, None)
            if timer is not None:
                timer.cancel()
        if self._threads > self.limit + self.stuck:
            self._dismiss_surplus()
        self._finish(call, outcome)

    # -- ending ------------------------------------------------------------------------------

    def _cancel_running(self, call: Call) -> bool:
        if call not in self._active:
            return False
        self._abandon(call, Cancelled(_GOES_ON))
        return True

    def _abandon(self, call: Call, outcome: Outcome) -> None:
        self._active.discard(call)
        timer = self._timers.pop(call, None)
        if timer is not None:
            timer.cancel()
        call.cancelled = True
        self.stuck += 1
        self._check_stuck()
        self._finish(call, outcome)

    def _check_stuck(self) -> None:
        if self.stuck >= self.max_stuck:
            threads = "1 thread is" if self.stuck == 1 else f"{self.stuck} threads are"
            self.refusing = (
                f"{threads} stuck in calls that were given up; waiting for one to come back"
            )
            self.brake(_STUCK)
        elif self.refusing:
            self.refusing = ""
            self.release_brake(_STUCK)

    def _dismiss_surplus(self) -> None:
        """Let go of threads that came back after they had been replaced."""
        surplus = self._threads - max(self.limit, self.running) - self.stuck
        for _ in range(surplus):
            self._threads -= 1
            self._inbox.put(None)

    def abandon(self) -> None:
        self._open = False
        self._dismiss_all()

    async def _stop_running(self) -> None:
        for call in tuple(self._active):
            self._abandon(call, Cancelled(_GOES_ON))
        self._dismiss_all()

    def _dismiss_all(self) -> None:
        # Each thread takes one of these when it comes back, now or later.
        for _ in range(self._threads):
            self._inbox.put(None)
        self._threads = 0
