"""What the admin answers about schedules and plans, and what it takes to make and change them.

Times are ISO 8601 in UTC unless they are called local, durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from taskflow.admin.lane_models import Change
from taskflow.admin.models import Moment
from taskflow.schedules.entry import Standing
from taskflow.schedules.rows import Kind
from taskflow.states import TaskStatus

#: Characters of texts that no route needs longer. What is wrong with a text is said elsewhere.
_LONGEST = 1000
Text = Annotated[str, Field(max_length=_LONGEST)]


class NextRun(BaseModel):
    """A run to come."""

    at: Moment
    #: What the clock of the schedule's time zone shows then, with its offset.
    local: str
    #: What a change of that clock did to this run; "" almost always.
    note: str


class LastRun(BaseModel):
    """A run that was dealt with."""

    #: ``slot``: its time had come; ``start``: an app started; ``hand``: somebody said so.
    kind: Kind
    #: The time that it was for; null unless its time had come.
    slot: Moment | None
    #: When it was dealt with.
    at: Moment
    #: ``fired``, or ``overlaps``: it was left out, as the one before was not over.
    outcome: str
    #: Its task, and how that stands; null where there is none, or none any more.
    task_id: str | None
    status: TaskStatus | None
    error: str | None
    #: Seconds from start to end, or from start to now while it runs.
    duration: float | None


class Schedule(BaseModel):
    """A schedule as this instance sees it."""

    name: str
    #: The name of the task that it runs.
    task: str
    #: Exactly one of the two is there, unless the schedule is invalid.
    cron: str | None
    #: Seconds.
    every: int | None
    #: The rule in words, "" if it is invalid.
    words: str
    timezone: str
    #: Who made it: ``code``, or ``run time``.
    origin: str
    #: ``active``, or why this instance does not fire it; ``problem`` says it in words.
    state: Standing
    problem: str | None
    paused_by: str | None
    paused_at: Moment | None
    #: The next five; none while it is not active.
    next_runs: list[NextRun]
    #: Seconds by which its next run is late; 0 while all is well.
    lag: float
    catch_up: str
    overlap: str
    #: Seconds.
    jitter: float
    run_on_startup: bool
    #: ``{"args": [...], "kwargs": {...}}``; long values are cut.
    arguments: Any
    #: What people changed since it was declared or added; null if nothing.
    changes: Any
    #: Newest first.
    last_runs: list[LastRun]


class ScheduleList(BaseModel):
    """A page of schedules, in the order of their names."""

    items: list[Schedule]
    #: Give it as ``after`` for the next page; null on the last.
    next_cursor: str | None


class Options(BaseModel):
    """What can be said of a schedule both when it is added and later; null is the same as nothing.

    See `taskflow.schedules.spec.ScheduleSpec` for what they mean.
    """

    # Strict: true is no number, and "4" is none either.
    model_config = ConfigDict(extra="forbid", strict=True)

    #: Five fields, or six with the seconds last.
    cron: Text | None = None
    #: Seconds.
    every: int | float | None = None
    #: As in ``Europe/Berlin``.
    timezone: Text | None = None
    #: What the task is called with.
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    #: ``latest``, ``all`` or ``skip``.
    catch_up: Text | None = None
    #: ``skip``, ``queue`` or ``allow``.
    overlap: Text | None = None
    #: Seconds.
    jitter: int | float | None = None
    run_on_startup: bool | None = None


class NewSchedule(Options):
    """A schedule to add: ``cron`` or ``every``, and whatever shall not be as it is by default."""

    name: Text
    #: The name of a declared task.
    task: Text


class ScheduleChange(Options, Change):
    """Changes of a schedule; null means as it was declared or added.

    A new rule replaces the old one, of whichever kind. ``args`` and ``kwargs`` are one thing: one
    that is not named beside the other is empty.
    """


class Pause(BaseModel):
    """Who pauses."""

    model_config = ConfigDict(extra="forbid", strict=True)

    by: Annotated[str, Field(max_length=200)] = ""


class Started(BaseModel):
    """What a schedule was run as."""

    task_id: str


class Draft(BaseModel):
    """A rule to look at."""

    model_config = ConfigDict(extra="forbid", strict=True)

    cron: Text | None = None
    #: Seconds, counted from now.
    every: int | float | None = None
    timezone: Text | None = None
    #: Runs after this, as ``2026-10-24T00:00``: on the clock of the zone, unless it has an offset.
    after: Annotated[str, Field(max_length=64)] | None = None
    count: Annotated[int, Field(ge=1, le=100)] = 5


class Preview(BaseModel):
    """What a rule means."""

    words: str
    timezone: str
    #: Fewer than asked for if there are no more.
    next_runs: list[NextRun]


class Plan(BaseModel):
    """A task that waits for its moment."""

    task_id: str
    task: str
    run_at: Moment
    #: The key that it was planned under, if any.
    run_key: str | None


class PlanList(BaseModel):
    """The plans, the next one first."""

    items: list[Plan]
    #: Whether there are more than were asked for.
    more: bool
