"""What an outcome means for a task: outcome + task + policy + now -> decision. Pure.

A lane runs, this decides, the store records: three steps, three places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from executors.outcomes import Cancelled, Failure, Outcome, Raised, Returned, TimedOut, WorkerLost
from taskflow.record import TaskRecord
from taskflow.retry import RetryPolicy, backoff, jitter, type_name
from taskflow.signals import TaskSignal, Wish
from taskflow.states import Event

_TIMEOUT_NAMES = tuple(type_name(kind) for kind in TimeoutError.__mro__)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a task, and what its history will say about the attempt."""

    event: Event
    #: How the attempt ended, for the history.
    outcome: str
    error: str | None = None
    stacktrace: str | None = None
    #: When it may run again, seconds since the epoch.
    run_at: float | None = None
    #: Whether the attempt spent one of the task's attempts.
    spent: bool = True
    #: Whether a process died under it.
    crashed: bool = False


SUCCEEDED = Decision(Event.SUCCEED, "success")


def decide(
    outcome: Outcome,
    record: TaskRecord,
    policy: RetryPolicy,
    *,
    now: float,
    draw: Callable[[], float],
    max_crashes: int,
    stopping: bool,
    started: bool = True,
) -> Decision:
    """Decide what follows an attempt that ended with ``outcome``.

    ``record`` still counts the attempt. ``draw`` gives a random number in [0, 1). ``stopping``
    says that the instance is going down, so that a cut attempt is not the task's fault; ``started``
    whether any of the function's code may have run.
    """
    match outcome:
        case Returned():
            return SUCCEEDED
        case Raised(failure):
            if isinstance(failure.exception, TaskSignal):
                return obey(failure.exception.wish(), record, policy, now=now, draw=draw)
            error = describe(failure)
            if not policy.covers(failure):
                return Decision(Event.FAIL, "failed", error, failure.traceback)
            return _again(record, policy, "failed", error, failure.traceback, now=now, draw=draw)
        case TimedOut(after, how):
            error = f"timed out after {after} s ({how})"
            if not policy.covers(Failure(_TIMEOUT_NAMES, error, "")):
                return Decision(Event.FAIL, "timed out", error)
            return _again(record, policy, "timed out", error, None, now=now, draw=draw)
        case WorkerLost(reason):
            return _crash(reason, record, policy, now=now, draw=draw, max_crashes=max_crashes)
        case Cancelled(how):
            return _cut(how, record, stopping=stopping, started=started)


def obey(
    wish: Wish,
    record: TaskRecord,
    policy: RetryPolicy,
    *,
    now: float,
    draw: Callable[[], float],
) -> Decision:
    """Decide what follows a `Retry`, `Snooze` or `Fail` raised by the task."""
    if wish.kind == "fail":
        return Decision(Event.FAIL, "failed", wish.reason or "the task raised Fail")
    if wish.kind == "snooze":
        run_at = wish.until if wish.until is not None else now + (wish.after or 0.0)
        return Decision(Event.SNOOZE, "snoozed", wish.reason or None, run_at=run_at, spent=False)
    error = "Retry" + (f": {wish.reason}" if wish.reason else "")
    return _again(record, policy, "failed", error, None, now=now, draw=draw, wait=wish.after)


def describe(failure: Failure) -> str:
    """The one-line error of a record: the type's name, then its message."""
    return f"{failure.type_name}: {failure.message}" if failure.message else failure.type_name


def _again(
    record: TaskRecord,
    policy: RetryPolicy,
    outcome: str,
    error: str,
    stacktrace: str | None,
    *,
    now: float,
    draw: Callable[[], float],
    wait: float | None = None,
    crashed: bool = False,
) -> Decision:
    """Another attempt if one is left, else the end."""
    if record.attempt >= record.max_attempts:
        return Decision(Event.FAIL, outcome, error, stacktrace, crashed=crashed)
    if wait is None:
        wait = backoff(policy, record.attempt)
        if policy.jitter:
            wait = jitter(wait, draw)
    return Decision(Event.RETRY, outcome, error, stacktrace, run_at=now + wait, crashed=crashed)


def _crash(
    reason: str,
    record: TaskRecord,
    policy: RetryPolicy,
    *,
    now: float,
    draw: Callable[[], float],
    max_crashes: int,
) -> Decision:
    """A worker process died: an attempt like any other, but not for ever."""
    error = f"worker process died: {reason}"
    crashes = record.crashes + 1
    if crashes >= max_crashes and record.attempt < record.max_attempts:
        error += f" (quarantined: it killed {crashes} workers)"
        return Decision(Event.FAIL, "crashed", error, crashed=True)
    return _again(record, policy, "crashed", error, None, now=now, draw=draw, crashed=True)


def _cut(how: str, record: TaskRecord, *, stopping: bool, started: bool) -> Decision:
    """Somebody cancelled it, or the instance stops under it."""
    if not stopping:
        return Decision(Event.CANCEL, "cancelled", f"cancelled: {how}")
    if record.at_most_once and started:
        error = f"the app stopped while the task ran, and it may run at most once ({how})"
        return Decision(Event.INTERRUPT, "interrupted", error)
    return Decision(
        Event.HAND_BACK, "handed back", f"the app stopped while it ran ({how})", spent=False
    )
