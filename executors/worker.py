"""What runs inside a worker process: its set-up, and one call after the other.

Rule: every answer is plain data. An exception never leaves as an object, so that nothing a call
raises can break the process that asked, or the pool that carries the answer.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import faulthandler
import importlib
import inspect
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection
from typing import TYPE_CHECKING

from executors.channel import FAILURE, GREETING, NOTHING, VALUE, WorkerEnd
from executors.describe import describe

if TYPE_CHECKING:
    from executors.outcomes import Failure

_PR_SET_PDEATHSIG = 1
#: Signals the program may have had ignored, which would be inherited.
_DEFAULT_SIGNALS = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD")


Answer = tuple[bytes, bytes]


class _State:
    """What this worker knows of itself; set once by `set_up`."""

    end: WorkerEnd
    begun: ctypes.c_ulonglong
    max_result_bytes = 0
    trouble: tuple[str, ...] = ()


def set_up(
    parent_pid: int,
    end: socket.socket,
    begun: ctypes.c_ulonglong,
    max_result_bytes: int,
    preload: Sequence[str],
) -> None:
    """Prepare this process: tie its life to its parent's, then import ``preload``.

    ``begun`` is shared with the parent and counts the calls that were begun here. A module that
    will not import is told in the greeting and harms nothing else.
    """
    _become_group_leader()
    _die_with_parent(parent_pid)
    _reset_signals()
    _enable_faulthandler()
    _State.end = WorkerEnd(end)
    _State.begun = begun
    _State.max_result_bytes = max_result_bytes
    trouble = []
    for name in preload:
        try:
            importlib.import_module(name)
        except BaseException as error:
            trouble.append(f"{name}: {describe(error, keep=False).traceback}")
    _State.trouble = tuple(trouble)


def serve() -> None:
    """Run one call after the other until the parent is gone; never returns."""
    code = 1
    try:
        pid = os.getpid()
        end = _State.end
        end.send(GREETING, pickle.dumps(_State.trouble))
        while (packed := end.receive()) is not None:
            kind, body = _run(packed)
            if os.getpid() != pid:
                # The function forked, and this is the copy: it must not answer as well.
                break
            _flush()
            end.send(kind, body)
        code = 0
    finally:
        # Not the ordinary way out: threads and handlers the calls left behind could hang in it.
        os._exit(code)


def _flush() -> None:
    """Show what was printed: a worker is killed in the end, and what it kept back would be lost."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed or replaced by the function: its own affair
            stream.flush()


def _run(packed: bytes) -> Answer:
    """Run one packed call and answer in plain data, whatever happens."""
    _State.begun.value += 1
    try:
        function, args, kwargs = pickle.loads(packed)
    except BaseException as error:
        return _failed(describe(_because("the call cannot be unpacked in the worker", error)))
    try:
        context = contextvars.copy_context()  # else one call would see what another has set
        value = context.run(function, *args, **kwargs)
        if inspect.iscoroutine(value):
            value = context.run(asyncio.run, value)
    except BaseException as error:
        return _failed(describe(error, keep=False))
    return (NOTHING, b"") if value is None else _encode(value)


def _encode(value: object) -> Answer:
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return _failed(
            describe(_because(f"the result, a {type(value).__name__}, will not pickle", error))
        )
    limit = _State.max_result_bytes
    if len(data) <= limit:
        return VALUE, data
    return _failed(
        describe(
            ValueError(
                f"the result, a {type(value).__name__}, takes {len(data)} bytes, more than "
                f"max_result_bytes={limit}: write it to a file and return the path"
            )
        )
    )


def _because(what: str, error: BaseException) -> TypeError:
    """A TypeError that tells ``error`` as its cause."""
    reason = describe(error, keep=False)
    trouble = "".join(f"\npreloading failed for {text}" for text in _State.trouble)
    told = TypeError(f"{what}: {reason.type_name}: {reason.message}{trouble}")
    told.__cause__ = error
    return told


def _failed(failure: Failure) -> Answer:
    return FAILURE, pickle.dumps((failure.type_names, failure.message, failure.traceback))


# -- set-up ----------------------------------------------------------------------------------


def _become_group_leader() -> None:
    """A session and a group of its own: so it can be killed with everything it started."""
    if hasattr(os, "setsid"):
        try:
            os.setsid()
        except PermissionError:
            pass  # it leads one already


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


def _enable_faulthandler() -> None:
    try:
        faulthandler.enable()
    except (AttributeError, OSError, RuntimeError, ValueError):
        pass  # no usable stderr: a crash is reported by its signal alone
