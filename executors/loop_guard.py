"""A watchdog that measures how late the event loop is, and finds out who holds it.

A beat is posted to the loop now and then; how late it is answered is the loop's lag. When it is
not answered for long, the watchdog looks at what the loop's thread is doing.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from types import CodeType, FrameType
from typing import Any

from executors.histogram import RecentHistogram
from executors.oversleep import Sleep
from executors.stalls import Stall, format_stack, read_others, read_stack

log = logging.getLogger("executors")

#: Told who holds the loop; see `LoopGuard`.
Identify = Callable[[FrameType, "asyncio.Task[Any] | None"], object]

#: Seconds between two beats, at most.
LONGEST_PAUSE = 0.2
#: The share of one core that the guard may cost.
BUDGET = 0.001
#: Seconds between two looks at the stack during one stall, at least.
_LOOK_AGAIN = 1.0
#: Seconds of sleep that are too short to be worth it.
_SOON = 0.001
#: Stalls that are kept.
_KEPT = 50


class LoopGuard:
    """Watches the loop it is started on from a thread of its own.

    A stall is a time of ``stall`` seconds or more in which the loop answered nothing; with 0 only
    the lag is measured. One of twice that time is always found, a shorter one if a beat was due
    early in it. There are 1 to 4 beats in that time, and 5 to 20 a second without a ``stall``: as
    many as can be had for a thousandth of a core. Who held it is not always found: native code that
    kept the interpreter to itself may be gone before anybody can look, and then nobody is blamed.

    When ``stall`` seconds have passed, ``identify(frame, task)`` is asked who it is:
    ``frame`` is the innermost one of the loop's thread, ``task`` the loop's current task or None in
    a plain callback. What it returns is kept with the stall, so that it should be small. It runs on
    the watchdog's thread while the loop's thread may go on at any moment:

    - Code objects, names and line numbers, and ``f_back``, are safe to read; the task's name, its
      coroutine and its context as well.
    - ``f_locals`` can be read, too, best for a few names at once: a value may be gone, or changed,
      in the next moment. Before Python 3.13 reading it leaves a copy of all variables in the frame,
      which keeps their values alive until the function returns, and under a debugger may put old
      values back into variables. Never write to it.
    - Call nothing that belongs to the loop or waits for it, and keep neither frame nor task.

    ``on_stall`` is called on the loop when a stall is over. An error of either is logged.
    """

    def __init__(
        self,
        stall: float = 0.0,
        identify: Identify | None = None,
        on_stall: Callable[[Stall], None] | None = None,
    ) -> None:
        if not 0 <= stall < float("inf"):
            raise ValueError(f"stall must be 0 seconds or more, not {stall}")
        self.stall = stall
        #: How late the loop was. Nobody but its owner calls `RecentHistogram.rotate`.
        self.lag = RecentHistogram()
        #: The last 50 stalls, newest last.
        self.stalls: deque[Stall] = deque(maxlen=_KEPT)
        #: CPU time the watchdog's thread has used so far, in seconds.
        self.cost = 0.0
        self._identify = identify
        self._on_stall = on_stall
        self._pause = self._longest_pause = min(stall or LONGEST_PAUSE, LONGEST_PAUSE)
        #: CPU seconds a beat costs this thread, on average. It costs the loop's about the same.
        self._price = BUDGET * self._pause / 2
        self._over = False
        self._thread: threading.Thread | None = None
        self._beat: _Beat | None = None

    def start(self) -> None:
        """Watch the running loop from now on; called on it. Raises `RuntimeError` if repeated."""
        if self._thread is not None:
            raise RuntimeError("this guard was started before: make another one")
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._clock = _cpu_clock(self._loop_thread)
        self._loop_code: frozenset[CodeType] = frozenset()
        self._loop.call_soon(self._learn_loop_code)
        # A daemon: it must not keep a program alive that ends without `stop`.
        self._thread = threading.Thread(target=self._run, name="loop-guard", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more, and call ``on_stall`` no more; called on the loop. Idempotent.

        Returns at once. The thread ends by itself within `LONGEST_PAUSE`.
        """
        self._over = True

    @property
    def current(self) -> Stall | None:
        """The stall that is going on, as far as it is known now; from any thread."""
        beat = self._beat
        if beat is None or not beat.noticed or beat.answered is not None:
            return None
        try:
            return beat.describe(time.monotonic(), self._clock())
        except OSError:  # the loop's thread is gone
            return None

    # -- the watchdog's thread ---------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._watch()
        except Exception:
            # An app that ends without `stop` closes the loop, or ends its thread, under us.
            if self._loop.is_running():
                log.exception("the watchdog of the event loop failed, which ends it")
        finally:
            self._beat = None

    def _watch(self) -> None:
        sleep = Sleep(least_lost=self._longest_pause / 2)
        beat = self._post(_Beat(sleep.now, self._clock()))
        while True:
            sleep(self._until_next_look(beat, sleep.now))
            if self._over:
                break
            if beat.answered is None:
                self._wait_on(beat, sleep)
                continue
            if sleep.held and beat.answered < sleep.due and self._loop.is_running():
                # The next one could not be posted when it was due. Who kept us from it has to be
                # looked for at once, before anything here gives the interpreter lock away.
                following = _Beat(sleep.due, beat.cpu_answered, held=sleep.held)
                self._judge(following, sleep.now)
            else:
                following = _Beat(sleep.now, self._clock())
                beat.suffer(sleep, until=beat.answered)
            self._settle(beat, beat.answered)
            beat = self._post(following)
            self._reckon(sleep.own)
        if beat.noticed:
            self._settle(beat, beat.answered or sleep.now)

    def _reckon(self, cost: float) -> None:
        """Choose how often to post a beat by what the last ones have cost."""
        self._price += (cost - self.cost - self._price) / 16
        self.cost = cost
        affordable = 2 * self._price / BUDGET
        self._pause = min(self._longest_pause, max(self._longest_pause / 4, affordable))

    def _post(self, beat: _Beat) -> _Beat:
        self._beat = beat
        beat.void = not self._loop.is_running()
        self._loop.call_soon_threadsafe(beat.answer, self._clock)
        return beat

    def _until_next_look(self, beat: _Beat, now: float) -> float:
        if not self.stall or beat.noticed:
            return self._pause
        return min(self._pause, max(_SOON, self.stall - beat.waited(now)))

    def _wait_on(self, beat: _Beat, sleep: Sleep) -> None:
        if not self._loop.is_running():
            beat.void = True
        if not beat.void:
            beat.suffer(sleep, until=sleep.now)
            self._judge(beat, sleep.now)

    def _judge(self, beat: _Beat, now: float) -> None:
        """Look at what the loop's thread does, if this beat has waited for long enough."""
        waited = beat.waited(now)
        if not self.stall or waited < (beat.look_again if beat.noticed else self.stall):
            return
        beat.look_again = waited + max(self.stall, _LOOK_AGAIN)
        # In this order: the thread goes on as soon as anything gives the interpreter lock away.
        task = asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._loop_thread)
        used = self._clock() - beat.cpu
        if frame is None or (used > waited / 2 and self._is_idle(frame)):
            return  # whoever held it is gone: nobody else is blamed for that
        stack = read_stack(frame)
        if beat.noticed:
            beat.last_stack = format_stack(stack)
            return
        others = {}
        if beat.held and used < beat.held / 2:
            others = read_others(self._loop_thread, threading.get_ident())
        beat.culprit = self._ask(frame, task)
        beat.stack = format_stack(stack) + "".join(
            f"Meanwhile, in thread {name!r}:\n{format_stack(other)}"
            for name, other in others.items()
        )
        beat.noticed = True

    def _is_idle(self, frame: FrameType) -> bool:
        """Whether the loop itself is all that runs on its thread."""
        return frame.f_code in self._loop_code or frame.f_globals.get("__name__") == "selectors"

    def _ask(self, frame: FrameType, task: asyncio.Task[Any] | None) -> object:
        if self._identify is None:
            return None
        try:
            return self._identify(frame, task)
        except Exception:
            log.exception("who stalls the event loop could not be identified")
            return None

    def _settle(self, beat: _Beat, answered: float) -> None:
        if beat.void:
            return
        lag = beat.waited(answered)
        self.lag.add(lag)
        if self.stall and (beat.noticed or lag >= self.stall):
            stall = beat.describe(answered, beat.cpu_answered or self._clock())
            self.stalls.append(stall)
            self._loop.call_soon_threadsafe(self._tell, stall)

    # -- the loop's thread -------------------------------------------------------------------

    def _learn_loop_code(self) -> None:
        """What calls a callback is the loop."""
        callers = traceback.walk_stack(sys._getframe(1))
        self._loop_code = frozenset(frame.f_code for frame, _ in callers)

    def _tell(self, stall: Stall) -> None:
        if self._on_stall is None or self._over:
            return
        try:
            self._on_stall(stall)
        except Exception:
            log.exception("on_stall failed")


