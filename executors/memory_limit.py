"""Keeps the memory that one call takes below a limit, with a resource limit of the process.

The limit is on what the process maps for its data beyond what it had when the call began: memory
that is asked for counts, used or not, thread stacks (8 MiB each, usually) included; shared memory
and mapped files do not. What the call starts inherits the limit.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

if sys.platform != "win32":
    import resource

_MIB = 1024 * 1024


class MemoryLimit:
    """A limit in force until it is lifted. Does nothing where the system has no such limits."""

    def __init__(self, limit: int) -> None:
        #: In bytes.
        self.limit = limit
        self._before: tuple[int, int] | None = None
        if sys.platform == "win32":
            return
        try:
            before = resource.getrlimit(_KIND)
            soft = _used() + limit
            # Stricter limits that the process was started with stay.
            highest = [most for most in before if most != resource.RLIM_INFINITY]
            resource.setrlimit(_KIND, (min(soft, *highest) if highest else soft, before[1]))
            self._before = before
        except (OSError, ValueError):
            pass

    def lift(self) -> None:
        """Undo it. Idempotent."""
        if sys.platform != "win32" and self._before is not None:
            before, self._before = self._before, None
            try:
                resource.setrlimit(_KIND, before)
            except (OSError, ValueError):  # the call has lowered the hard limit
                pass

    def blame(self, error: BaseException) -> str:
        """A sentence about the limit if it is to blame for ``error``, else ""."""
        if isinstance(error, MemoryError):
            return f"more than its memory limit of {_megabytes(self.limit)}"
        if isinstance(error, RuntimeError) and "start new thread" in str(error):
            return f"perhaps for its memory limit of {_megabytes(self.limit)}"
        return ""


def _megabytes(count: int) -> str:
    return f"{count / _MIB:.0f} MiB" if count % _MIB == 0 else f"{count / _MIB:.1f} MiB"


if sys.platform == "linux":
    _KIND = resource.RLIMIT_DATA
    _PAGE = resource.getpagesize()

    def _used() -> int:
        """Bytes that count against the limit now."""
        return int(Path("/proc/self/statm").read_text().split()[5]) * _PAGE

elif sys.platform != "win32":
    _KIND = resource.RLIMIT_AS

    def _used() -> int:
        """Bytes that count against the limit now."""
        return int(psutil.Process().memory_info().vms)
