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
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Literal

from executors import worker
from executors.base import Call
from executors.channel import CALL, FAILURE, GREETING, NOTHING, VALUE, Channel, pair
from executors.describe import describe
from executors.outcomes import RETURNED_NONE, Cancelled, Failure, Raised, Returned, TimedOut

Nice = int | Literal["idle"] | None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker process for people. ``started_at`` is in seconds since the epoch."""

    pid: int
    started_at: float
    calls_done: int
    busy: bool


@dataclass(frozen=True, slots=True)
class Setup:
    """What every worker of a lane is started with."""

    nice: Nice
    preload: tuple[str, ...]
    max_result_bytes: int


@dataclass(slots=True)
class Parcel:
    """A packed call, and how many workers were lost while it was on its way to them."""

    packed: bytes
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is up; ``trouble`` tells what could not be preloaded."""

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
        self._setup = setup
        self._hear = hear
        self._context = _Context()
        ours, self._theirs = pair()
        self._channel = Channel(loop, ours, self._on_frame, self._on_end)
        #: Shared with the process, which counts in it the calls it has begun.
        self._begun: ctypes.c_ulonglong = self._context.RawValue(ctypes.c_ulonglong, 0)
        self._sent = 0
        self._unwanted = False
        self.executor: ProcessPoolExecutor | None = None
        self.process: SpawnProcess | None = None
        self.started_at = time.time()
        self.calls_done = 0
        self.ready = False
        #: Set once the process is gone: a signal name or an exit code.
        self.death: str | None = None
        self.call: Call | None = None
        self.parcel = _NO_PARCEL
        self.timer: asyncio.TimerHandle | None = None
        #: What the call will be told once the process is gone, whatever it still answers.
        self.verdict: Cancelled | TimedOut | None = None

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
                    self._begun,
                    self._setup.max_result_bytes,
                    self._setup.preload,
                ),
            )
            self.executor.submit(worker.serve)
        finally:
            self._theirs.close()  # else its end would not be noticed
            self.process = self._context.started
        if self.process is not None and self.process.pid is not None:
            _be_nice(self.process.pid, self._setup.nice)
        if self._unwanted:
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
        self._channel.send(CALL, parcel.packed)
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
        self._channel.drain()
        self._channel.close()

    def terminate(self) -> None:
        """Ask the process to end."""
        if self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        """End the process and everything it started; also one that is only about to start."""
        self._unwanted = True
        process = self.process
        if process is not None and process.pid is not None and self.death is None:
            kill_group(process.pid)
            process.kill()  # it leads no group before it is set up

    def info(self) -> WorkerInfo:
        """This worker for people."""
        return WorkerInfo(self.pid, self.started_at, self.calls_done, self.call is not None)

    def _on_frame(self, kind: bytes, body: memoryview) -> None:
        if kind == NOTHING:
            self._hear(self, RETURNED_NONE)
        elif kind == VALUE:
            self._hear(self, _decode(body))
        elif kind == FAILURE:
            self._hear(self, Raised(Failure(*pickle.loads(body))))
        elif kind == GREETING:
            self._hear(self, Ready(pickle.loads(body)))

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


def kill_group(pid: int) -> None:
    """Kill the process group led by ``pid``, if there is one."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def reason_of(exit_code: int | None) -> str:
    """How a process ended, for people: ``SIGSEGV``, ``exit code 3``."""
    if exit_code is None:
        return "unknown"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return f"signal {-exit_code}"


def _be_nice(pid: int, nice: Nice) -> None:
    """Lower the priority of a process that has only just started, before it imports anything."""
    if nice is None or sys.platform == "win32":
        return
    try:
        if nice == "idle" and sys.platform == "linux":
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
        else:
            os.setpriority(os.PRIO_PROCESS, pid, 19 if nice == "idle" else nice)
    except OSError:
        pass  # it is gone already, or may not be changed: it works all the same
