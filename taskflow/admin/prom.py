"""What a scrape of Prometheus reads: the text format 0.0.4, and what there is to tell in it.

Rule: no query, no task name and nothing of any argument. Labels are names of lanes and of queues
with limits, both of which the code of the app gives, and words of this module.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from executors import Lane, ProcessLane
from executors.histogram import SHORTEST, Histogram
from taskflow.engine import Engine

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Queues with limits that are told of; those that come first by name, so that they stay the same.
MOST_QUEUES = 200
#: Upper bounds of the buckets, in seconds, from 0.3 ms to 6 hours. All are bounds of `Histogram`
#: itself, so that a count is exact.
MARKS = tuple(
    SHORTEST * 2.0**octave
    for octave in (5, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 26, 28, 31)
)
_MARKED = frozenset(MARKS)
_QUANTILES = (0.5, 0.99)

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One number. ``suffix`` is what a part of a histogram or summary has behind its name."""

    value: float
    labels: Labels
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All numbers with one name. ``kind`` is a word of the format: counter, gauge, ..."""

    name: str
    kind: str
    text: str
    samples: tuple[Sample, ...]


def render(families: Iterable[Family]) -> str:
    """``families`` in the text format; those without numbers are left out. Pure."""
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    if not family.samples:
        return
    yield f"# HELP {family.name} {_escape(family.text)}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        pairs = ",".join(f'{name}="{_quote(value)}"' for name, value in sample.labels.items())
        labels = f"{{{pairs}}}" if pairs else ""
        yield f"{family.name}{sample.suffix}{labels} {_number(sample.value)}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quote(value: str) -> str:
    # Half a character cannot be sent; whoever gave such a name must not lose all the others.
    sendable = value.encode("utf-8", "backslashreplace").decode()
    return _escape(sendable).replace('"', r"\"")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def histogram(labels: Labels, durations: Histogram) -> Iterator[Sample]:
    """The samples of ``durations``: cumulative counts up to each of `MARKS`, sum and count."""
    total = 0
    for bound, count in durations:
        total += count
        if bound in _MARKED:
            yield Sample(total, {**labels, "le": repr(round(bound, 6))}, "_bucket")
    yield Sample(total, {**labels, "le": "+Inf"}, "_bucket")
    yield Sample(durations.sum, labels, "_sum")
    yield Sample(total, labels, "_count")


def longer_than(durations: Histogram, seconds: float) -> int:
    """How many lie in buckets wholly above ``seconds``: up to a tenth longer may be missed."""
    total, lower = 0, 0.0
    for bound, count in durations:
        if lower >= seconds:
            total += count
        lower = bound
    return total


# -- what there is to tell -----------------------------------------------------------------------


def scrape(engine: Engine) -> str:
    """Everything about this instance, as it is now; looks only at what is in memory."""
    return render(
        (
            _gauge("build_info", "The version of taskflow.", {"version": _version()}, 1),
            *_lanes(engine),
            *_attempts(engine),
            *_queues(engine),
            *_loop(engine),
            *_store(engine),
            *_processes(engine),
            *_schedules(engine),
        )
    )


@cache
def _version() -> str:
    try:
        return version("taskflow-lanes")
    except PackageNotFoundError:  # a tree that was never installed
        return "unknown"


def _gauge(name: str, text: str, labels: Labels, value: float | None) -> Family:
    samples = () if value is None else (Sample(value, labels),)
    return Family(f"taskflow_{name}", "gauge", text, samples)


def _lanes(engine: Engine) -> Iterator[Family]:
    lanes = engine.lanes

    def each(name: str, text: str, read: Callable[[Lane], float | None]) -> Family:
        found = [(lane, read(lane)) for lane in lanes.values()]
        samples = tuple(
            Sample(value, {"lane": lane.name}) for lane, value in found if value is not None
        )
        return Family(f"taskflow_lane_{name}", "gauge", text, samples)

    now = engine.clock.now()

    def age(lane: Lane) -> float:
        oldest = engine.oldest_waiting(lane.name)
        return 0.0 if oldest is None else max(now - oldest, 0.0)

    yield each("limit", "Slots of the lane.", lambda lane: lane.limit)
    yield each("running", "Attempts that have a slot.", lambda lane: lane.running)
    waiting = tuple(
        sample
        for lane in lanes.values()
        for sample in (
            Sample(lane.waiting, {"lane": lane.name, "place": "memory"}),
            Sample(max(engine.backlog.of_lane(lane.name), 0), {"lane": lane.name, "place": "disk"}),
        )
    )
    yield Family("taskflow_lane_waiting", "gauge", "Tasks that wait for a slot.", waiting)
    yield each("oldest_waiting_seconds", "For how long the oldest of them has waited.", age)
    yield each("paused", "1 if nothing may start now.", lambda lane: int(lane.paused))
    yield each("refusing", "1 if the lane takes no work.", lambda lane: int(bool(lane.refusing)))


def _attempts(engine: Engine) -> Iterator[Family]:
    meters = engine.meters

    def total(name: str, text: str, counts: Mapping[str, int]) -> Family:
        samples = tuple(Sample(count, {"lane": lane}) for lane, count in counts.items())
        return Family(f"taskflow_{name}_total", "counter", text, samples)

    # Copies, each taken once: what has started is what has waited.
    waits = {name: meter.wait.total for name, meter in meters.items()}
    runs = {name: meter.run.total for name, meter in meters.items()}
    started = {name: wait.count for name, wait in waits.items()}
    yield total("attempts_started", "Attempts that started.", started)
    succeeded = {name: meter.succeeded for name, meter in meters.items()}
    yield total("attempts_succeeded", "Attempts that ended well.", succeeded)
    failed = {name: meter.failed for name, meter in meters.items()}
    yield total("attempts_failed", "Attempts that ended with an error.", failed)
    timed_out = {name: meter.timed_out for name, meter in meters.items()}
    yield total("attempts_timed_out", "Attempts that took too long.", timed_out)
    crashed = {name: meter.crashed for name, meter in meters.items()}
    yield total("attempts_crashed", "Attempts whose worker process died.", crashed)
    rejected = {name: meter.rejected for name, meter in meters.items()}
    yield total("tasks_rejected", "Tasks refused because there was no room.", rejected)
    text = "From the moment a task could have run to its start."
    yield _histograms("wait_seconds", text, waits)
    yield _histograms("run_seconds", "How long attempts ran, however they ended.", runs)


def _histograms(name: str, text: str, by_lane: Mapping[str, Histogram]) -> Family:
    samples = tuple(
        sample
        for lane, durations in by_lane.items()
        for sample in histogram({"lane": lane}, durations)
    )
    return Family(f"taskflow_{name}", "histogram", text, samples)


def _queues(engine: Engine) -> Iterator[Family]:
    gates = [engine.gates[name] for name in heapq.nsmallest(MOST_QUEUES, tuple(engine.gates))]
    running = tuple(Sample(g.admitted - g.unstarted, {"queue": g.name}) for g in gates)
    yield Family("taskflow_queue_running", "gauge", "Running tasks of the queue.", running)
    waiting = tuple(
        Sample(g.unstarted + max(engine.backlog.of_queue(g.name), 0), {"queue": g.name})
        for g in gates
    )
    yield Family("taskflow_queue_waiting", "gauge", "Its tasks that wait.", waiting)
    paused = tuple(Sample(int(g.paused), {"queue": g.name}) for g in gates)
    yield Family("taskflow_queue_paused", "gauge", "1 if somebody paused it.", paused)
    text = f"Queues with limits beyond the first {MOST_QUEUES}, which are not told of."
    yield _gauge("queues_left_out", text, {}, max(len(engine.gates) - MOST_QUEUES, 0))
    text = "Pending tasks on disk that no instance owns, in all lanes."
    yield _gauge("backlog", text, {}, max(engine.backlog.total, 0))


def _loop(engine: Engine) -> Iterator[Family]:
    stalls, lag = engine.stalls, engine.stalls.lag
    total, recent = lag.total, lag.recent
    text = "How late the event loop answered; quantiles over the last minute."
    yield Family("taskflow_loop_lag_seconds", "summary", text, tuple(_summary(recent, total)))
    worst = recent.max if recent.count else None
    yield _gauge("loop_lag_max_seconds", "The longest of the last minute.", {}, worst)
    text = "Times it answered nothing for longer than TASKFLOW_LOOP_STALL_MS."
    found = (Sample(longer_than(total, stalls.threshold), {}),) if stalls.threshold else ()
    yield Family("taskflow_loop_stalls_total", "counter", text, found)


def _summary(recent: Histogram, total: Histogram) -> Iterator[Sample]:
    for share in _QUANTILES:
        value = recent.quantile(share)
        yield Sample(math.nan if value is None else value, {"quantile": repr(share)})
    yield Sample(total.sum, {}, "_sum")
    yield Sample(total.count, {}, "_count")


def _store(engine: Engine) -> Iterator[Family]:
    trouble = int(engine.outbox.trouble is not None)
    yield _gauge("store_trouble", "1 if the last write to the store failed.", {}, trouble)
    commits = (Sample(engine.outbox.commits, {}),)
    text = "Transactions of new tasks, starts, ends and logs."
    yield Family("taskflow_store_commits_total", "counter", text, commits)


def _processes(engine: Engine) -> Iterator[Family]:
    sample = engine.sampler.latest
    app = None if sample is None else sample.app
    rss = None if app is None else app.rss
    yield _gauge("process_resident_memory_bytes", "Memory of this process.", {}, rss)
    cpu = None if app is None else _ratio(app.cpu_percent)
    yield _gauge("process_cpu_ratio", "What it used of one core.", {}, cpu)
    fds = None if app is None else app.fds
    yield _gauge("process_open_fds", "Files it has open.", {}, fds)
    looked = {} if sample is None else sample.workers
    # By place, the oldest first: ids of processes would be new names again and again.
    workers = [
        ({"lane": lane.name, "worker": str(place)}, looked[info.pid])
        for lane in engine.lanes.values()
        if isinstance(lane, ProcessLane)
        for place, info in enumerate(lane.workers())
        if info.pid in looked
    ]
    memory = tuple(Sample(found.rss, labels) for labels, found in workers)
    text = "Memory of each worker process, the oldest is 0."
    yield Family("taskflow_worker_resident_memory_bytes", "gauge", text, memory)
    shares = ((labels, _ratio(found.cpu_percent)) for labels, found in workers)
    used = tuple(Sample(share, labels) for labels, share in shares if share is not None)
    yield Family("taskflow_worker_cpu_ratio", "gauge", "What it used of one core.", used)


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 4)


def _schedules(engine: Engine) -> Iterator[Family]:
    now = engine.clock.now()
    entries = tuple(engine.scheduler.entries.values())
    counts = Counter({"active": 0, "paused": 0})
    counts.update(entry.standing for entry in entries)
    states = tuple(Sample(count, {"state": state}) for state, count in counts.items())
    yield Family("taskflow_schedules", "gauge", "Schedules, as this instance sees them.", states)
    late = max((now - entry.next for entry in entries if entry.next is not None), default=0.0)
    text = "By how much the latest of their next runs is late."
    yield _gauge("schedules_late_seconds", text, {}, max(late, 0.0))
