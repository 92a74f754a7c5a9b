"""What happened in a stretch of time, in a few hundred bytes that can be added up.

Durations are kept as counts of marks, four to an octave: percentiles of hours are then made of the
durations themselves, not of percentiles, and are up to 12 % off. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json

from executors.histogram import LONGEST, SHORTEST, Histogram

#: Marks of an octave.
_MARKS = 4

Marks = Counter[int]


def _marks_of(bounds: Iterable[float]) -> list[int]:
    """The mark of each bucket of a histogram: where its middle is."""
    marks = []
    lower = 0.0
    for upper in bounds:
        middle = (lower + min(upper, LONGEST)) / 2
        marks.append(max(0, round(_MARKS * math.log2(middle / SHORTEST))))
        lower = min(LONGEST, upper)
    return marks


_BUCKETS = _marks_of(bound for bound, _ in Histogram())


class Growth:
    """What was added to a histogram between two looks at it."""

    def __init__(self) -> None:
        self._before = [0] * len(_BUCKETS)

    def look(self, histogram: Histogram) -> Marks:
        """What ``histogram``, which only grows, has more than at the last look."""
        counts = [count for _, count in histogram]
        found: Marks = Counter()
        if counts != self._before:
            for mark, count, before in zip(_BUCKETS, counts, self._before, strict=True):
                if count > before:
                    found[mark] += count - before
            self._before = counts
        return found


def quantile(marks: Marks, q: float) -> float | None:
    """The duration in seconds that the share ``q`` does not exceed; None for no durations."""
    rank = math.ceil(q * marks.total())
    for mark in sorted(marks):
        rank -= marks[mark]
        if rank <= 0:
            return float(f"{SHORTEST * 2 ** (mark / _MARKS):.3g}")
    return None


@dataclass(slots=True)
class LaneSlice:
    """One lane: ``running`` and ``waiting`` are sums over all looks."""

    running: int = 0
    waiting: int = 0
    ended: int = 0

    def add(self, other: LaneSlice) -> None:
        self.running += other.running
        self.waiting += other.waiting
        self.ended += other.ended


@dataclass(slots=True)
class Slice:
    """A stretch of time of one instance; ``begin`` and ``end`` in seconds since the epoch."""

    begin: float
    end: float
    #: How often it was looked at what runs and waits, and what psutil says.
    looks: int = 0
    measured: int = 0
    #: Sums over the latter: percent of one core, bytes.
    cpu: float = 0.0
    rss: int = 0
    #: Attempts that ended, those that did so in another way than success, tasks that were added.
    ended: int = 0
    failed: int = 0
    added: int = 0
    waits: Marks = field(default_factory=Counter)
    runs: Marks = field(default_factory=Counter)
    lags: Marks = field(default_factory=Counter)
    lanes: dict[str, LaneSlice] = field(default_factory=dict)

    def add(self, other: Slice) -> None:
        """Take in another stretch of the same instance."""
        self.begin, self.end = min(self.begin, other.begin), max(self.end, other.end)
        for name in ("looks", "measured", "cpu", "rss", "ended", "failed", "added"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.waits.update(other.waits)
        self.runs.update(other.runs)
        self.lags.update(other.lags)
        for name, lane in other.lanes.items():
            self.lanes.setdefault(name, LaneSlice()).add(lane)

    @property
    def lively(self) -> bool:
        """Whether anything was done."""
        return bool(
            self.ended
            or self.failed
            or self.added
            or self.waits
            or any(lane.running for lane in self.lanes.values())
        )

    def to_json(self) -> str:
        """All of it, for `parse`."""
        return to_json(
            {
                "t": [round(self.begin, 3), round(self.end, 3)],
                "n": [self.looks, self.measured, round(self.cpu, 1), self.rss],
                "c": [self.ended, self.failed, self.added],
                "w": self.waits,
                "r": self.runs,
                "l": self.lags,
                "lanes": {n: [it.running, it.waiting, it.ended] for n, it in self.lanes.items()},
            }
        ).decode()


def parse(text: str) -> Slice | None:
    """The slice that `Slice.to_json` made ``text`` of; None for anything else."""
    try:
        found: Any = from_json(text)
        begin, end = map(float, found["t"])
        looks, measured, cpu, rss = found["n"]
        ended, failed, added = map(int, found["c"])
        return Slice(
            begin,
            end,
            looks=int(looks),
            measured=int(measured),
            cpu=float(cpu),
            rss=int(rss),
            ended=ended,
            failed=failed,
            added=added,
            waits=_parse_marks(found["w"]),
            runs=_parse_marks(found["r"]),
            lags=_parse_marks(found["l"]),
            lanes={str(n): LaneSlice(*map(int, it)) for n, it in found["lanes"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None  # another version wrote it


def _parse_marks(found: Mapping[str, Any]) -> Marks:
    return Counter({int(mark): int(count) for mark, count in found.items()})
