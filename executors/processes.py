"""The lane that runs functions in worker processes, each worth exactly one call at a time.

Rule: a process that dies, hangs or is killed costs its own call and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from executors.base import Call, Lane, log
from executors.keeper import Keeper
from executors.mailbox import Mailbox
from executors.outcomes import Cancelled, Raised, Returned, TimedOut, WorkerLost
from executors.packing import pack
from executors.process_slot import (
    Died,
    News,
    Nice,
    Parcel,
    Ready,
    Setup,
    Slot,
    WorkerInfo,
)

#: Seconds between SIGTERM and SIGKILL.
TERM_GRACE = 2.0
#: Seconds a worker may take to start and to import what it is told to.
START_PATIENCE = 120.0
#: How often in a row a worker may fail to start before a call is given up for it.
START_TRIES = 3
#: How many workers a call may lose before it has begun; more, and it is to blame itself.
DELIVERY_TRIES = 3
#: Seconds in which a worker that closed its channel must be gone.
_DYING_PATIENCE = 0.5
#: Seconds `stop` waits for killed processes to be gone.
_STOP_PATIENCE = 5.0

_KILLED = "its worker process was killed"
_STOPPED = "its worker process stopped on SIGTERM"


class ProcessLane(Lane):
    """Runs functions, up to ``limit`` at a time, each in a worker process of its own.

    Workers are started when they are first needed, or all at once by `warm`, and then kept. With
    ``spare`` one more than ``limit`` is kept ready, so that a lost one is replaced at once.

    ``nice`` is the workers' scheduling priority, 0 to 19 (default 19), ``"idle"`` for SCHED_IDLE
    where there is one, or None to leave it alone. ``preload`` names modules each worker imports
    when it starts; one that fails is logged and disturbs only the calls that need it.
    ``max_result_bytes`` (default 16 MiB) bounds a result, pickled.

    Functions and arguments are pickled in `submit`, which raises `TypeError` if they will not.
    Coroutine functions run under a loop of their own. A timeout counts from when the call was
    handed to a worker, and ends it like a cancel: SIGTERM, `TERM_GRACE` seconds, then SIGKILL to
    the worker and all it started; the call is told when the process is gone. Code that caught
    SIGTERM and ended the call by itself is told from code that was killed in the outcome.
    """

    def __init__(
        self,
        name: str = "cpu",
        *,
        limit: int,
        room: int,
        nice: Nice = 19,
        preload: Sequence[str] = (),
        spare: bool = True,
        max_result_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        super().__init__(name, limit=limit, room=room)
        if nice not in (None, "idle", *range(20)):
            raise ValueError(f"nice must be 0 to 19, 'idle' or None, not {nice!r}")
        self._setup = Setup(nice, tuple(preload), max_result_bytes)
        self._spare = spare
        self._keeper: Keeper | None = None
        self._guard: asyncio.Task[None] | None = None
        #: Every worker whose process is not known to be dead, in order of starting.
        self._slots: dict[Slot, None] = {}
        self._ready: list[Slot] = []
        #: Calls that have a slot but no process yet.
        self._unplaced: deque[Call] = deque()
        self._busy: dict[Call, Slot] = {}
        #: How many workers have been needed at a time, up to the limit; as many are kept.
        self._wanted = 0
        self._failed_starts = 0
        self._changed = asyncio.Event()
        self._keeper_gone = asyncio.Event()

    async def start(self) -> None:
        await super().start()
        self._guard = self._loop.create_task(self._watch_loop(), name=f"{self.name}-guard")

    async def warm(self) -> None:
        """Start every worker now and wait until they are up, or have failed to come up."""
        self._wanted = self.limit
        self._supply()
        while self._up < self.limit and self._up < len(self._slots):
            self._changed.clear()
            await self._changed.wait()

    @property
    def _up(self) -> int:
        return sum(slot.ready for slot in self._slots)

    def workers(self) -> list[WorkerInfo]:
        """The workers that are up, oldest first, the spare included."""
        return [slot.info() for slot in self._slots if slot.ready]

    def submit(self, call: Call, *, reserved: bool = False) -> None:
        call.handle = Parcel(pack(call.function, call.args, call.kwargs))
        super().submit(call, reserved=reserved)

    def resize(self, limit: int) -> None:
        super().resize(limit)
        self._wanted = min(self._wanted, limit)
        for slot in tuple(self._ready):
            if self._is_surplus():
                self._ready.remove(slot)
                self._retire(slot)
        self._supply()

    # -- running -----------------------------------------------------------------------------

    def _execute(self, call: Call) -> None:
        self._unplaced.append(call)
        self._place()

    def _place(self) -> None:
        """Hand calls to workers that are ready; see to it that the others get one."""
        while self._unplaced and self._ready:
            slot = self._ready.pop()
            call = self._unplaced.popleft()
            try:
                slot.send(call, cast("Parcel", call.handle))
            except OSError:  # it died while idle, and `Died` is on its way
                self._unplaced.appendleft(call)
                slot.kill()
                continue
            self._busy[call] = slot
            if call.timeout is not None:
                verdict = TimedOut(call.timeout, _KILLED)
                slot.timer = self._loop.call_later(
                    call.timeout, self._terminate, slot, call, verdict
                )
        if self._unplaced:
            self._supply()

    def _supply(self) -> None:
        """Start as many workers as are needed, and the spare once these are up."""
        if not self._open:
            return
        if self._failed_starts >= START_TRIES:
            # Whatever keeps workers from starting must not keep this process busy: one for each
            # call that asks for it.
            if self._unplaced and self._up == len(self._slots):
                self._start_slot()
            return
        busy = sum(slot.call is not None for slot in self._slots)
        self._wanted = max(self._wanted, min(self.limit, busy + len(self._unplaced)))
        while len(self._slots) < self._wanted:
            self._start_slot()
        if self._spare and self._wanted == self.limit == len(self._slots) == self._up:
            self._start_slot()

    def _start_slot(self) -> None:
        if self._keeper is None:
            mailbox = Mailbox[tuple[Slot, Died]](self._loop, self._on_death)
            self._keeper = Keeper(self.name, mailbox.post, self._on_keeper_gone)
        slot = Slot(self._setup, self._loop, self._hear)
        slot.timer = self._loop.call_later(START_PATIENCE, slot.kill)
        self._slots[slot] = None
        self._keeper.launch(slot)

    # -- news from the workers ---------------------------------------------------------------

    def _hear(self, slot: Slot, news: News) -> None:
        if isinstance(news, Returned | Raised):
            self._on_answer(slot, news)
        elif isinstance(news, Ready):
            self._on_ready(slot, news)
        else:  # it hung up: most likely it is dying and its exit code should tell why
            self._loop.call_later(_DYING_PATIENCE, slot.kill)

    def _on_answer(self, slot: Slot, outcome: Returned | Raised) -> None:
        call = slot.call
        if call is None:
            return
        if slot.verdict is not None:
            # It caught SIGTERM and came to an end; too late to count, and not to be trusted.
            slot.verdict = replace(slot.verdict, how=_STOPPED)
            slot.kill()
            return
        self._disarm(slot)
        slot.release()
        slot.calls_done += 1
        del self._busy[call]
        if self._is_surplus():
            self._retire(slot)
        elif slot.death is None:
            self._ready.append(slot)
        self._finish(call, outcome)

    def _on_ready(self, slot: Slot, news: Ready) -> None:
        self._disarm(slot)
        slot.ready = True
        self._failed_starts = 0
        for text in news.trouble:
            log.warning("a worker of lane %r could not preload %s", self.name, text)
        self._changed.set()
        if self._is_surplus():
            self._retire(slot)
            return
        self._ready.append(slot)
        self._place()
        self._supply()

    def _on_death(self, item: tuple[Slot, Died]) -> None:
        slot, news = item
        self._slots.pop(slot, None)
        if slot in self._ready:
            self._ready.remove(slot)
        slot.bury(news.reason)  # which may bring a last answer
        self._disarm(slot)
        self._changed.set()
        if slot.call is not None:
            self._settle(slot, news.reason)
        elif not slot.ready:
            self._on_failed_start(news.reason)
        self._supply()

    def _on_failed_start(self, reason: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= START_TRIES and self._unplaced:
            self._finish(self._unplaced.popleft(), WorkerLost(f"{reason} while starting"))

    def _settle(self, slot: Slot, reason: str) -> None:
        """Tell the call of a dead worker how it ended."""
        call, parcel = cast("Call", slot.call), slot.parcel
        slot.release()
        del self._busy[call]
        if slot.verdict is not None:
            self._finish(call, slot.verdict)
        elif not slot.begun and parcel.losses < DELIVERY_TRIES:
            # It died idle, just when it was sent the call: no line of the function has run.
            parcel.losses += 1
            self._unplaced.appendleft(call)
            self._place()
        else:
            self._finish(call, WorkerLost(reason))

    # -- ending ------------------------------------------------------------------------------

    def _cancel_running(self, call: Call) -> bool:
        if call in self._unplaced:
            self._unplaced.remove(call)
            call.cancelled = True
            self._finish(call, Cancelled("before it started"))
            return True
        slot = self._busy.get(call)
        if slot is None or slot.verdict is not None:
            return False
        call.cancelled = True
        self._terminate(slot, call, Cancelled(_KILLED))
        return True

    def _terminate(self, slot: Slot, call: Call, verdict: Cancelled | TimedOut) -> None:
        if slot.call is not call or slot.verdict is not None or slot.death is not None:
            return
        slot.verdict = verdict
        self._disarm(slot)
        slot.terminate()
        slot.timer = self._loop.call_later(TERM_GRACE, slot.kill)

    def _is_surplus(self) -> bool:
        return len(self._slots) > self.limit + self._spare

    def _retire(self, slot: Slot) -> None:
        """Let go of an idle worker that is not needed any more."""
        self._slots.pop(slot, None)
        slot.kill()

    @staticmethod
    def _disarm(slot: Slot) -> None:
        if slot.timer is not None:
            slot.timer.cancel()
            slot.timer = None

    async def _stop_running(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
        self._kill_all()
        if self._keeper is not None:
            try:
                await asyncio.wait_for(self._keeper_gone.wait(), _STOP_PATIENCE)
            except TimeoutError:
                log.warning("workers of lane %r did not die within %s s", self.name, _STOP_PATIENCE)
        # A process that not even SIGKILL ends (it hangs in the kernel) is no reason to say nothing.
        for call, slot in tuple(self._busy.items()):
            slot.release()
            del self._busy[call]
            self._finish(call, slot.verdict or Cancelled(_KILLED))

    def _kill_all(self) -> None:
        self._open = False
        while self._unplaced:
            call = self._unplaced.popleft()
            call.cancelled = True
            self._finish(call, Cancelled("before it started"))
        if self._keeper is not None:
            self._keeper.close()
        for slot in self._slots:
            self._disarm(slot)
            if slot.call is not None and slot.verdict is None:
                slot.call.cancelled = True
                slot.verdict = Cancelled(_KILLED)
            slot.kill()

    def _on_keeper_gone(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._keeper_gone.set)
        except RuntimeError:
            pass  # the loop is closed, nobody waits

    async def _watch_loop(self) -> None:
        """Kill the workers if the loop ends without `stop`: the interpreter waits for them."""
        try:
            await asyncio.Event().wait()
        finally:
            if self._open:
                self._brakes.add("stopped")
                self._kill_all()
