"""What a call leaves behind in its worker process, where the next call would find it."""

from __future__ import annotations

import os
import signal
import threading
import time

#: Seconds that threads of a call may take to end after it: one that was told to is about to.
_LAST_STEPS = 0.02
#: So many threads are named.
_NAMED = 3


class Residue:
    """Compares the process with what it was when this was made; from the main thread only."""

    def __init__(self) -> None:
        self._threads = frozenset(threading.enumerate())
        self._folder = _folder()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._alarms = hasattr(signal, "alarm") and not any(signal.getitimer(signal.ITIMER_REAL))
        #: Threads of calls that are over.
        self.strangers: frozenset[threading.Thread] = frozenset()

    def clear(self) -> str:
        """Undo what can be undone; why the process should be replaced, "" if nothing was left."""
        if self._alarms:
            # One that goes off in the next call would end it.
            signal.alarm(0)
        left = []
        if _folder() != self._folder:
            left.append("changed the working directory")
            _go_to(self._folder)
        # The only way to ask for the mask is to set it.
        if os.umask(self._umask) != self._umask:
            left.append("changed the umask")
        if threading.active_count() > len(self._threads):
            left += self._look_at_threads()
        elif self.strangers:
            self.strangers = frozenset()
        return f"a call {' and '.join(left)}" if left else ""

    def _look_at_threads(self) -> list[str]:
        deadline = time.monotonic() + _LAST_STEPS
        while (new := self._new_threads()) and time.monotonic() < deadline:
            time.sleep(0.001)
        added = new - self.strangers
        self.strangers = frozenset(new)
        if not added:
            return []
        names = sorted(thread.name for thread in added)
        some = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        return [f"left {len(names)} {'threads' if len(names) > 1 else 'thread'} behind ({some})"]

    def _new_threads(self) -> set[threading.Thread]:
        return {
            thread
            for thread in threading.enumerate()
            # A dummy stands for a thread that Python did not start and cannot see the end of.
            if thread not in self._threads and not isinstance(thread, threading._DummyThread)
        }


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  (after every call: no objects)
    except OSError:  # it was deleted
        return ""


def _go_to(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError:  # it is gone; the process is replaced in any case
        pass
