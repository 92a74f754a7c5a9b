"""Whose turn it is to write, among the processes that share one database file.

SQLite's own waiting is a lottery with growing pauses: under load a writer can lose for most of a
second. A lock on a file beside the database, taken for each transaction, is a fair queue.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import random
import time
from pathlib import Path

from taskflow.stores.sqlite.forks import FORKS

#: ``fcntl.flock`` gives the interpreter lock away around a call that takes a microsecond, and a
#: busy event loop takes five milliseconds to give it back. A PyDLL keeps it.
_libc = ctypes.PyDLL(None, use_errno=True)

#: Seconds between two attempts: shorter than a commit takes.
_PAUSE = 0.0002
#: Seconds after which a writer asks all others to let it go first.
_PATIENCE = 0.004


def _flock(descriptor: int, operation: int) -> bool:
    """Lock or unlock without waiting; False if somebody else holds the lock."""
    while _libc.flock(descriptor, operation) != 0:
        code = ctypes.get_errno()
        if code == errno.EWOULDBLOCK:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


class Gate:
    """Two advisory locks: one for the turn to write, one for whoever has waited too long.

    A writer that comes must find the second lock free before it may try the first.
    """

    def __init__(self, path: Path) -> None:
        self._turn = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._next = os.open(path.with_name(path.name + "-next"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            os.close(self._turn)
            raise
        FORKS.add(self)

    def enter(self) -> bool:
        """Take the turn if it is free right now."""
        if not _flock(self._next, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
        entered = _flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _flock(self._next, fcntl.LOCK_UN)
        return entered

    def wait(self, seconds: float) -> bool:
        """Take the turn within ``seconds``; False if it did not come. Call it in short slices."""
        now = time.monotonic()
        until, impatient, first = now + seconds, now + _PATIENCE, False
        try:
            while now < until:
                time.sleep(_PAUSE * (0.5 + random.random()))
                if first:
                    if _flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB):
                        return True
                elif self.enter():
                    return True
                now = time.monotonic()
                if not first and now > impatient:
                    first = _flock(self._next, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        finally:
            if first:
                _flock(self._next, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Give the turn back."""
        _flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock files. They stay, because others may have them open. Idempotent."""
        FORKS.discard(self)
        for descriptor in (self._turn, self._next):
            if descriptor >= 0:
                os.close(descriptor)
        self._turn = self._next = -1

    def forked(self) -> None:
        """In a forked child: let go, or the locks would outlive the parent."""
        self.close()
