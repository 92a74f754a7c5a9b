"""What one attempt says about itself: its lines, within bounds, and its progress; from any thread.

The bounds are the same in every lane. `taskflow.journals` keeps the journal of an attempt in this
process, `taskflow.worker_journal` that of one in a worker process.
"""

from __future__ import annotations

import abc
import os
import threading

from taskflow.messages import Progress
from taskflow.printable import printable

#: At most so many lines of one attempt are kept, and so many bytes of text in UTF-8. One more line
#: says how many were left out.
MOST_LINES = 10_000
MOST_BYTES = 1024 * 1024
#: A line is cut at this many characters.
LONGEST_LINE = 8192
#: The name of a level is cut at this many characters.
_LONGEST_LEVEL = 20
_LEVELS = frozenset({"debug", "info", "warning", "error", "critical", "stdout", "stderr"})


class Journal(abc.ABC):
    """The log and the progress of one attempt.

    ``hears_logging`` and ``hears_print`` say whether records of the standard logging and what is
    printed are to be written here, too.
    """

    __slots__ = (
        "_bytes",
        "_lines",
        "_lock",
        "_pid",
        "_printed",
        "full",
        "hears_logging",
        "hears_print",
        "left_out",
    )

    def __init__(self, *, hears_logging: bool, hears_print: bool) -> None:
        self.hears_logging = hears_logging
        self.hears_print = hears_print
        #: Whether every further line is left out.
        self.full = False
        self.left_out = 0
        self._lines = 0
        self._bytes = 0
        self._printed: dict[str, LineSplitter] = {}
        # Entered twice by one thread when a finalizer or a signal handler writes a line amidst one.
        self._lock = threading.RLock()
        self._pid = os.getpid()

    @property
    def is_foreign(self) -> bool:
        """Whether this is the copy of a forked process, which nobody hears."""
        return self._pid != os.getpid()

    def line(self, level: str, text: str, at: float | None = None) -> None:
        """Add a line, or count it as left out. ``at``: seconds since the epoch, default now."""
        if self.is_foreign:
            return
        with self._lock:
            if self.full:
                self.left_out += 1
                return
            text = fit(text)
            self._lines += 1
            self._bytes += len(text) if text.isascii() else len(text.encode())
            if self._lines > MOST_LINES or self._bytes > MOST_BYTES:
                # Also closed for a shorter one that would fit: a log with holes tells lies.
                self.full = True
                self.left_out += 1
                self._on_full()
            else:
                self._write(_level(level), text, at)

    def print(self, stream: str, text: str) -> bool:
        """Add the lines that ``text`` completes; False if this is no place for it."""
        if self.is_foreign:
            return False
        with self._lock:
            if self.full:
                self.left_out += text.count("\n")
            else:
                splitter = self._printed.get(stream)
                if splitter is None:
                    splitter = self._printed[stream] = LineSplitter()
                for line in splitter.split(text):
                    self.line(stream, line)
        return True

    def end(self, *, goes_on: bool = False) -> None:
        """The attempt is over: add what was printed without an end of line.

        With ``goes_on`` its code was given up and still runs. Otherwise what runs in its context
        from now on is something that it started, such as a pool of connections, and not the task.
        """
        if not goes_on:
            self.hears_logging = self.hears_print = False
        with self._lock:
            for stream, splitter in self._printed.items():
                if splitter.rest:
                    self.line(stream, splitter.rest)
            self._printed.clear()

    @abc.abstractmethod
    def show(self, progress: Progress) -> None:
        """Make ``progress`` known soon, unless a newer one comes in between."""

    @abc.abstractmethod
    def _write(self, level: str, text: str, at: float | None) -> None:
        """Pass on a line that fits. The lock is held."""

    def _on_full(self) -> None:  # noqa: B027  (only a worker process has somebody to tell)
        """The first line was left out. The lock is held."""


class LineSplitter:
    """Makes lines of what is printed piece by piece."""

    __slots__ = ("_after_return", "rest")

    def __init__(self) -> None:
        #: What was printed since the last end of line.
        self.rest = ""
        self._after_return = False

    def split(self, text: str) -> list[str]:
        """The lines that ``text`` completes.

        A carriage return ends a line, too: a bar that is drawn over and over is seen to grow.
        """
        if self._after_return and text:
            text = text.removeprefix("\n")
            self._after_return = False
        if text.endswith("\r"):
            self._after_return = True
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines[0] = self.rest + lines[0]
        # What goes beyond the longest line would be cut off in any case.
        self.rest = lines.pop()[:LONGEST_LINE]
        return lines


def fit(text: str) -> str:
    """``text`` as a line holds it: harmless, and not too long."""
    return printable(text[:LONGEST_LINE])[:LONGEST_LINE]


def _level(level: str) -> str:
    if level in _LEVELS:
        return level
    return printable(level[:_LONGEST_LEVEL].lower())[:_LONGEST_LEVEL]
