"""From schedules and plans to what the admin answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from taskflow.admin.present import present_arguments
from taskflow.admin.schedule_models import LastRun, NextRun, Plan, Schedule
from taskflow.admin.values import between, moment, moment_or_none, parse
from taskflow.once import ScheduledTask
from taskflow.schedules.preview import Run
from taskflow.schedules.rows import FiringRow, Kind
from taskflow.schedules.state import ScheduleState


def present_schedule(state: ScheduleState, runs: Iterable[FiringRow], now: float) -> Schedule:
    """A schedule with its last ``runs``."""
    return Schedule(
        name=state.name,
        task=state.func_name,
        cron=state.cron,
        every=state.every,
        words=state.words,
        timezone=state.timezone,
        origin=state.origin,
        state=state.standing,
        problem=state.problem,
        paused_by=state.paused_by,
        paused_at=moment_or_none(state.paused_at),
        next_runs=present_next(state.next_runs),
        lag=round(state.lag, 6),
        catch_up=state.catch_up,
        overlap=state.overlap,
        jitter=state.jitter,
        run_on_startup=state.run_on_startup,
        arguments=present_arguments(state.args),
        changes=_changes(state.changes),
        last_runs=[_last_run(run, now) for run in runs],
    )


def present_next(runs: Iterable[Run]) -> list[NextRun]:
    """Runs to come."""
    return [NextRun(at=moment(run.slot), local=run.local, note=run.note) for run in runs]


def present_plan(plan: ScheduledTask) -> Plan:
    """A task that waits for its moment."""
    return Plan(task_id=plan.task_id, task=plan.func_name, run_at=plan.run_at, run_key=plan.run_key)


def _last_run(run: FiringRow, now: float) -> LastRun:
    return LastRun(
        kind=run.kind,
        # Otherwise it is just a number that nobody else has.
        slot=moment(run.slot) if run.kind is Kind.SLOT else None,
        at=moment(run.at),
        outcome=run.outcome,
        task_id=run.task_id,
        status=run.status,
        error=run.error,
        duration=_duration(run, now),
    )


def _duration(run: FiringRow, now: float) -> float | None:
    if run.started_at is None:
        return None
    return between(run.started_at, now if run.ended_at is None else run.ended_at)


def _changes(text: str | None) -> object:
    value = parse(text)
    if not isinstance(value, dict):
        return value
    rest = {name: change for name, change in value.items() if name != "args"}
    if isinstance(value.get("args"), str):
        rest["arguments"] = present_arguments(value["args"])
    return rest
