"""What is asked of the operating system about a worker process: its priority, its end and why."""

from __future__ import annotations

import os
import signal
import sys
from typing import Literal

#: 0 to 19, SCHED_IDLE, or as it is.
Nice = int | Literal["idle"] | None


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


def be_nice(pid: int, nice: Nice) -> None:
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
