"""What runs inside a worker process: one call after the other, and what these may say meanwhile.

Rule: every answer is plain data. An exception never leaves as an object, so that nothing a call
raises can break the process that asked, or the pool that carries the answer.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import inspect
import os
import pickle
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from executors.channel import (
    DUE,
    FAILURE,
    GREETING,
    LIMITED_CALL,
    MESSAGE,
    NOTHING,
    NUMBER,
    VALUE,
    WorkerEnd,
)
from executors.crash_report import report_crashes, report_to_stderr
from executors.describe import describe
from executors.memory_limit import MemoryLimit
from executors.residue import Residue
from executors.worker_setup import become_independent, load

if TYPE_CHECKING:
    from executors.outcomes import Failure

Answer = tuple[bytes, bytes]


class _State:
    """What this worker knows of itself; set once by `set_up`, except for the last four."""

    end: WorkerEnd | None = None
    begun: ctypes.c_ulonglong
    crashes: Connection
    max_result_bytes = 0
    trouble: tuple[str, ...] = ()
    residue: Residue
    #: This process is a copy that a call has forked off.
    forked = False
    #: The number of the call that runs, 0 between calls.
    running = 0
    #: What the call that runs may take, if it is limited.
    limit: MemoryLimit | None = None
    #: Why this process should be replaced.
    due = ""


def tell(data: bytes) -> None:
    """Say something to the caller of the running call: its `Call.on_message` gets ``data``.

    To be called by code that runs in a worker process, from any thread. The data is on its way
    when this returns: a crash right after does not lose it. Between calls, from a thread that an
    earlier call left behind and in a forked child it has no effect.

    Raises RuntimeError outside of a worker process, OSError when the parent is gone.
    """
    end = _State.end
    if end is None:
        raise RuntimeError("tell() was called outside of a worker process of a ProcessLane")
    number = _State.running
    if not number or _State.forked:
        return
    strangers = _State.residue.strangers
    if not strangers or threading.current_thread() not in strangers:
        end.send(MESSAGE, b"".join((NUMBER.pack(number), data)))


def set_up(
    parent_pid: int,
    end: socket.socket,
    crashes: Connection,
    begun: ctypes.c_ulonglong,
    max_result_bytes: int,
    preload: Sequence[str],
    warm_up: Sequence[str],
) -> None:
    """Prepare this process: tie its life to its parent's, then load what it is told to.

    ``begun`` is shared with the parent and counts the calls that were begun here. What will not
    import or warm up is told in the greeting and harms nothing else.
    """
    become_independent(parent_pid)
    report_crashes(crashes)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_on_fork)
    _State.end = WorkerEnd(end)
    _State.crashes = crashes
    _State.begun = begun
    _State.max_result_bytes = max_result_bytes
    _State.trouble = load(preload, warm_up)
    report_crashes(crashes)  # again: what was loaded may have claimed the fault handler
    _State.residue = Residue()


def _on_fork() -> None:
    _State.forked = True
    report_to_stderr()


def serve() -> None:
    """Run one call after the other until the parent is gone; never returns."""
    code = 1
    try:
        pid = os.getpid()
        end = _State.end
        assert end is not None
        end.send(GREETING, pickle.dumps(_State.trouble))
        while (order := end.receive()) is not None:
            kind, body = _run(*order)
            if os.getpid() != pid:
                # The function forked, and this is the copy: it must not answer as well.
                break
            _flush()
            due = _State.residue.clear() or _State.due
            if due:
                end.send(DUE, due.encode(errors="replace"))
                _State.due = ""
            end.send(kind, body)
        code = 0
    finally:
        # Not the ordinary way out: threads and handlers the calls left behind could hang in it.
        os._exit(code)


def _flush() -> None:
    """Show what was printed: a worker is killed in the end, and what it kept back would be lost."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S110  (closed or replaced by the function: its own affair)
            pass


def _run(kind: bytes, packed: bytes) -> Answer:
    """Run one packed call and answer in plain data, whatever happens."""
    number = _State.begun.value = _State.begun.value + 1
    most = None
    limit = None
    if kind == LIMITED_CALL:
        (most,) = NUMBER.unpack_from(packed)
        packed = packed[NUMBER.size :]
    try:
        function, args, kwargs = pickle.loads(packed)
    except BaseException as error:
        return _failed(describe(_because("the call cannot be unpacked in the worker", error)))
    _State.running = number
    try:
        context = contextvars.copy_context()  # else one call would see what another has set
        if most is not None:
            limit = _State.limit = MemoryLimit(most)
        value = context.run(function, *args, **kwargs)
        if inspect.iscoroutine(value):
            value = context.run(asyncio.run, value)
        return (NOTHING, b"") if value is None else _encode(value)
    except BaseException as error:
        return _failed(describe_here(error))
    finally:
        _State.running = 0
        _State.limit = None
        if limit is not None:
            limit.lift()


def describe_here(error: BaseException) -> Failure:
    """Describe an error of the running call; says so if the call's memory limit is to blame."""
    limit = _State.limit
    if limit is None:
        return describe(error, keep=False)
    limit.lift()
    blame = limit.blame(error)
    if not blame:
        return describe(error, keep=False)
    _State.due = "a call came up against its memory limit"
    with suppress(Exception):  # an exception may refuse anything
        error.add_note(blame)
    failure = describe(error, keep=False)
    told = f"{failure.message}: {blame}" if failure.message else blame
    return replace(failure, message=told)


def _encode(value: object) -> Answer:
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        raise
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
    trouble = "".join(f"\nbefore, the worker could not {text}" for text in _State.trouble)
    told = TypeError(f"{what}: {reason.type_name}: {reason.message}{trouble}")
    told.__cause__ = error
    return told


def _failed(failure: Failure) -> Answer:
    return FAILURE, pickle.dumps((failure.type_names, failure.message, failure.traceback))
