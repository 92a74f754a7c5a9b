"""One worker process, in a pool of its own, seen from the parent.

The pool starts the process, waits for its death and cleans up after it; calls and answers go
through a channel of our own, because the way through a pool costs the parent 200 microseconds.

Rule: the process is started on the keeper's thread (`launch`), everything else happens on the
loop's thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

import psutil

from executors import worker
from executors.base import Call, log
from executors.channel import (
    CALL,
    DUE,
    FAILURE,
    GREETING,
    LIMITED_CALL,
    MESSAGE,
    NOTHING,
    NUMBER,
    VALUE,
    Channel,
    pair,
)
from executors.crash_report import CrashReport
from executors.describe import describe
from executors.os_process import Nice, be_nice, kill_group
from executors.outcomes import RETURNED_NONE, Cancelled, Failure, Raised, Returned, TimedOut


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker process for people. ``started_at`` is in seconds since the epoch."""

    pid: int
    started_at: float
    calls_done: int
    busy: bool
    #: What it runs now.
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What every worker of a lane is started with."""

    nice: Nice
    preload: tuple[str, ...]
    warm_up: tuple[str, ...]
    max_result_bytes: int

    @property
    def bare(self) -> bool:
        """Whether workers load nothing when they start."""
        return not self.preload and not self.warm_up


@dataclass(slots=True)
class Parcel:
    """A packed call, and how many workers were lost while it was on its way to them."""

    packed: bytes
    #: In bytes, None for no limit.
    memory_limit: int | None = None
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is up; ``trouble`` tells what it could not load."""

    trouble: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Died:
    """The process is gone; ``reason`` is a signal name or an exit code."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker hung up; only its death can follow."""


News = Returned | Raised | Ready | Died | Ended
_ENDED = Ended()
_NO_PARCEL = Parcel(b"")


class _Context(SpawnContext):
    """The spawn context, which also hands out the process that a pool starts."""

    def __init__(self) -> None:
        super().__init__()
        self.started: SpawnProcess | None = None

    # The name is multiprocessing's, where it is a class; a pool only needs to call it.
    def Process(  # type: ignore[override]  # noqa: N802  # see above
        self, *args: Any, **kwargs: Any
    ) -> SpawnProcess:
        self.started = SpawnProcess(*args, **kwargs)
        return self.started


