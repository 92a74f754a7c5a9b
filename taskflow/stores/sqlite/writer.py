"""The one thread that writes: it owns the only writing connection of this process.

A piece of work is handed over in one step and its result comes back in one step. Each costs a
change of the running thread, and so does each statement, which is what a user's request waits for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from taskflow.errors import StoreError, StoreUnavailableError
from taskflow.stores.sqlite import problems
from taskflow.stores.sqlite.forks import FORKS
from taskflow.stores.sqlite.gate import Gate
from taskflow.stores.sqlite.schema import BUSY_SLICE

log = logging.getLogger(__name__)

T = TypeVar("T")
#: Does something with the connection. May be called again after it failed because of a lock.
Work = Callable[[sqlite3.Connection], T]

#: Seconds without work after which the log is copied into the database.
IDLE = 0.5
#: Frames (pages of 4 KiB) in the log after which it is copied without waiting for quiet.
CHECKPOINT_FRAMES = 1024
#: Frames after which readers are waited for, so that the log starts at its beginning again.
RESTART_FRAMES = 8192
#: Measured: frames that a commit writes at least, and changed rows a frame beyond that.
_FRAMES_A_COMMIT, _ROWS_A_FRAME = 5, 6
#: Seconds between two looks at whether the file is still the same.
_LOOK = 0.5


class _Job:
    __slots__ = ("future", "loop", "since", "until", "work")

    def __init__(self, work: Work[Any], patience: float) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.since = time.monotonic()
        self.until = self.since + patience

    def settle(self, result: object, error: BaseException | None) -> None:
        try:
            self.loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:
            pass  # its loop is closed: nobody waits any more

    def _settle(self, result: object, error: BaseException | None) -> None:
        if self.future.cancelled():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class _Log:
    """A guess at the length of SQLite's write-ahead log, which only a checkpoint tells."""

    def __init__(self) -> None:
        self.frames = 0

    def grew(self, rows: int) -> None:
        if rows:
            self.frames += _FRAMES_A_COMMIT + rows // _ROWS_A_FRAME


