"""Gives records of the standard logging to the task whose code made them.

Rule: the app's own logging stays as it is. A handler at the root logger would be the usual way, but
with one there `logging.basicConfig` does nothing and `logging.lastResort` is silent. So the step
between a logger and its handlers is wrapped: after the levels and the filters of the logger, and
whether or not there are handlers.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from taskflow import stdout
from taskflow.context import RunningTask, running_task
from taskflow.journal import LONGEST_LINE
from taskflow.printable import shorten
from taskflow.stdout import in_handlers

_lock = threading.Lock()
_root = logging.getLogger()
_formatter = logging.Formatter()
#: Loggers whose name says nothing to a reader.
_NAMELESS = frozenset({"root", "taskflow.task"})


_CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]


class Capture:
    """What an engine wants to hear of its tasks; in force from `install` to `remove`."""

    def __init__(self, *, logging: bool, prints: bool) -> None:
        self.logging = logging
        self.prints = prints
        self._installed = False

    @property
    def log_level(self) -> int | None:
        """The level of the root logger, None if records are not wanted."""
        return _root.level if self.logging else None

    def install(self) -> None:
        """Hear from now on. Idempotent."""
        if self._installed or not (self.logging or self.prints):
            return
        self._installed = True
        _use_hook(1)
        if self.prints:
            stdout.install()

    def remove(self) -> None:
        """Hear no more; the last one in the process leaves things as they were. Idempotent."""
        if self._installed:
            self._installed = False
            _use_hook(-1)
            if self.prints:
                stdout.remove()


class _Hook:
    """The wrapped `logging.Logger.callHandlers`."""

    users = 0
    current: _Hook | None = None

    def __init__(self) -> None:
        self._original: _CallHandlers = logging.Logger.callHandlers
        self._active = True

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            self._call(logger, record)

        self._wrapped = call_handlers
        _set_call_handlers(call_handlers)

    def remove(self) -> None:
        self._active = False
        # Somebody may have wrapped it once more since: then it stays there, and does nothing.
        if logging.Logger.callHandlers is self._wrapped:
            _set_call_handlers(self._original)

    def _call(self, logger: logging.Logger, record: logging.LogRecord) -> None:
        running = running_task.get() if self._active and not in_handlers.active else None
        if running is None:
            self._original(logger, record)
            return
        # What handlers log and print, and what formatting a message does, is none of the task's.
        in_handlers.active = True
        try:
            _note(running, record)
            self._original(logger, record)
        finally:
            in_handlers.active = False


def _set_call_handlers(function: _CallHandlers) -> None:
    logging.Logger.callHandlers = function  # type: ignore[assignment, method-assign]


def _use_hook(change: int) -> None:
    with _lock:
        _Hook.users += change
        if _Hook.users and _Hook.current is None:
            _Hook.current = _Hook()
        elif not _Hook.users and _Hook.current is not None:
            _Hook.current.remove()
            _Hook.current = None


def _note(running: RunningTask, record: logging.LogRecord) -> None:
    with suppress(Exception):  # an argument that cannot be shown must not end the task
        journal = running.open_journal()
        if journal.hears_logging and not _is_ours(record.name):
            text = "" if journal.full else _text(record)
            journal.line(str(record.levelname).lower(), text)


def _is_ours(name: str) -> bool:
    """Whether it is a logger of taskflow's own, whose news is about tasks and not from them."""
    package = name.partition(".")[0]
    return package in {"taskflow", "executors"} and name != "taskflow.task"


def _text(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # the arguments do not fit the message: show both
        text = f"{record.msg} {record.args!r}"
    if record.name not in _NAMELESS:
        text = f"[{record.name}] {text}"
    trace = record.exc_text
    if record.exc_info and record.exc_info[0] is not None:
        # Not by way of the record: it would keep the text for the app's own handlers.
        trace = _formatter.formatException(record.exc_info)
    for more in (trace, record.stack_info):
        if more:
            text = f"{text}\n{shorten(more, max(0, LONGEST_LINE - len(text) - 1))}"
    return text


class _Worker:
    """What this worker process was told last; its lane belongs to one app, and so does it."""

    told: tuple[int | None, bool] = (None, False)
    #: The level that the root logger was given here.
    level: int | None = None
    captures: ClassVar[dict[tuple[bool, bool], Capture]] = {}


def hear_in_worker(log_level: int | None, hears_print: bool) -> None:
    """Hear what tasks of this worker process log and print, as far as the app wants to.

    With ``log_level``, that of the app's root logger, a record is made here where one would be made
    there. A root logger that was configured here, by a module of the app, knows better.
    """
    told = log_level, hears_print
    if told == _Worker.told:
        return
    _Worker.told = told
    configured = _root.handlers or _root.level not in {logging.WARNING, _Worker.level}
    if log_level is not None and not configured:
        _root.setLevel(log_level)
        _Worker.level = log_level
    wanted = log_level is not None, hears_print
    if wanted not in _Worker.captures:
        _Worker.captures[wanted] = Capture(logging=wanted[0], prints=hears_print)
        _Worker.captures[wanted].install()
