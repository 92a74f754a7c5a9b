"""How the stacks of a worker process that crashes or hangs get to its parent: through a pipe.

The fault handler writes them without the interpreter's help, so that they come even from code that
holds the interpreter lock or has destroyed its memory.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

#: At most so many bytes of a report are kept. A pipe holds no more, and nobody reads it before.
MOST = 64 * 1024
#: The signal on which a worker writes its stacks: one that other code hardly uses, 0 for none.
ASK = int(signal.SIGRTMAX) - 3 if sys.platform == "linux" else 0

#: From this frame on, a stack is that of any worker, and tells nothing.
_OURS = re.compile(r'File ".*executors.worker\.py", line \d+ in (_run|serve)$')


class CrashReport:
    """The parent's end: one report of one worker process."""

    def __init__(self) -> None:
        self._reader, self.writer = Pipe(duplex=False)
        # The worker must die of its fault, not hang in reporting it.
        os.set_blocking(self._reader.fileno(), False)
        os.set_blocking(self.writer.fileno(), False)

    def ask(self, pid: int) -> bool:
        """Have the process write its stacks soon; False if it would not survive being asked."""
        if not ASK or not _catches(pid, ASK):
            return False
        try:
            os.kill(pid, ASK)
        except OSError:
            return False
        return True

    def read(self) -> str:
        """What was written, "" for nothing. Once: this lets go of the pipe."""
        parts = []
        try:
            while part := os.read(self._reader.fileno(), MOST):
                parts.append(part)
        except OSError:  # empty, though a child of the worker may still have it open
            pass
        self.close()
        return _trim(b"".join(parts)[:MOST].decode(errors="replace"))

    def close(self) -> None:
        """Let go of the pipe. Idempotent."""
        self._reader.close()
        self.writer.close()


def report_crashes(writer: Connection) -> None:
    """In the worker: write the stacks of all threads to ``writer`` on a crash and when asked."""
    try:
        faulthandler.enable(file=writer.fileno())
        if ASK:
            faulthandler.register(ASK, file=writer.fileno(), all_threads=True)
    except (AttributeError, OSError, RuntimeError, ValueError):
        pass  # a crash is reported by its signal alone


def report_to_stderr() -> None:
    """In a fork of the worker: its crash is not the worker's."""
    try:
        faulthandler.enable()
        if ASK:
            faulthandler.unregister(ASK)
    except (AttributeError, OSError, RuntimeError, ValueError):
        pass  # no usable stderr: a crash is reported to nobody


def _catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal: without one it would end at once."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _trim(text: str) -> str:
    """Leave out of each thread's stack what called the user's code."""
    kept, ours = [], False
    for line in text.splitlines():
        if not line.startswith("  "):
            ours = False
        elif _OURS.search(line):
            ours = True
        if not ours:
            kept.append(line)
    return "\n".join(kept).strip()
