"""What a task may raise to say how it goes on: not errors, wishes.

``raise Retry(after=30)`` spends an attempt and waits 30 s, ``raise Snooze(until=...)`` runs later
at no cost, ``raise Fail("no such user")`` ends the task as failed whatever attempts are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from taskflow.clock import as_epoch, as_seconds


class TaskSignal(Exception):
    """Base of the wishes."""

    kind: Literal["retry", "snooze", "fail"]
    #: Seconds from now, where given.
    after: float | None = None
    #: Seconds since the epoch, where given.
    until: float | None = None

    def wish(self) -> Wish:
        """The same as plain data, which a worker process can send home."""
        return Wish(self.kind, str(self), self.after, self.until)


@dataclass(frozen=True, slots=True)
class Wish:
    """A signal as plain data."""

    kind: Literal["retry", "snooze", "fail"]
    reason: str
    after: float | None
    until: float | None


class Retry(TaskSignal):
    """Try again, ``after`` seconds (or a timedelta) from now; default: the task's own backoff.

    It spends an attempt like any error: with none left the task is failed.
    """

    kind = "retry"

    def __init__(self, reason: str = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(reason)
        if after is not None:
            self.after = as_seconds(after)
            if not 0 <= self.after < float("inf"):
                raise ValueError(f"Retry(after={after!r}): give a duration of 0 or more seconds")


class Snooze(TaskSignal):
    """Run again ``until`` a moment (aware datetime) or ``after`` so many seconds, at no cost."""

    kind = "snooze"

    def __init__(
        self,
        reason: str = "",
        *,
        until: datetime | None = None,
        after: float | timedelta | None = None,
    ) -> None:
        super().__init__(reason)
        if (until is None) == (after is None):
            raise ValueError("Snooze needs exactly one of until= (a datetime) and after= (seconds)")
        if until is not None:
            self.until = as_epoch(until)
        if after is not None:
            self.after = as_seconds(after)
            if not 0 <= self.after < float("inf"):
                raise ValueError(f"Snooze(after={after!r}): give a duration of 0 or more seconds")


class Fail(TaskSignal):
    """End as failed now; no attempt will follow."""

    kind = "fail"
