"""The life of a task, as one table. Nothing else may invent a transition.

A task is *waiting* while it is `scheduled` (for its time), `pending` (for a slot) or `retrying`
(for its next attempt). It is *running* during an attempt. It is *final* as `success`, `failed`
(the dead letters), `cancelled` or `interrupted` (its instance died while it ran, and it may not be
run again by itself). A final task moves again only when a person retries it.
"""

from __future__ import annotations

from enum import StrEnum


class TaskStatus(StrEnum):
    """Where a task is in its life."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Event(StrEnum):
    """What can happen to a task."""

    DUE = "due"  # its time has come
    START = "start"  # an attempt begins
    SUCCEED = "succeed"  # the attempt returned
    RETRY = "retry"  # the attempt failed and another one will follow
    FAIL = "fail"  # the attempt failed and none will follow
    SNOOZE = "snooze"  # the attempt asked to run later, at no cost
    CANCEL = "cancel"  # somebody cancelled the task
    HAND_BACK = "hand back"  # its instance stops or died; somebody else may run it
    INTERRUPT = "interrupt"  # its instance stops or died; nobody may run it again by himself
    REVIVE = "revive"  # a person asked to run a final task again


_S, _E = TaskStatus, Event

TRANSITIONS: dict[tuple[TaskStatus, Event], TaskStatus] = {
    (_S.SCHEDULED, _E.DUE): _S.PENDING,
    (_S.SCHEDULED, _E.CANCEL): _S.CANCELLED,
    (_S.RETRYING, _E.DUE): _S.PENDING,
    (_S.RETRYING, _E.CANCEL): _S.CANCELLED,
    (_S.PENDING, _E.START): _S.RUNNING,
    (_S.PENDING, _E.CANCEL): _S.CANCELLED,
    # A task that can no longer be started (its arguments do not fit any more) fails unstarted.
    (_S.PENDING, _E.FAIL): _S.FAILED,
    (_S.PENDING, _E.HAND_BACK): _S.PENDING,
    (_S.RUNNING, _E.SUCCEED): _S.SUCCESS,
    (_S.RUNNING, _E.RETRY): _S.RETRYING,
    (_S.RUNNING, _E.FAIL): _S.FAILED,
    (_S.RUNNING, _E.SNOOZE): _S.SCHEDULED,
    (_S.RUNNING, _E.CANCEL): _S.CANCELLED,
    (_S.RUNNING, _E.HAND_BACK): _S.PENDING,
    (_S.RUNNING, _E.INTERRUPT): _S.INTERRUPTED,
    (_S.SUCCESS, _E.REVIVE): _S.PENDING,
    (_S.FAILED, _E.REVIVE): _S.PENDING,
    (_S.CANCELLED, _E.REVIVE): _S.PENDING,
    (_S.INTERRUPTED, _E.REVIVE): _S.PENDING,
}

#: No attempt will follow unless a person asks for it.
FINAL = frozenset({_S.SUCCESS, _S.FAILED, _S.CANCELLED, _S.INTERRUPTED})
#: Final, and not because the work was done: an idempotency key is free again.
UNDONE = frozenset({_S.FAILED, _S.CANCELLED, _S.INTERRUPTED})
#: Waits on disk for a moment in time.
TIMED = frozenset({_S.SCHEDULED, _S.RETRYING})


class IllegalTransitionError(Exception):
    """A task was asked to make a move that the table does not know: a bug in taskflow."""


def next_status(status: TaskStatus, event: Event) -> TaskStatus:
    """The status after ``event``; raises `IllegalTransitionError` if the table has no such move."""
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransitionError(f"a task that is {status} cannot {event}") from None


def can(status: TaskStatus, event: Event) -> bool:
    """Whether the table has a move for ``event`` from ``status``."""
    return (status, event) in TRANSITIONS