class Writer:
    """Runs work on the writing connection, in order of arrival, one at a time.

    ``check`` looks at the path before anything is opened. ``connect`` opens the connection, at the
    start and again after an error that broke it. A write waits for the locks of others up to
    ``busy_timeout`` seconds from when it was handed over.
    """

    def __init__(
        self,
        path: Path,
        *,
        check: Callable[[], None],
        connect: Callable[[], sqlite3.Connection],
        busy_timeout: float,
    ) -> None:
        self._path = path
        self._check = check
        self._connect = connect
        self._busy_timeout = busy_timeout
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._gate: Gate | None = None
        self._identity: tuple[int, int] | None = None
        self._looked = 0.0
        self._last_busy = 0.0
        self._log = _Log()
        self._hurry = False
        self._why_not = "is not open"

    # -- on the event loop -------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread; the connection is opened by the first piece of work."""
        # A daemon: a write that waits for somebody else's lock must not hold up the exit.
        self._thread = threading.Thread(target=self._run, name="taskflow-sqlite", daemon=True)
        self._hurry = False
        FORKS.add(self)
        self._thread.start()

    async def call(self, work: Work[T]) -> T:
        """The result of ``work``; its errors are those of `taskflow.errors`."""
        if self._thread is None:
            raise StoreUnavailableError(f"the store {self._path} {self._why_not}")
        job = _Job(work, self._busy_timeout)
        self._jobs.put(job)
        result: T = await job.future
        return result

    async def stop(self, last: Work[None] | None = None, *, patience: float = 2.0) -> None:
        """Do what was handed over and ``last``, then end the thread. Idempotent.

        From now on nothing waits for locks. After ``patience`` seconds the thread is left alone.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._hurry = True
        self._why_not = "is closed"
        FORKS.discard(self)
        if last is not None:
            job = _Job(last, 0.0)
            job.future.add_done_callback(_report)
            self._jobs.put(job)
        self._jobs.put(None)
        until = time.monotonic() + patience
        # Not an Event: this may run on another loop than the one that started the thread.
        while thread.is_alive() and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        if thread.is_alive():
            log.warning("the writer of %s still waits for the disk; left behind", self._path)

    def abandon(self) -> None:
        """End the thread when it has done what was handed over; nobody waits for that."""
        if self._thread is not None:
            self._thread = None
            self._hurry = True
            self._why_not = "was left behind by its event loop"
            FORKS.discard(self)
            self._jobs.put(None)

    def forked(self) -> None:
        """In a forked child: the thread is not here, and the connection must not be used."""
        self._thread = None
        self._why_not = "was opened by the parent process: open one after the fork"

    # -- in the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                try:
                    job = self._jobs.get(timeout=IDLE if self._log.frames else None)
                except queue.Empty:
                    self._checkpoint()
                    continue
                if job is None:
                    return
                self._do(job)
                del job
        finally:
            self._disconnect()
            if self._gate is not None:
                self._gate.close()

    def _do(self, job: _Job) -> None:
        try:
            result = self._attempt(job)
        except BaseException as error:
            job.settle(None, error)
            return
        job.settle(result, None)
        if self._log.frames >= CHECKPOINT_FRAMES:
            self._checkpoint()

    def _attempt(self, job: _Job) -> object:
        """Try until it works, fails for good, or its time is over."""
        begin = time.monotonic()
        if begin >= job.until and begin - self._last_busy < BUSY_SLICE:
            # It has waited behind another one that met the same lock just now.
            raise problems.locked(self._path, begin - job.since)
        while True:
            try:
                return self._once(job.work)
            except sqlite3.Error as error:
                if not problems.is_busy(error):
                    raise self._give_up(error) from error
            if self._hurry:
                raise StoreUnavailableError(
                    f"the store {self._path} is closed; nothing was written"
                )
            now = self._last_busy = time.monotonic()
            if now >= job.until:
                raise problems.locked(self._path, now - job.since)

    def _once(self, work: Work[T]) -> T:
        gate = self._gate
        if gate is None:
            gate = self._gate = self._new_gate()
        if not gate.enter() and not gate.wait(BUSY_SLICE):
            raise _busy()
        try:
            connection = self._connected()
            before = connection.total_changes
            result = work(connection)
            self._log.grew(connection.total_changes - before)
            return result
        finally:
            gate.leave()

    def _new_gate(self) -> Gate:
        self._check()
        path = self._path.with_name(self._path.name + ".lock")
        try:
            return Gate(path)
        except OSError as error:
            raise StoreUnavailableError(f"{path} cannot be opened: {error.strerror}") from error

    def _give_up(self, error: sqlite3.Error) -> StoreError:
        problem = problems.explain(error, self._path)
        if problems.is_broken(error):
            self._disconnect()
        return problem

    def _connected(self) -> sqlite3.Connection:
        now = time.monotonic()
        if self._connection is None:
            try:
                self._connection = self._connect()
            except sqlite3.Error as error:
                if problems.is_busy(error):
                    raise
                problem = problems.explain(error, self._path)
                if problems.is_broken(error):
                    # It was opened anew, or for the first time: waiting will not mend it.
                    problem = StoreError(str(problem))
                raise problem from error
            if self._identity is None:
                self._identity = self._look()
        elif now < self._looked:
            return self._connection
        if self._look() != self._identity:
            raise StoreError(
                f"{self._path} was deleted or replaced while it was in use: "
                "put the file back, or restart the application"
            )
        # Only now: while it is another file, every piece of work is refused.
        self._looked = now + _LOOK
        return self._connection

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - nothing may be allocated on this path
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                log.warning("%s could not be closed cleanly: %s", self._path, error)

    def _checkpoint(self) -> None:
        """Copy the log into the database; it begins anew when nobody reads the old part."""
        self._log.frames = 0
        gate, connection = self._gate, self._connection
        if gate is None or connection is None:
            return
        try:
            if not gate.enter():
                return  # whoever writes now will do it
            frames = _copy_log(connection, "PASSIVE")
            if frames > RESTART_FRAMES:
                _copy_log(connection, "TRUNCATE")
        except (sqlite3.Error, OSError) as error:
            log.warning("%s: could not tidy up the write-ahead log: %s", self._path, error)
        finally:
            gate.leave()


def _report(last: asyncio.Future[None]) -> None:
    if not last.cancelled() and (error := last.exception()) is not None:
        log.warning("the next instance to start will tidy up after this one: %s", error)


def _copy_log(connection: sqlite3.Connection, mode: str) -> int:
    """How many frames are in the log."""
    _busy, frames, _copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return int(frames)


def _busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("another process writes")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error
