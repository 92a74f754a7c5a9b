"""Time, injected: only this module reads the clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

#: The last day of the year 9999, which every zone can still show.
LAST_MOMENT = 253_402_214_400.0


class Clock(Protocol):
    """Where the core gets the time from."""

    def now(self) -> float:
        """Wall clock, seconds since the epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean something."""
        ...


class SystemClock:
    """The clock of this machine."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


def as_seconds(value: float | timedelta) -> float:
    """A duration as seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def as_epoch(moment: datetime) -> float:
    """An aware moment as seconds since the epoch; raises ValueError for a naive one."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(
            f"{moment.isoformat()} has no time zone: give it one, for example "
            "datetime.now(UTC) or moment.replace(tzinfo=ZoneInfo('Europe/Berlin'))"
        )
    return moment.timestamp()


def as_datetime(epoch: float) -> datetime:
    """Seconds since the epoch as an aware UTC datetime, at most the last one there is."""
    return datetime.fromtimestamp(min(epoch, LAST_MOMENT), UTC)
