"""Gives what the code of a task prints to the log of the task, and all else to where it went.

Rule: whoever asks the stream for anything but to write (`fileno`, `isatty`, `buffer`, `flush`, ...)
talks to the stream that was there before.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, ClassVar, Final

from taskflow.context import running_task

_NAMES = ("stdout", "stderr")
_lock = threading.Lock()


class _InHandlers(threading.local):
    """Whether this thread is inside of the standard logging, whose output is not the task's."""

    active = False


in_handlers: Final = _InHandlers()


class TaskStream:
    """Stands in for ``sys.stdout`` or ``sys.stderr``."""

    __slots__ = ("_name", "_stream")

    def __init__(self, name: str, stream: Any) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_stream", stream)

    def write(self, text: Any) -> Any:
        running = running_task.get()
        if running is not None and isinstance(text, str) and not in_handlers.active:
            journal = running.open_journal()
            if journal.hears_print and journal.print(self._name, text):
                return len(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._stream, name, value)

    def __repr__(self) -> str:
        return f"<what tasks print goes to their log, all else to {self._stream!r}>"


class _State:
    """Who wants the streams, and what is in place."""

    users = 0
    ours: ClassVar[dict[str, TaskStream]] = {}


def install() -> None:
    """Put the streams in place, or back in place if somebody replaced them since."""
    with _lock:
        _State.users += 1
        for name in _NAMES:
            stream = getattr(sys, name)
            if stream is not None and stream is not _State.ours.get(name):
                _State.ours[name] = TaskStream(name, stream)
                setattr(sys, name, _State.ours[name])


def remove() -> None:
    """Undo one `install`; the last one puts the old streams back if ours are still there."""
    with _lock:
        _State.users -= 1
        if _State.users:
            return
        for name, ours in _State.ours.items():
            if getattr(sys, name) is ours:
                setattr(sys, name, ours._stream)
        _State.ours.clear()
