"""The lanes of this instance, as the admin shows them."""

from __future__ import annotations

from collections.abc import Mapping

from executors import EventLoopLane, Lane, ProcessLane, ThreadLane
from executors.histogram import Histogram, RecentHistogram
from executors.process_slot import WorkerInfo
from executors.sampler import ProcessSample
from taskflow.admin.lane_models import Durations, DurationsOverTime, LaneState, Worker
from taskflow.admin.values import between, moment
from taskflow.attempt import Attempt
from taskflow.engine import Engine
from taskflow.meters import LaneMeter
from taskflow.settings import Settings

#: The setting that each lane's number of slots comes from.
_LIMITS = {"async": "async_limit", "io": "io_workers", "cpu": "cpu_workers"}


def present_lane(
    engine: Engine, lane: Lane, wait: DurationsOverTime, run: DurationsOverTime
) -> LaneState:
    """``lane`` as it is now; ``wait`` and ``run`` may be a little older."""
    name = lane.name
    now = engine.clock.now()
    meter = engine.meters[name]
    counted = [w for (place, _), w in engine.backlog.waiting.items() if place == name]
    oldest = engine.oldest_waiting(name)
    return LaneState(
        name=name,
        kind=_kind(lane),
        limit=lane.limit,
        configured_limit=configured_limit(engine.settings, lane),
        room=lane.room,
        free=max(lane.free, 0),
        running=lane.running,
        waiting=lane.waiting,
        backlog=max(engine.backlog.of_lane(name), 0),
        blocked=sum(waiting.blocked for waiting in counted),
        parked=sum(waiting.parked for waiting in counted),
        oldest_age=None if oldest is None else between(oldest, now),
        paused="paused" in lane.brakes,
        brakes=list(lane.brakes),
        refusing=lane.refusing or None,
        wait=wait,
        run=run,
        throughput=round(meter.per_second(engine.clock.monotonic()), 3),
        rejected=meter.rejected,
        timed_out=meter.timed_out,
        crashed=meter.crashed,
        failed=meter.failed,
        stuck=lane.stuck if isinstance(lane, ThreadLane) else None,
        max_stuck=lane.max_stuck if isinstance(lane, ThreadLane) else None,
        strays=lane.strays if isinstance(lane, EventLoopLane) else None,
        workers=_workers(engine, lane, now) if isinstance(lane, ProcessLane) else None,
    )


def configured_limit(settings: Settings, lane: Lane) -> int:
    """The slots of a lane as the settings have them."""
    return int(getattr(settings, _LIMITS[lane.name]))


def durations(meter: LaneMeter) -> tuple[DurationsOverTime, DurationsOverTime]:
    """How long tasks of a lane waited and ran."""
    return _over_time(meter.wait), _over_time(meter.run)


def summarise(histogram: Histogram) -> Durations:
    """The usual quantiles of a histogram."""
    count = histogram.count
    found = {f"p{percent}": histogram.quantile(percent / 100) for percent in (50, 95, 99)}
    found["max"] = histogram.max if count else None
    rounded = {name: None if value is None else round(value, 6) for name, value in found.items()}
    return Durations(count=count, **rounded)


def _over_time(histogram: RecentHistogram) -> DurationsOverTime:
    return DurationsOverTime(
        last_minute=summarise(histogram.recent), since_start=summarise(histogram.total)
    )


def _workers(engine: Engine, lane: ProcessLane, now: float) -> list[Worker]:
    sample = engine.sampler.latest
    samples = {} if sample is None else sample.workers
    return [_worker(info, samples, now) for info in lane.workers()]


def _worker(info: WorkerInfo, samples: Mapping[int, ProcessSample], now: float) -> Worker:
    record = info.call.record if isinstance(info.call, Attempt) else None
    sample = samples.get(info.pid)
    return Worker(
        pid=info.pid,
        started_at=moment(info.started_at),
        age=between(info.started_at, now),
        calls_done=info.calls_done,
        busy=info.busy,
        task_id=None if record is None else record.task_id,
        func_name=None if record is None else record.func_name,
        cpu_percent=None if sample is None else percent(sample.cpu_percent),
        rss=None if sample is None else sample.rss,
        threads=None if sample is None else sample.threads,
    )


def percent(value: float | None) -> float | None:
    """As people read it."""
    return None if value is None else round(value, 1)


def _kind(lane: Lane) -> str:
    if isinstance(lane, ProcessLane):
        return "processes"
    return "threads" if isinstance(lane, ThreadLane) else "event loop"
