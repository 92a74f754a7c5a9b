"""The journal of an attempt in a worker process: each line goes home at once, and outlives it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from taskflow.clock import Clock
from taskflow.journal import Journal
from taskflow.messages import LeftOut, Line, Progress
from taskflow.trickle import Trickle


class WorkerJournal(Journal):
    """Sends what the attempt says to the parent process, with ``tell``."""

    __slots__ = ("_clock", "_ended", "_sending", "_tell", "_trickle", "_unsent")

    def __init__(
        self,
        tell: Callable[[bytes], None],
        clock: Clock,
        *,
        hears_logging: bool,
        hears_print: bool,
    ) -> None:
        super().__init__(hears_logging=hears_logging, hears_print=hears_print)
        self._tell = tell
        self._clock = clock
        self._trickle: Trickle | None = None
        self._unsent: deque[bytes] = deque()
        self._sending = False
        self._ended = False

    def show(self, progress: Progress) -> None:
        if self.is_foreign or self._ended:
            return
        with self._lock:
            if self._trickle is None:
                self._trickle = Trickle(self._send, self._clock, self._lock)
            self._trickle.put(progress)

    def end(self, *, goes_on: bool = False) -> None:
        """Say how many lines were left out, and what progress was kept back."""
        if self.is_foreign:
            return
        super().end(goes_on=goes_on)
        if self._trickle is not None:
            self._trickle.close()
        with self._lock:
            if self.full:
                self._send(LeftOut(self.left_out).encode())
            # What a thread that was left behind still says belongs to nobody.
            self._ended = True

    def _write(self, level: str, text: str, at: float | None) -> None:
        self._send(Line(self._clock.now() if at is None else at, level, text).encode())

    def _on_full(self) -> None:
        # How many were left out is told at the end, which may never come.
        self._send(LeftOut(0).encode())

    def _send(self, data: bytes) -> None:
        with self._lock:
            if self._ended:
                return
            self._unsent.append(data)
            if self._sending:
                # A finalizer or a signal handler amidst a message of this thread: it goes after it.
                return
            self._sending = True
            try:
                while self._unsent:
                    with suppress(OSError):  # the parent is gone, and this process soon
                        self._tell(self._unsent.popleft())
            finally:
                self._sending = False
