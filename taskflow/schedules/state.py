"""A schedule as people see it."""

from __future__ import annotations

from dataclasses import dataclass

from taskflow.schedules.entry import Entry, Standing
from taskflow.schedules.preview import Run, runs


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """One schedule at one moment; moments are seconds since the epoch."""

    name: str
    func_name: str
    #: The rule in words, and the zone whose clock it follows.
    words: str
    timezone: str
    cron: str | None
    every: int | None
    catch_up: str
    overlap: str
    jitter: float
    run_on_startup: bool
    args: str
    #: Who made it: ``code``, or ``run time``.
    origin: str
    #: Whether this instance fires it; if not, the word for why, and a sentence.
    standing: Standing
    problem: str | None
    #: What people changed, as JSON, None if nothing.
    changes: str | None
    paused_by: str | None
    paused_at: float | None
    next_runs: tuple[Run, ...]
    #: Seconds by which its next run is late now: 0.0 while all is well.
    lag: float
    last_task: str | None


def describe(entry: Entry, now: float, count: int = 5) -> ScheduleState:
    """How ``entry`` stands, with its next ``count`` runs."""
    row, spec, rule = entry.row, entry.spec, entry.rule
    coming: tuple[Run, ...] = ()
    if rule is not None and entry.next is not None:
        coming = tuple(runs(rule, entry.next - 1, count))
    return ScheduleState(
        name=row.name,
        func_name=row.func_name,
        words="" if rule is None else rule.words,
        timezone="UTC" if rule is None else rule.zone.name,
        cron=None if spec is None else spec.cron,
        every=None if spec is None else spec.every,
        catch_up="latest" if spec is None else spec.catch_up,
        overlap="skip" if spec is None else spec.overlap,
        jitter=0.0 if spec is None else spec.jitter,
        run_on_startup=spec is not None and spec.run_on_startup,
        args="" if spec is None else spec.args,
        origin=row.origin,
        standing=entry.standing,
        problem=entry.problem or entry.trouble,
        changes=row.changes,
        paused_by=row.paused_by,
        paused_at=row.paused_at,
        next_runs=coming,
        lag=0.0 if entry.next is None else max(now - entry.next, 0.0),
        last_task=row.last_task,
    )
