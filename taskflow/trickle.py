"""Sends the newest of many values soon, not each of them at once.

A loop that tells its progress at every step must not keep the parent process busy. So a value is
sent at once as long as there are few, and kept back for a moment when there are many. What is kept
back would be lost with a process that is killed: it is left in a file, for whoever survives.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from taskflow.clock import Clock
from taskflow.messages import LastWord, Progress, decode

#: So many values in a row are sent at once.
BURST = 10
#: Seconds after which one more may be; a value is kept back for no longer.
PAUSE = 0.025
#: Seconds to wait for the thread at the end; it takes microseconds unless the parent hangs.
_PATIENCE = 1.0
#: No message is longer.
_LONGEST = 8192


class Trickle:
    """The way of progress out of a worker process; from any thread.

    ``send`` is given encoded messages, with ``lock`` held: one for both, since a finalizer that
    tells its progress amidst something else could otherwise take two in the wrong order.
    """

    def __init__(self, send: Callable[[bytes], None], clock: Clock, lock: threading.RLock) -> None:
        self._send = send
        self._clock = clock
        self._changed = threading.Condition(lock)
        self._allowed = float(BURST)
        self._looked = clock.monotonic()
        #: What is kept back, None if everything was sent.
        self._held: bytes | None = None
        self._file: _File | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def put(self, progress: Progress) -> None:
        """Send ``progress`` now or soon, or a newer one instead."""
        data = progress.encode()
        with self._changed:
            if self._closed:
                return
            if self._held is None and self._may_send():
                self._send(data)
                return
            if self._file is None:
                self._file = _File(self._send)
            self._file.write(data)
            was_empty, self._held = self._held is None, data
            if was_empty:
                self._send_soon()

    def close(self) -> None:
        """Send what is kept back. Idempotent."""
        with self._changed:
            self._closed = True
            self._send_held()
            self._changed.notify_all()
            if self._file is not None:
                self._file.close()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def _may_send(self) -> bool:
        now = self._clock.monotonic()
        self._allowed = min(float(BURST), self._allowed + (now - self._looked) / PAUSE)
        self._looked = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _send_soon(self) -> None:
        if self._thread is not None:
            self._changed.notify_all()
            return
        thread = threading.Thread(target=self._work, name="taskflow-progress", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # out of threads: better often than never
            self._send_held()
        else:
            self._thread = thread

    def _send_held(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._allowed -= 1
            self._send(held)

    def _work(self) -> None:
        with self._changed:
            while not self._closed:
                if self._held is None:
                    self._changed.wait()
                else:
                    self._changed.wait(PAUSE)
                    self._send_held()


class _File:
    """A file with the newest value in it; the kernel keeps it when the process is killed."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._descriptor: int | None = None
        try:
            self._descriptor, self._path = tempfile.mkstemp(prefix="taskflow-progress-")
        except OSError:  # no place for temporary files: then there is no last word
            return
        send(LastWord(self._path).encode())

    def write(self, data: bytes) -> None:
        if self._descriptor is not None:
            with suppress(OSError):  # the disk is full
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, data + b"\n")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            with suppress(OSError):
                Path(self._path).unlink()


def take_last_word(path: str) -> Progress | None:
    """What a process that died had kept back in its file, which is deleted; None for nothing."""
    file = Path(path)
    try:
        with file.open("rb") as opened:
            data = opened.read(_LONGEST)
        file.unlink()
    except OSError:  # it was closed in order
        return None
    # A shorter value leaves the end of a longer one behind it.
    message = decode(data.partition(b"\n")[0])
    return message if isinstance(message, Progress) else None
