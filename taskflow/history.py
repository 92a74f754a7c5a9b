"""The history of figures: looks at this instance once a second, and writes a point every 10 s.

With each point the minute and the hour it belongs to are written once more, in the same
transaction: nothing has to be rolled up later, and a crash costs 10 s of each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from executors.base import Lane
from executors.histogram import RecentHistogram
from executors.sampler import Sampler
from taskflow.clock import Clock
from taskflow.errors import StoreError
from taskflow.meters import LaneMeter
from taskflow.service import Service
from taskflow.stores.annals import Annals, Point
from taskflow.timeline import Growth, LaneSlice, Slice

log = logging.getLogger(__name__)

#: Seconds of one point, and of how long points of this width are kept.
STEPS = {10: 6 * 3600.0, 60: 7 * 86_400.0, 3600: 400 * 86_400.0}
FINEST = min(STEPS)
MINUTE = 60
#: Slices of each width that are remembered. A clock that is set back comes upon them again, and
#: what is written then must hold what was counted the first time.
REMEMBERED = 30
#: The step of the points that say that an instance started.
START = 0
START_KEPT = STEPS[3600]


@dataclass(slots=True, kw_only=True)
class Sources:
    """Where the figures of one instance come from; asking them costs no query."""

    lanes: Mapping[str, Lane]
    meters: Mapping[str, LaneMeter]
    sampler: Sampler
    lag: Callable[[], RecentHistogram]
    #: How many tasks wait for a lane.
    waiting: Callable[[str], int]
    #: How many tasks were added since the start.
    added: Callable[[], int]
    #: Whether nobody knows if the store takes writes again.
    in_doubt: Callable[[], bool]


@dataclass(slots=True)
class _Known:
    """What had been counted at the end of the last slice."""

    waits: dict[str, Growth]
    runs: dict[str, Growth]
    lag: Growth = field(default_factory=Growth)
    failed: int = 0
    added: int = 0


class History(Service):
    """Writes points of ``instance``; ``written`` is called after each that the store has taken.

    While nothing happens it writes only one a minute. A point that the store does not take is left
    out; what it counted is still in its minute and its hour, if those are written.
    """

    EVERY = 1.0

    def __init__(
        self,
        annals: Annals,
        clock: Clock,
        sources: Sources,
        *,
        instance: str,
        written: Callable[[], None],
    ) -> None:
        super().__init__("history")
        self._annals = annals
        self._clock = clock
        self._sources = sources
        self._instance = instance
        self._written = written
        self._known = _Known(
            {name: Growth() for name in sources.meters}, {name: Growth() for name in sources.meters}
        )
        self._slice: Slice | None = None
        #: The point that says that this instance started, until it is written.
        self._start: Point | None = None
        #: What was last written to, by the length in seconds and when it begins.
        self._recent: dict[int, dict[int, Slice]] = {step: {} for step in STEPS}
        self._waited: list[float] = []
        self._in_trouble = False

    async def turn(self) -> float:
        now = self._clock.now()
        over = self._slice
        if over is not None and now // FINEST == over.begin // FINEST:
            self._look(over, now)
            return self.EVERY
        # First on, then write: what cannot be written is not tried again.
        self._slice = Slice(now, now)
        self._look(self._slice, now)
        if over is None:
            self._start = Point(START, int(now), self._instance, "{}")
            await self._write([], {})
        else:
            await self._finish(over, now)
        return self.EVERY

    def _look(self, into: Slice, now: float) -> None:
        sources = self._sources
        into.looks += 1
        into.end = max(into.end, now)
        for name, lane in sources.lanes.items():
            seen = LaneSlice(max(lane.running, 0), max(sources.waiting(name), 0))
            into.lanes.setdefault(name, LaneSlice()).add(seen)
        sample = sources.sampler.latest
        if sample is not None and sample.app is not None and sample.app.cpu_percent is not None:
            processes = (sample.app, *sample.workers.values())
            into.measured += 1
            into.cpu += sum(process.cpu_percent or 0.0 for process in processes)
            into.rss += sum(process.rss for process in processes)

    async def _finish(self, over: Slice, now: float) -> None:
        """The slice is over: count what happened in it, and write it if that is worth it."""
        self._count(over)
        at = int(over.begin // FINEST) * FINEST
        over.end = max(over.end, min(now, at + FINEST))
        points = [self._take_in(step, over) for step in STEPS]
        waited = [round(lane.waiting / over.looks, 1) for lane in over.lanes.values()]
        last = now // MINUTE != at // MINUTE
        if last or over.lively or waited != self._waited or self._sources.in_doubt():
            self._waited = waited
            before = {step: now - kept for step, kept in STEPS.items()}
            await self._write(points, {**before, START: now - START_KEPT} if last else {})

    def _count(self, into: Slice) -> None:
        known, sources = self._known, self._sources
        failed = 0
        for name, meter in sources.meters.items():
            runs = known.runs[name].look(meter.run.total)
            into.runs.update(runs)
            into.waits.update(known.waits[name].look(meter.wait.total))
            into.lanes.setdefault(name, LaneSlice()).ended = runs.total()
            failed += meter.failed + meter.timed_out + meter.crashed
        into.lags = known.lag.look(sources.lag().total)
        into.ended = into.runs.total()
        added = sources.added()
        into.failed, into.added = failed - known.failed, added - known.added
        known.failed, known.added = failed, added

    def _take_in(self, step: int, over: Slice) -> Point:
        """What a slice belongs to of this width, with the slice in it."""
        at = int(over.begin // step) * step
        recent = self._recent[step]
        # Taken out and put in again: the first is the one that was not used for longest.
        whole = recent.pop(at, None) or Slice(over.begin, over.end)
        whole.add(over)
        recent[at] = whole
        if len(recent) > REMEMBERED:
            del recent[next(iter(recent))]
        return Point(step, at, self._instance, whole.to_json())

    async def _write(self, points: list[Point], before: Mapping[int, float]) -> None:
        start = () if self._start is None else (self._start,)
        try:
            await self._annals.put_points([*start, *points], before)
        except StoreError as error:
            if not self._in_trouble:
                log.warning("the history leaves out points that the store does not take: %s", error)
            self._in_trouble = True
            return
        self._start = None
        self._in_trouble = False
        self._written()
