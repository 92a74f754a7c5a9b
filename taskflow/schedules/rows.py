"""What is stored of schedules: plain values, the same for every store.

Times are seconds since the epoch (UTC). ``declared`` and ``changes`` are JSON, which a store keeps
and never interprets.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from taskflow.record import TaskRecord
from taskflow.states import TaskStatus


class Kind(StrEnum):
    """Why a schedule fires."""

    SLOT = "slot"  # its time has come
    START = "start"  # an instance has started
    HAND = "hand"  # a person said: run it now


@dataclass(slots=True, frozen=True)
class ScheduleRow:
    """One schedule, as it is stored."""

    name: str
    func_name: str
    #: ``code`` or ``run time``: who declared it last.
    origin: str
    #: JSON, as the code says, or as it was added.
    declared: str
    #: JSON, what people changed since.
    changes: str | None
    #: New with every change of this row but those by firing. No two changes of any schedules of a
    #: store give the same one, and later ones give higher ones.
    version: int
    paused_by: str | None
    paused_at: float | None
    #: When it was first seen, in whole seconds: intervals count from there.
    anchor: int
    #: Slots up to here are dealt with.
    cursor: float
    last_task: str | None


@dataclass(slots=True, frozen=True)
class Firing:
    """A wish: that ``schedule`` fires for ``slot``, which makes ``record`` a task."""

    schedule: str
    #: The one the wish was made by; the schedule may have been changed since.
    version: int
    kind: Kind
    #: Seconds since the epoch; by hand, any number that is used once, such as microseconds.
    slot: int
    at: float
    #: The task; without an owner, so that anybody may claim it.
    record: TaskRecord
    #: Not while the last task of the schedule is unfinished.
    skips_overlap: bool
    #: At a start only: not if another instance, which lives, had such a firing after this moment.
    since: float | None = None


class Fired(StrEnum):
    """What became of a wish."""

    FIRED = "fired"
    TAKEN = "taken"  # this slot has been fired, or skipped, before
    CHANGED = "changed"  # there is no such schedule, or it was changed since
    PAUSED = "paused"
    OVERLAPS = "overlaps"  # the slot is dealt with, and there is no task for it
    SIBLING = "sibling"  # another instance has fired it at its own start


@dataclass(slots=True, frozen=True)
class FiringRow:
    """A slot that was dealt with, and its task as it is now."""

    kind: Kind
    slot: int
    at: float
    #: ``fired`` or ``overlaps``.
    outcome: str
    task_id: str | None
    instance: str
    #: These four are None where there was no task, or where it was pruned.
    status: TaskStatus | None
    error: str | None
    started_at: float | None
    ended_at: float | None