class _Beat:
    """One message to the loop, and what is known of the time until it is answered."""

    __slots__ = (
        "answered",
        "cpu",
        "cpu_answered",
        "culprit",
        "due",
        "held",
        "last_stack",
        "look_again",
        "lost",
        "noticed",
        "stack",
        "void",
    )

    def __init__(self, due: float, cpu: float, held: float = 0.0) -> None:
        #: When it was posted, or should have been, by the monotonic clock.
        self.due = due
        #: CPU time of the loop's thread by then.
        self.cpu = cpu
        #: Seconds of the waiting in which the interpreter lock was held ...
        self.held = held
        #: ... and in which the process did not run at all, which do not count.
        self.lost = 0.0
        #: Nobody ran the loop for a while: that it did not answer is not its fault.
        self.void = False
        self.answered: float | None = None
        self.cpu_answered = 0.0
        self.noticed = False
        self.look_again = 0.0
        self.culprit: object = None
        self.stack = self.last_stack = ""

    def answer(self, clock: Callable[[], float]) -> None:
        """On the loop: it does something else than this again."""
        self.cpu_answered = clock()
        self.answered = time.monotonic()  # the last, which is what the watchdog looks at

    def waited(self, now: float) -> float:
        return max(0.0, now - self.due - self.lost)

    def suffer(self, sleep: Sleep, until: float) -> None:
        """Share what kept the watchdog from running, as far as it was before ``until``."""
        if sleep.held:
            self.held += max(0.0, until - max(self.due, sleep.due))
        if sleep.lost:  # nobody knows when in that sleep the process was stopped
            self.lost += max(0.0, until - max(self.due, sleep.began))

    def describe(self, end: float, cpu: float) -> Stall:
        duration = self.waited(end)
        return Stall(
            at=time.time() - (time.monotonic() - self.due),
            duration=duration,
            stack=self.stack,
            cpu_share=min(1.0, max(0.0, cpu - self.cpu) / duration) if duration else 0.0,
            culprit=self.culprit,
            gil_held=self.held >= duration / 2 > 0,
            last_stack=self.last_stack,
        )


def _cpu_clock(thread: int) -> Callable[[], float]:
    """A clock of the CPU time of this thread, from any thread; of the process if need be."""
    if hasattr(time, "pthread_getcpuclockid"):
        return partial(time.clock_gettime, time.pthread_getcpuclockid(thread))
    return time.process_time
