"""A call, and the lane that runs it.

A lane has ``limit`` slots and a waiting room of ``room`` places. Admission (who may start) is
the same for every lane and lives here; how a call runs is the lane's own business (`_execute`).
Everything here runs on the event loop's thread.
"""

from __future__ import annotations

import abc
import asyncio
import contextvars
import logging
from collections.abc import Callable, Mapping

from executors.describe import describe
from executors.errors import LaneClosedError, LaneFullError
from executors.outcomes import Cancelled, Outcome, Raised
from executors.waiting_room import WaitingRoom

log = logging.getLogger("executors")


class Call:
    """One call of a function, told when it starts and, exactly once, how it ended.

    Subclass it to be told: lanes call `on_start` and `on_done` on the loop's thread.

    ``timeout`` is in seconds from the start of the call, None for no limit. ``priority``: higher
    starts first, equal in order of arrival. ``context`` is the context the function runs in where
    it runs in this process. ``cancelled`` becomes True when cancellation was asked for: code in a
    thread can look at it, nothing else can stop a thread.
    """

    __slots__ = (
        "args",
        "cancelled",
        "context",
        "function",
        "handle",
        "kwargs",
        "memory_limit",
        "priority",
        "timeout",
    )

    def __init__(
        self,
        function: Callable[..., object],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
        priority: int = 0,
        context: contextvars.Context | None = None,
        memory_limit: int | None = None,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs: Mapping[str, object] = {} if kwargs is None else kwargs
        self.timeout = timeout
        self.priority = priority
        self.context = context
        self.memory_limit = memory_limit
        self.cancelled = False
        #: Whatever the lane needs to reach the running call. Only the lane touches it.
        self.handle: object = None

    def before_start(self, proceed: Callable[[], None]) -> bool:
        """Hold the slot until something is done: return True and call ``proceed`` later.

        The default, False, starts the call at once. ``proceed`` is called on the loop's thread.
        """
        return False

    def convert(self, value: object) -> object:
        """What is reported as returned, where the call ran in this process; not asked for None.

        Runs where the call ran, in its thread for instance. What it raises is the call's error.
        """
        return value

    def on_start(self) -> None:
        """The call has its slot and starts now."""

    def on_message(self, data: bytes) -> None:
        """The running code said something, from a worker process: see `executors.worker.tell`."""

    def on_done(self, outcome: Outcome) -> None:
        """The call ended; called exactly once, after its slot was given back."""


class Lane(abc.ABC):
    """A bounded place to run calls.

    A lane is started once and stopped once; to run again, make another one. Any number of brakes
    keep it from starting calls (`brake`); what comes meanwhile waits in the room.
    """

    #: The loop that `start` was awaited on.
    _loop: asyncio.AbstractEventLoop

    def __init__(self, name: str, *, limit: int, room: int) -> None:
        _check_sizes(limit, room)
        self.name = name
        self.limit = limit
        self.room = room
        #: Calls that have a slot.
        self.running = 0
        #: Places promised to calls that are not here yet (see `reserve`).
        self.reserved = 0
        #: Why the lane takes no work at all at the moment, empty when it does. Calls whose place
        #: was reserved before are taken all the same, and wait.
        self.refusing = ""
        self._room: WaitingRoom[Call] = WaitingRoom()
        #: Empty when nobody waits, which costs the hot path less to find out than any call.
        self._waiting = self._room.levels
        #: Calls that have a slot but whose `before_start` has not let them go yet.
        self._held: set[Call] = set()
        self._open = False
        self._started = False
        #: Why nothing starts at the moment; empty when calls may start.
        self._brakes: set[str] = set()
        self._starting = False
        self._idle: asyncio.Event | None = None

    # -- lifecycle ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Take calls from now on. Raises `LaneClosedError` if the lane was started before."""
        if self._started:
            raise LaneClosedError(f"lane {self.name!r} was started before: make another one")
        self._started = True
        self._loop = asyncio.get_running_loop()
        #: Where calls run that bring no context of their own; each gets a copy.
        self._context = contextvars.copy_context()
        self._open = True

    async def stop(self) -> None:
        """End what still waits or runs (`on_done` gets ``Cancelled``), free everything. Idempotent.

        A second `stop` while one is under way waits for the same end.
        """
        self._open = False
        self.brake("stopped")
        for call in self.hand_back():
            call.cancelled = True
            self._tell(call, Cancelled("before it started"))
        for call in tuple(self._held):
            self._held.discard(call)
            call.cancelled = True
            self._finish(call, Cancelled("before it started"))
        await self._stop_running()

    def abandon(self) -> None:  # noqa: B027  (most lanes have nothing that outlives the loop)
        """Free what would outlive the event loop, which ends without `stop`."""

    async def drain(self, timeout: float) -> bool:
        """Start nothing more and wait up to ``timeout`` seconds for what runs; True if it ended."""
        self.brake("draining")
        return await self._until_idle(timeout)

    def hand_back(self) -> list[Call]:
        """Empty the waiting room; the calls are returned, in starting order, and told nothing."""
        return self._room.take_all()

    def take_back(self, below: int) -> Call | None:
        """Take the latest call of the lowest priority out of the room; it is told nothing.

        None if that priority is not lower than ``below``, or nobody waits.
        """
        return self._room.take_back(below)

    def withdraw(self, call: Call) -> bool:
        """Take ``call`` out of the waiting room, told nothing; False if it does not wait there."""
        return self._room.remove(call.priority, call)

    def brake(self, reason: str) -> None:
        """Start nothing more until this is undone for the same ``reason``, for example "paused"."""
        self._brakes.add(reason)

    def release_brake(self, reason: str) -> None:
        """Undo `brake`; calls start again when no other reason is left. Unknown ones are fine."""
        self._brakes.discard(reason)
        self._start_waiting()

    def pause(self) -> None:
        """Start nothing more until `resume`; what runs goes on, what comes waits in the room."""
        self.brake("paused")

    def resume(self) -> None:
        """Undo `pause`."""
        self.release_brake("paused")

    def resize(self, limit: int) -> None:
        """Change the number of slots. More start waiting calls at once, fewer interrupt nothing."""
        _check_sizes(limit, self.room)
        self.limit = limit
        self._start_waiting()

    # -- admission ---------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return self._room.count

    @property
    def lowest_waiting(self) -> int | None:
        """The lowest priority that a call waits with, None when none waits."""
        return self._room.lowest

    def heads(self) -> list[Call]:
        """The first waiting call of each priority, highest first."""
        return self._room.heads()

    @property
    def free(self) -> int:
        """How many more calls may be submitted or reserved; 0 while the lane is `refusing`."""
        if self.refusing:
            return 0
        return self.limit + self.room - self.running - self._room.count - self.reserved

    @property
    def brakes(self) -> tuple[str, ...]:
        """Why nothing starts at the moment, in alphabetical order; empty when calls may start."""
        return tuple(sorted(self._brakes))

    @property
    def paused(self) -> bool:
        """Whether calls may not start now, for whatever reason."""
        return bool(self._brakes)

    def reserve(self) -> bool:
        """Hold a place for a call that comes later with ``reserved=True``; False if full."""
        if self.free <= 0:
            return False
        self.reserved += 1
        return True

    def release(self) -> None:
        """Give back a reservation that will not be used."""
        self.reserved -= 1

    def submit(self, call: Call, *, reserved: bool = False) -> None:
        """Run ``call`` as soon as a slot is free.

        Raises `LaneFullError` when slots and waiting room are taken or the lane is `refusing`,
        `LaneClosedError` when it is not running. A reservation is used up only when nothing is
        raised.
        """
        if not self._open:
            raise LaneClosedError(f"lane {self.name!r} is not running: start() it first")
        if reserved:
            self.reserved -= 1
        elif self.free <= 0:
            raise LaneFullError(self._why_full())
        if self.running < self.limit and not self._waiting and not self._brakes:
            self._begin(call)
        else:
            self._room.push(call.priority, call)

    def cancel(self, call: Call) -> bool:
        """Cancel a call that waits or runs here; False if it is not here (any more)."""
        if self._waiting and self._room.remove(call.priority, call):
            call.cancelled = True
            self._tell(call, Cancelled("before it started"))
            return True
        if call in self._held:
            call.cancelled = True
            return True
        return self._cancel_running(call)

    # -- for the lanes -----------------------------------------------------------------------

    def _begin(self, call: Call) -> None:
        self.running += 1
        try:
            if call.before_start(lambda: self._proceed(call)):
                self._held.add(call)
                return
            call.on_start()
        except Exception as error:
            self._finish(call, Raised(describe(error)))
        else:
            self._execute(call)

    def _proceed(self, call: Call) -> None:
        if call not in self._held:  # the lane was stopped meanwhile, or this is a second time
            return
        self._held.discard(call)
        if call.cancelled:
            self._finish(call, Cancelled("before it started"))
            return
        try:
            call.on_start()
        except Exception as error:
            self._finish(call, Raised(describe(error)))
        else:
            self._execute(call)

    def _finish(self, call: Call, outcome: Outcome) -> None:
        """Give the slot back, tell the call, and start the next one."""
        self.running -= 1
        self._tell(call, outcome)
        if self._waiting:
            self._start_waiting()
        if self.running == 0 and self._idle is not None:
            self._idle.set()

    def _tell(self, call: Call, outcome: Outcome) -> None:
        try:
            call.on_done(outcome)
        except Exception:  # whoever listens must not cost the lane its slot
            log.exception("on_done of a call of %r failed in lane %r", call.function, self.name)

    def _start_waiting(self) -> None:
        # A call can end while it is being started; the flag keeps that from recursing.
        if self._starting:
            return
        self._starting = True
        try:
            while self._waiting and self.running < self.limit and not self._brakes:
                self._begin(self._room.pop())
        finally:
            self._starting = False

    async def _until_idle(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until no call has a slot; whether that came true."""
        if not self.running:
            return True
        if self._idle is None or self._idle.is_set():
            self._idle = asyncio.Event()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            return False
        return True

    def _why_full(self) -> str:
        if self.refusing:
            return f"lane {self.name!r} takes no work: {self.refusing}"
        text = f"lane {self.name!r} is full: {self.running} running, {self.waiting} waiting"
        return f"{text}; it is {' and '.join(self.brakes)}" if self._brakes else text

    @abc.abstractmethod
    def _execute(self, call: Call) -> None:
        """Start ``call``, which has a slot; arrange for `_finish` on the loop's thread."""

    @abc.abstractmethod
    def _cancel_running(self, call: Call) -> bool:
        """Cancel ``call`` if it runs here: mark it; its `on_done` gets ``Cancelled``."""

    @abc.abstractmethod
    async def _stop_running(self) -> None:
        """End everything that has a slot and free what the lane holds. May be called twice."""


def _check_sizes(limit: int, room: int) -> None:
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    if room < 0:
        raise ValueError(f"room must not be negative, not {room}")
