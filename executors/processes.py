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
from executors.os_process import Nice
from executors.outcomes import Cancelled, Raised, Returned, TimedOut, WorkerLost
from executors.packing import pack
from executors.process_slot import Died, News, Parcel, Setup, Slot, WorkerInfo
from executors.recycling import Recycling
from executors.worker_pool import START_TRIES, WorkerPool

#: Seconds between SIGTERM and SIGKILL.
TERM_GRACE = 2.0
#: Seconds a worker that took too long has for writing down where it is, before SIGTERM.
STACKS_GRACE = 0.05
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
    when it starts, ``warm_up`` functions (``module:qualname``) it calls then, without arguments;
    one that fails is logged and disturbs only the calls that need it. Workers that die of it start
    without any. ``max_result_bytes`` (default 16 MiB) bounds a result, pickled.

    A worker is replaced after ``recycle_after`` calls, at the age of ``recycle_age`` seconds and
    when it holds more than ``recycle_rss`` bytes (default None: never), looked at after each call
    and by `recycle_idle`. It is also replaced when a call left threads behind, changed the working
    directory or the umask, or came up against its ``memory_limit``. It serves on until another
    one is up, and workers are replaced one at a time. Threads that are to stay are best started by
    ``warm_up``.

    Functions and arguments are pickled in `submit`, which raises `TypeError` if they will not.
    Coroutine functions run under a loop of their own. Running code can send something to its call
    with `executors.worker.tell`. A timeout counts from when the call was handed to a worker, and
    ends it like a cancel: SIGTERM, `TERM_GRACE` seconds, then SIGKILL to the worker and all it
    started; the call is told when the process is gone. Code that caught SIGTERM and ended the call
    by itself is told from code that was killed in the outcome.
    """

    def __init__(
        self,
        name: str = "cpu",
        *,
        limit: int,
        room: int,
        nice: Nice = 19,
        preload: Sequence[str] = (),
        warm_up: Sequence[str] = (),
        spare: bool = True,
        max_result_bytes: int = 16 * 1024 * 1024,
        recycle_after: int | None = None,
        recycle_age: float | None = None,
        recycle_rss: int | None = None,
    ) -> None:
        super().__init__(name, limit=limit, room=room)
        if nice not in (None, "idle", *range(20)):
            raise ValueError(f"nice must be 0 to 19, 'idle' or None, not {nice!r}")
        for hook in warm_up:
            if not all(hook.partition(":")):
                raise ValueError(f"warm_up takes names like 'module:function', not {hook!r}")
        self._pool = WorkerPool(
            name,
            limit,
            Setup(nice, tuple(preload), tuple(warm_up), max_result_bytes),
            Recycling(recycle_after, recycle_age, recycle_rss),
            spare=spare,
            hear=self._hear,
            on_idle=self._place,
            on_death=self._on_death,
        )
        self._guard: asyncio.Task[None] | None = None
        #: Calls that have a slot but no process yet.
        self._unplaced: deque[Call] = deque()
        self._busy: dict[Call, Slot] = {}

    async def start(self) -> None:
        await super().start()
        self._pool.open(self._loop)
        self._guard = self._loop.create_task(self._watch_loop(), name=f"{self.name}-guard")

    async def warm(self) -> None:
        """Start every worker now and wait until they are up, or have failed to come up."""
        await self._pool.warm()

    def workers(self) -> list[WorkerInfo]:
        """The workers that are up, oldest first, the spare included."""
        return self._pool.infos()

    def recycle_idle(self) -> None:
        """Replace idle workers that are due. Cheap; to be called about once a second."""
        if self._open:
            self._pool.recycle_idle()

    def submit(self, call: Call, *, reserved: bool = False) -> None:
        packed = pack(call.function, call.args, call.kwargs)
        call.handle = Parcel(packed, call.memory_limit)
        super().submit(call, reserved=reserved)

    def resize(self, limit: int) -> None:
        super().resize(limit)
        self._pool.resize(limit, len(self._unplaced))

    # -- running -----------------------------------------------------------------------------

    def _execute(self, call: Call) -> None:
        self._unplaced.append(call)
        self._place()

    def _place(self) -> None:
        """Hand calls to workers that are idle; see to it that the others get one."""
        idle = self._pool.idle
        while self._unplaced and idle:
            slot = idle.pop()
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
            self._pool.supply(len(self._unplaced))

    # -- news from the workers ---------------------------------------------------------------

    def _hear(self, slot: Slot, news: News) -> None:
        if isinstance(news, Returned | Raised):
            self._on_answer(slot, news)
        else:  # it hung up: most likely it is dying and its exit code should tell why
            self._loop.call_later(_DYING_PATIENCE, slot.kill)

    def _on_answer(self, slot: Slot, outcome: Returned | Raised) -> None:
        call = slot.call
        if call is None:
            return
        if slot.verdict is not None:
            # It came to an end by itself; too late to count, and not to be trusted.
            if slot.asked_to_end:
                slot.verdict = replace(slot.verdict, how=_STOPPED)
            slot.kill()
            return
        slot.disarm()
        slot.release()
        slot.calls_done += 1
        del self._busy[call]
        self._pool.put_back(slot)
        if self._unplaced:
            self._place()
        self._finish(call, outcome)

    def _on_death(self, slot: Slot, news: Died) -> None:
        if slot.call is not None:
            self._settle(slot, news.reason)
        elif self._unplaced and self._is_hopeless(slot):
            lost = WorkerLost(f"{news.reason} while starting", slot.stacks)
            self._finish(self._unplaced.popleft(), lost)
        self._pool.supply(len(self._unplaced))

    def _is_hopeless(self, slot: Slot) -> bool:
        """Whether not even workers that load nothing come up, ``slot`` being the last to fail."""
        return not slot.ready and slot.setup.bare and self._pool.failed_starts >= START_TRIES

    def _settle(self, slot: Slot, reason: str) -> None:
        """Tell the call of a dead worker how it ended."""
        call, parcel = cast("Call", slot.call), slot.parcel
        slot.release()
        del self._busy[call]
        if isinstance(slot.verdict, TimedOut):
            self._finish(call, replace(slot.verdict, detail=slot.stacks))
        elif slot.verdict is not None:
            self._finish(call, slot.verdict)
        elif not slot.begun and parcel.losses < DELIVERY_TRIES:
            # It died idle, just when it was sent the call: no line of the function has run.
            parcel.losses += 1
            self._unplaced.appendleft(call)
            self._place()
        else:
            self._finish(call, WorkerLost(reason, slot.stacks))

    # -- ending ------------------------------------------------------------------------------

    def _cancel_running(self, call: Call) -> bool:
        if call in self._unplaced:
            self._unplaced.remove(call)
            call.cancelled = True
            self._finish(call, Cancelled("before it started"))
            return True
        slot = self._busy.get(call)
        if slot is None or slot.verdict is not None or slot.death is not None:
            return False
        call.cancelled = True
        self._terminate(slot, call, Cancelled(_KILLED))
        return True

    def _terminate(self, slot: Slot, call: Call, verdict: Cancelled | TimedOut) -> None:
        if slot.call is not call or slot.verdict is not None or slot.death is not None:
            return
        slot.verdict = verdict
        slot.disarm()
        if isinstance(verdict, TimedOut) and slot.ask_for_stacks():
            slot.timer = self._loop.call_later(STACKS_GRACE, self._ask_to_end, slot)
        else:
            self._ask_to_end(slot)

    def _ask_to_end(self, slot: Slot) -> None:
        slot.terminate()
        slot.timer = self._loop.call_later(TERM_GRACE, slot.kill)

    async def _stop_running(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
        self._kill_all()
        if not await self._pool.wait_closed(_STOP_PATIENCE):
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
        for slot in self._busy.values():
            if slot.verdict is None:
                cast("Call", slot.call).cancelled = True
                slot.verdict = Cancelled(_KILLED)
        self._pool.close()

    async def _watch_loop(self) -> None:
        """Kill the workers if the loop ends without `stop`: the interpreter waits for them."""
        try:
            await asyncio.Event().wait()
        finally:
            if self._open:
                self._brakes.add("stopped")
                self._kill_all()
