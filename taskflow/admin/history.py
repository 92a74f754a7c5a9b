"""Figures over time of all instances together, made of the points that each has written. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from taskflow.admin.models import Moment
from taskflow.admin.values import moment
from taskflow.stores.annals import Point
from taskflow.timeline import LaneSlice, Marks, Slice, parse, quantile

Span = Literal["15m", "1h", "6h", "24h", "7d", "30d"]


class LanePoint(BaseModel):
    """One lane: how many ran and waited on average, and how many attempts ended."""

    running: float
    waiting: float
    ended: int


class HistoryPoint(BaseModel):
    """``step`` seconds from ``at`` on; null where nothing was measured.

    Percentiles are those of the instance where they were worst, and up to 12 % off.
    """

    at: Moment
    #: Attempts that ended, those of them that failed, and tasks that were added.
    ended: int
    failed: int
    added: int
    wait_p95: float | None
    run_p95: float | None
    loop_lag_p99: float | None
    #: Percent of one core and bytes, worker processes included.
    cpu: float | None
    rss: int | None
    lanes: dict[str, LanePoint]


class History(BaseModel):
    """Points, oldest first; one that would be empty is left out."""

    step: int
    #: Where the first point would begin.
    since: Moment = Field(serialization_alias="from")
    points: list[HistoryPoint]
    #: When instances started.
    restarts: list[Moment]


@dataclass(frozen=True, slots=True)
class Scale:
    """How a span is told: points of ``step`` seconds, made of stored ones of ``source``."""

    span: int
    step: int
    source: int


_DAY = 86_400
SCALES: Mapping[Span, Scale] = {
    "15m": Scale(900, 10, 10),
    "1h": Scale(3600, 10, 10),
    "6h": Scale(6 * 3600, 60, 60),
    "24h": Scale(_DAY, 300, 60),
    "7d": Scale(7 * _DAY, 3600, 3600),
    "30d": Scale(30 * _DAY, 7200, 3600),
}


class Fold:
    """Takes points of any order, and gives one for each ``step``."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._slices: dict[int, dict[str, Slice]] = defaultdict(dict)

    def add(self, points: Iterable[Point]) -> None:
        """Take these in; what another version has written is left out."""
        for point in points:
            found = parse(point.figures)
            if found is None:
                continue
            instances = self._slices[point.at // self._step * self._step]
            if point.instance in instances:
                instances[point.instance].add(found)
            else:
                instances[point.instance] = found

    def points(self, since: float = 0.0) -> Iterator[HistoryPoint]:
        """All that begin at ``since`` or later, oldest first."""
        for at in sorted(at for at in self._slices if at >= since):
            yield _sum_up(at, list(self._slices[at].values()))


def _sum_up(at: int, slices: list[Slice]) -> HistoryPoint:
    """One point of all instances."""
    covered = _covered(slices)
    cpus = [(it, it.cpu / it.measured) for it in slices if it.measured]
    sizes = [(it, it.rss / it.measured) for it in slices if it.measured]
    return HistoryPoint(
        at=moment(at),
        ended=sum(it.ended for it in slices),
        failed=sum(it.failed for it in slices),
        added=sum(it.added for it in slices),
        wait_p95=_worst((it.waits for it in slices), 0.95),
        run_p95=_worst((it.runs for it in slices), 0.95),
        loop_lag_p99=_worst((it.lags for it in slices), 0.99),
        cpu=round(_level(cpus, covered), 1) if cpus else None,
        rss=round(_level(sizes, covered)) if sizes else None,
        lanes={
            name: _sum_up_lane(name, slices, covered)
            for name in sorted({name for it in slices for name in it.lanes})
        },
    )


def _sum_up_lane(name: str, slices: list[Slice], covered: float) -> LanePoint:
    lanes = [(it, it.lanes.get(name, LaneSlice())) for it in slices]
    running = [(it, lane.running / it.looks) for it, lane in lanes if it.looks]
    waiting = [(it, lane.waiting / it.looks) for it, lane in lanes if it.looks]
    return LanePoint(
        running=round(_level(running, covered), 2),
        waiting=round(_level(waiting, covered), 2),
        ended=sum(lane.ended for _, lane in lanes),
    )


def _level(levels: list[tuple[Slice, float]], covered: float) -> float:
    """The sum of what each instance has had on average, each for as long as it was there."""
    if len(levels) == 1:
        return levels[0][1]
    return sum(level * max(it.end - it.begin, 0.001) for it, level in levels) / covered


def _covered(slices: list[Slice]) -> float:
    """Seconds in which at least one instance was there."""
    covered = 0.0
    until = float("-inf")
    for it in sorted(slices, key=lambda it: it.begin):
        # One that was there for no time at all counts as long as `_level` lets it count.
        end = max(it.end, it.begin + 0.001)
        covered += max(end - max(it.begin, until), 0.0)
        until = max(until, end)
    return max(covered, 0.001)


def _worst(marks: Iterable[Marks], q: float) -> float | None:
    return max((found for it in marks if (found := quantile(it, q)) is not None), default=None)
