"""Who holds the event loop, in words: the task or the route, and where it belongs instead."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from executors import EventLoopLane
from executors.base import Lane
from executors.histogram import RecentHistogram
from executors.loop_guard import LoopGuard
from executors.stalls import Stall
from taskflow.attempt import Attempt
from taskflow.injection import RequestMiddleware
from taskflow.journal import fit
from taskflow.journals import Journals
from taskflow.redaction import Redactor

log = logging.getLogger(__name__)

#: Above this share of the time on a processor it computes, below it waits. Not half: on a busy
#: machine code that computes gets less than it wants.
COMPUTES = 0.3


@dataclass(frozen=True, slots=True)
class Culprit:
    """What ran on the loop while it did nothing else."""

    kind: Literal["task", "route", "other"]
    #: ``app:work``, ``GET /report``, or the name of a function.
    name: str
    task_id: str | None = None
    attempt: int = 0

    def __str__(self) -> str:
        if self.kind == "task":
            return f"task {self.name} ({self.task_id})"
        return f"route {self.name}" if self.kind == "route" else self.name


class StallWatch:
    """Watches the loop it is started on, and tells of stalls.

    ``stall`` in seconds; with 0 only the lag is measured.
    """

    def __init__(
        self, stall: float, lanes: Mapping[str, Lane], journals: Journals, redactor: Redactor
    ) -> None:
        self.threshold = stall
        self._journals = journals
        self._redactor = redactor
        self._lane = lanes["async"]
        self._guard = LoopGuard(stall, self._identify, self._tell)

    def start(self) -> None:
        """Begin to watch the loop that is running."""
        self._guard.start()

    def stop(self) -> None:
        """End. Idempotent, and harmless before the start."""
        self._guard.stop()

    @property
    def lag(self) -> RecentHistogram:
        """How late the loop answers, in seconds."""
        return self._guard.lag

    @property
    def recent(self) -> list[Stall]:
        """The last stalls, newest first."""
        return list(reversed(self._guard.stalls))

    def rotate(self) -> None:
        """Begin a new slice of the lag of the last minute."""
        self._guard.lag.rotate()

    def _identify(self, frame: FrameType, running: asyncio.Task[Any] | None) -> Culprit:
        """On the watchdog's thread, while the loop stands still."""
        if running is not None and isinstance(self._lane, EventLoopLane):
            call = self._lane.call_of(running)
            if isinstance(call, Attempt):
                record = call.record
                return Culprit("task", record.func_name, record.task_id, record.attempt)
        outer: FrameType | None = frame
        while outer is not None:
            if outer.f_code is RequestMiddleware.__call__.__code__:
                scope = outer.f_locals["scope"]
                method = scope.get("method", scope["type"])
                return Culprit("route", f"{method} {scope.get('path', '')}")
            outer = outer.f_back
        if running is not None:
            coroutine = running.get_coro()
            return Culprit("other", getattr(coroutine, "__qualname__", repr(coroutine)))
        return Culprit("other", frame.f_code.co_qualname)

    def _tell(self, stall: Stall) -> None:
        text = f"held the event loop for {stall.duration:.3f} s: {advice(stall)}"
        stack = self._redactor.text(stall.stack, "stack")
        culprit = stall.culprit
        log.warning("%s %s\n%s", self._redactor.text(name_of(stall)), text, stack)
        if isinstance(culprit, Culprit) and culprit.task_id is not None:
            line = fit(f"{text}\n{stall.stack}")
            self._journals.write(culprit.task_id, culprit.attempt, "warning", line, stall.at)


def name_of(stall: Stall) -> str:
    """Who held the loop. Nothing but native code is gone before anybody can look."""
    return "native code" if stall.culprit is None else str(stall.culprit)


def advice(stall: Stall) -> str:
    """Where the code that held the loop belongs."""
    culprit = stall.culprit
    kind = culprit.kind if isinstance(culprit, Culprit) else "other"
    computes = stall.gil_held or stall.cpu_share > COMPUTES
    what = "it computes" if computes else "it waits in a blocking call"
    lane = 'lane="cpu"' if computes else 'lane="io"'
    if kind == "task":
        return f"{what}; make it a plain function and move this to {lane}"
    if kind == "route":
        plain = "" if computes else "make the route a plain `def`, or "
        return f"{what}; {plain}move this to a task with {lane}"
    return f"{what}; move this to {lane}"
