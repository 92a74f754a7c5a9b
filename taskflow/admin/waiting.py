"""Why a task does not run yet, in a sentence and in fields. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from taskflow.admin.models import WaitingFor
from taskflow.admin.values import moment, moment_or_none
from taskflow.record import TaskRecord
from taskflow.states import TaskStatus


@dataclass(frozen=True, slots=True)
class Place:
    """What this instance knows about the place where a task would run."""

    #: Whether the function of the task is known here.
    known: bool
    instance: str
    limit: int
    running: int
    waiting: int
    paused: bool


def explain(record: TaskRecord, place: Place | None) -> WaitingFor | None:
    """What ``record`` waits for; None if it does not wait. ``place`` is None for no such lane."""
    match record.status:
        case TaskStatus.SCHEDULED:
            return _timed(record, "scheduled", "waits for its time")
        case TaskStatus.RETRYING:
            number = f"{record.attempt + 1} of {record.max_attempts}"
            return _timed(record, "retry", f"waits for attempt {number}")
        case TaskStatus.PENDING:
            return _pending(record, place)
        case _:
            return None


def _timed(record: TaskRecord, reason: str, text: str) -> WaitingFor:
    if record.run_at is not None:
        text += f", {moment(record.run_at):%Y-%m-%d %H:%M:%S} UTC"
    return WaitingFor.model_validate(
        {
            "reason": reason,
            "until": moment_or_none(record.run_at),
            "text": text,
            "lane": record.lane,
            "instance": None,
        }
    )


def _pending(record: TaskRecord, place: Place | None) -> WaitingFor:
    owner = record.owner
    if owner is not None and (place is None or owner != place.instance):
        text = f"waits in the {record.lane} lane of another instance, {owner}"
        return WaitingFor(
            reason="elsewhere", until=None, text=text, lane=record.lane, instance=owner
        )
    if place is None or not place.known:
        text = (
            f"waits for an instance that knows {record.func_name!r}: this one does not; was the "
            "function renamed or removed?"
        )
        return WaitingFor(
            reason="unknown function", until=None, text=text, lane=record.lane, instance=None
        )
    busy = f"{place.running} of {place.limit} busy, {place.waiting} waiting"
    text = f"waits for a slot of the {record.lane} lane: {busy}"
    if place.paused:
        text = f"waits for the {record.lane} lane, which starts nothing at the moment: {busy}"
    return WaitingFor(reason="lane", until=None, text=text, lane=record.lane, instance=owner)
