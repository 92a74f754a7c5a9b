"""What a worker process does once, at its start, to be a good one."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import importlib
import inspect
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing import connection

from executors.describe import describe

_PR_SET_PDEATHSIG = 1
#: Signals the program may have had ignored, which would be inherited.
_DEFAULT_SIGNALS = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD")


def become_independent(parent_pid: int) -> None:
    """Tie the life of this process to that of its parent, and nothing else to anything."""
    _become_group_leader()
    _die_with_parent(parent_pid)
    _reset_signals()


def load(modules: Sequence[str], hooks: Sequence[str]) -> tuple[str, ...]:
    """Import the modules, then run the hooks (``module:qualname``); tells what went wrong."""
    trouble = []
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException as error:
            trouble.append(f"preload {name}: {describe(error, keep=False).traceback}")
    for name in hooks:
        try:
            _run_hook(name)
        except BaseException as error:
            trouble.append(f"run the warm-up {name}: {describe(error, keep=False).traceback}")
    return tuple(trouble)


def _run_hook(name: str) -> None:
    module, _, path = name.partition(":")
    hook = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    value = hook()  # type: ignore[operator]  # one that is no function says so
    if inspect.iscoroutine(value):
        asyncio.run(value)


def _become_group_leader() -> None:
    """A group of its own: so it can be killed with everything it started.

    Not a session of its own: Linux gives each session the same share of the cpus (autogroup, see
    sched(7)), so that a low priority would hold only among the processes of the worker.
    """
    if hasattr(os, "setpgid"):
        try:
            os.setpgid(0, 0)
        except PermissionError:
            pass  # it leads one already
        # A terminal stops who writes to it from the background, where `stty tostop` says so.
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def _die_with_parent(parent_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # It may have died before this was in force.
        if os.getppid() != parent_pid:
            os._exit(1)
    else:
        threading.Thread(target=_watch_parent, name="parent-watch", daemon=True).start()


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)


def _reset_signals() -> None:
    # Ctrl-C is the parent's business: it stops its workers in its own order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _DEFAULT_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