class Slot:
    """A worker process and the one call that it runs."""

    def __init__(
        self,
        setup: Setup,
        loop: asyncio.AbstractEventLoop,
        hear: Callable[[Slot, News], None],
    ) -> None:
        self.setup = setup
        self._hear = hear
        self._context = _Context()
        # The channel comes last: it would stay with the loop if file descriptors ran out after it.
        self._crashes = CrashReport()
        #: Shared with the process, which counts in it the calls it has begun.
        self._begun: ctypes.c_ulonglong = self._context.RawValue(ctypes.c_ulonglong, 0)
        ours, self._theirs = pair()
        self._channel = Channel(loop, ours, self._on_frame, self._on_end)
        self._sent = 0
        self._vitals: psutil.Process | None = None
        #: Whether this side has ended it, or wants to.
        self.unwanted = False
        self.executor: ProcessPoolExecutor | None = None
        self.process: SpawnProcess | None = None
        self.started_at = time.time()
        #: The same by the clock of the loop.
        self.born = loop.time()
        self.calls_done = 0
        self.ready = False
        #: Why it is to be replaced, "" if it is not.
        self.due = ""
        #: Set once the process is gone: a signal name or an exit code.
        self.death: str | None = None
        #: What it wrote about its threads, known once it is gone.
        self.stacks = ""
        self.call: Call | None = None
        self.parcel = _NO_PARCEL
        self.timer: asyncio.TimerHandle | None = None
        #: What the call will be told once the process is gone, whatever it still answers.
        self.verdict: Cancelled | TimedOut | None = None
        #: SIGTERM was sent.
        self.asked_to_end = False

    # -- on the keeper's thread --------------------------------------------------------------

    def launch(self) -> None:
        """Start the process. Must run on a thread that outlives it: Linux ties it to that."""
        try:
            self.executor = ProcessPoolExecutor(
                1,
                mp_context=self._context,
                initializer=worker.set_up,
                initargs=(
                    os.getpid(),
                    self._theirs,
                    self._crashes.writer,
                    self._begun,
                    self.setup.max_result_bytes,
                    self.setup.preload,
                    self.setup.warm_up,
                ),
            )
            self.executor.submit(worker.serve)
        finally:
            self._theirs.close()  # else its end would not be noticed
            self._crashes.writer.close()
            self.process = self._context.started
        if self.process is not None and self.process.pid is not None:
            be_nice(self.process.pid, self.setup.nice)
        if self.unwanted:
            self.kill()

    # -- on the loop's thread ----------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process id, 0 before there is one."""
        return (self.process.pid or 0) if self.process is not None else 0

    @property
    def begun(self) -> bool:
        """Whether the process has begun the last call it was sent."""
        return self._begun.value >= self._sent

    def send(self, call: Call, parcel: Parcel) -> None:
        """Let the process run ``call``; raises OSError if it is gone."""
        limit = parcel.memory_limit
        if limit is None:
            self._channel.send(CALL, parcel.packed)
        else:
            self._channel.send(LIMITED_CALL, NUMBER.pack(limit) + parcel.packed)
        self._sent += 1
        self.call = call
        self.parcel = parcel

    def release(self) -> None:
        """Forget the call: an idle worker must not keep its arguments alive."""
        self.call = None
        self.parcel = _NO_PARCEL

    def bury(self, reason: str) -> None:
        """The process is gone: hear what it had still said, then let go of everything."""
        self.death = reason
        self.stacks = self._crashes.read()
        self._channel.drain()
        self._channel.close()

    def ask_for_stacks(self) -> bool:
        """Have the process write down where it is, to be read when it is gone; False if it can't.

        It takes a moment and does not wait for the interpreter lock.
        """
        return self.ready and self.death is None and self._crashes.ask(self.pid)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.asked_to_end = True
        if self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        """End the process and everything it started; also one that is only about to start."""
        self.unwanted = True
        process = self.process
        if process is not None and process.pid is not None and self.death is None:
            kill_group(process.pid)
            process.kill()  # it leads no group before it is set up

    def disarm(self) -> None:
        """Stop the timer, if one runs."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def info(self) -> WorkerInfo:
        """This worker for people."""
        call = self.call
        return WorkerInfo(self.pid, self.started_at, self.calls_done, call is not None, call)

    def rss(self) -> int:
        """How much memory the process holds, in bytes; 0 if that cannot be known."""
        try:
            if self._vitals is None:
                self._vitals = psutil.Process(self.pid)
            return int(self._vitals.memory_info().rss)
        except psutil.Error:
            return 0

    def _on_frame(self, kind: bytes, body: memoryview) -> None:
        if kind == NOTHING:
            self._hear(self, RETURNED_NONE)
        elif kind == VALUE:
            self._hear(self, _decode(body))
        elif kind == MESSAGE:
            self._on_message(body)
        elif kind == DUE:
            self.due = str(body, "utf-8")
        elif kind == FAILURE:
            self._hear(self, Raised(Failure(*pickle.loads(body))))
        elif kind == GREETING:
            self._hear(self, Ready(pickle.loads(body)))

    def _on_message(self, body: memoryview) -> None:
        call = self.call
        if call is None or NUMBER.unpack_from(body)[0] != self._sent:
            return  # it comes from a thread that a call before left behind
        try:
            call.on_message(bytes(body[NUMBER.size :]))
        except Exception:  # whoever listens must not harm the lane
            log.exception("on_message of a call of %r failed", call.function)

    def _on_end(self) -> None:
        self._hear(self, _ENDED)


def _decode(body: memoryview) -> Returned | Raised:
    try:
        return Returned(pickle.loads(body))
    except BaseException as error:
        reason = describe(error)
        told = TypeError(f"the result will not unpickle: {reason.type_name}: {reason.message}")
        told.__cause__ = error
        return Raised(describe(told))
