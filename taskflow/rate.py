"""How often something may happen: ``"10/s"``, and the log that keeps to it. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

_SECONDS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_RATE = re.compile(r"\s*([0-9]+)\s*/\s*([0-9]+)?\s*(s|sec|m|min|h|d)\s*")
#: A log remembers so many moments at most.
MOST = 100_000


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` times in any stretch of ``period`` seconds."""

    count: int
    period: float


def parse_rate(text: object) -> Rate:
    """The rate that ``"10/s"``, ``"100/min"``, ``"5/10s"`` stands for; raises ValueError."""
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    count = int(match[1]) if match else 0
    period = int(match[2] or 1) * _SECONDS[match[3]] if match else 0.0
    if not 1 <= count <= MOST or not 0 < period <= 366 * 86400:
        raise ValueError(
            f"rate={text!r}: give a number from 1 to {MOST} and a time, such as '10/s', '100/min' "
            "or '5/10s' (s, min, h, d)"
        )
    return Rate(count, period)


class RateLog:
    """Remembers when something happened, so that no stretch of the period has too much of it.

    An exact promise: never more than ``count`` in any ``period`` seconds, wherever it begins.
    Moments are seconds of a clock that only goes forward.
    """

    __slots__ = ("_moments", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._moments: list[float] = []

    def free(self, now: float) -> int:
        """How often it may happen now. Changes nothing, so that any thread may ask."""
        moments = self._moments
        return self.rate.count - (len(moments) - bisect_right(moments, now - self.rate.period))

    def note(self, now: float) -> None:
        """It happens now."""
        if len(self._moments) > 2 * self.rate.count + 100:
            recent = bisect_right(self._moments, now - self.rate.period)
            self._moments = self._moments[recent:]
        self._moments.append(now)

    def free_at(self, now: float, wanted: int = 1) -> float | None:
        """When it may happen ``wanted`` times; None if that is more than the rate ever allows."""
        if wanted > self.rate.count:
            return None
        surplus = wanted - self.free(now)
        if surplus <= 0:
            return now
        first = bisect_right(self._moments, now - self.rate.period)
        return self._moments[first + surplus - 1] + self.rate.period

    def change(self, rate: Rate) -> None:
        """Keep to another rate from now on; what happened is not forgotten."""
        self.rate = rate
