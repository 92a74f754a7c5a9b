"""Writes down what happens to a task: the only place where a running task's record changes.

A lane says how an attempt ended, `taskflow.decide` what that means, and this puts it into the
record, the history and the log of the app.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace

from executors.outcomes import Outcome, Raised, Returned, TimedOut, WorkerLost
from taskflow.attempt import Attempt
from taskflow.capture import Capture
from taskflow.child import Reply
from taskflow.clock import Clock
from taskflow.context import running_task
from taskflow.decide import SUCCEEDED, Decision, decide, obey
from taskflow.feed import Feed, TaskChanged
from taskflow.fingerprint import fingerprint
from taskflow.journals import Journals
from taskflow.meters import LaneMeter
from taskflow.outbox import Outbox
from taskflow.printable import printable
from taskflow.record import AttemptRecord, TaskRecord
from taskflow.redaction import Redactor
from taskflow.states import FINAL, Event, TaskStatus, next_status

log = logging.getLogger(__name__)


class Recorder:
    """Changes records and hands them to the outbox."""

    def __init__(
        self,
        *,
        instance: str,
        outbox: Outbox,
        clock: Clock,
        draw: Callable[[], float],
        max_crashes: int,
        meters: Mapping[str, LaneMeter],
        feed: Feed,
        capture: Capture,
        redactor: Redactor,
    ) -> None:
        self._redactor = redactor
        self._instance = instance
        self._outbox = outbox
        self._clock = clock
        self._draw = draw
        self._max_crashes = max_crashes
        self._meters = meters
        self._feed = feed
        #: Who listens; while nobody does, changes are not even made into events.
        self._subscribers = feed.subscribers
        self.journals = Journals(outbox=outbox, clock=clock, feed=feed, capture=capture)

    def start(self, attempt: Attempt) -> None:
        """The attempt has its slot and its code starts now."""
        record = attempt.record
        attempt.begun = True
        if record.status is not TaskStatus.RUNNING:
            self.mark_started(attempt)
        if attempt.context is not None:
            attempt.context.run(running_task.set, attempt)

    def mark_started(self, attempt: Attempt) -> None:
        """The task counts as running."""
        record = attempt.record
        record.status = next_status(record.status, Event.START)
        record.attempt += 1
        record.started_at = now = self._clock.now()
        due = record.created_at if record.run_at is None else max(record.created_at, record.run_at)
        self._meters[record.lane].wait.add(now - due)
        record.instance = self._instance
        record.error = record.stacktrace = record.progress = None
        self._outbox.touch(record)
        if self._subscribers:
            self._announce(record, now)

    def end(self, attempt: Attempt, outcome: Outcome, *, stopping: bool) -> Decision:
        """The attempt ended; ``stopping`` says that the instance goes down."""
        record = attempt.record
        decision = self._decide(attempt, outcome, stopping=stopping and not attempt.revoked)
        if attempt.revoked and decision.event in (Event.RETRY, Event.SNOOZE):
            # Cancelled just when it failed by itself: it must not come back.
            decision = Decision(Event.CANCEL, "cancelled", f"cancelled; {decision.error}")
        if decision is not SUCCEEDED:
            decision = self._explain(attempt, decision, outcome)
        now = self._clock.now()
        record.status = next_status(record.status, decision.event)
        record.error = decision.error
        record.stacktrace = decision.stacktrace
        record.owner = None
        if record.status in FINAL:
            record.ended_at = now
            _name_error(record)
        meter = self._meters[record.lane]
        if record.started_at is not None:
            meter.run.add(now - record.started_at)
        if decision is not SUCCEEDED:
            meter.note(decision)
            _report(record, decision, outcome, self._redactor)
            self._note_trouble(record, decision, now)
        else:
            meter.succeeded += 1
        self._outbox.touch_end(record)
        if self._subscribers:
            self._announce(record, now)
        return decision

    def _decide(self, attempt: Attempt, outcome: Outcome, *, stopping: bool) -> Decision:
        record = attempt.record
        policy = attempt.definition.policy
        if type(outcome) is Returned:
            value = outcome.value
            if type(value) is not Reply:
                return SUCCEEDED  # None: there is nothing to store
            record.result, record.result_error = value.result, value.result_error
            if value.misfit is not None:
                return Decision(Event.FAIL, "failed", value.misfit)
            if value.wish is not None:
                now = self._clock.now()
                return obey(value.wish, record, policy, now=now, draw=self._draw)
            if value.failure is None:
                return SUCCEEDED
            outcome = Raised(value.failure)
        return decide(
            outcome,
            record,
            policy,
            now=self._clock.now(),
            draw=self._draw,
            max_crashes=self._max_crashes,
            stopping=stopping,
            started=attempt.begun,
        )

    def _explain(self, attempt: Attempt, decision: Decision, outcome: Outcome) -> Decision:
        """The same decision, in words that are safe to show, with all that is known of the end."""
        stacktrace = decision.stacktrace
        if isinstance(outcome, WorkerLost) and outcome.detail:
            self.journals.write_crash(attempt.record, outcome.detail)
        if isinstance(outcome, WorkerLost | TimedOut):
            stacktrace = stacktrace or outcome.detail or None
            attempt.cancelled = True  # for code that was given up, and looks
        return replace(
            decision,
            error=decision.error and printable(decision.error),
            stacktrace=stacktrace and printable(stacktrace),
        )

    def _announce(self, record: TaskRecord, at: float) -> None:
        self._feed.publish(
            TaskChanged(
                task_id=record.task_id,
                func_name=record.func_name,
                lane=record.lane,
                queue=record.queue,
                status=record.status.value,
                attempt=record.attempt,
                at=at,
                error=record.error,
            )
        )

    def _note_trouble(self, record: TaskRecord, decision: Decision, now: float) -> None:
        """Bookkeeping of everything but a plain success."""
        if decision.crashed:
            record.crashes += 1
        if record.status not in FINAL:
            # The next attempt will overwrite the row, so that this one goes into the history.
            self._outbox.add_attempt(
                AttemptRecord(
                    task_id=record.task_id,
                    number=0,  # the store counts
                    started_at=record.started_at or now,
                    ended_at=now,
                    outcome=decision.outcome,
                    error=decision.error,
                    stacktrace=decision.stacktrace,
                    instance=record.instance,
                )
            )
            record.started_at = None
            record.run_at = decision.run_at
        if not decision.spent:
            record.attempt -= 1

    def give_up(self, record: TaskRecord, problem: str) -> None:
        """The task cannot even be started."""
        record.status = next_status(record.status, Event.FAIL)
        record.error = printable(problem)
        record.ended_at = self._clock.now()
        record.owner = None
        _name_error(record)
        self._outbox.touch_end(record)
        if self._subscribers:
            self._announce(record, record.ended_at)
        shown = self._redactor.text(problem, "error")
        log.error("task %s (%s) failed: %s", record.func_name, record.task_id, shown)

    def cancel(self, record: TaskRecord) -> None:
        """Somebody cancelled the task before it started."""
        record.status = next_status(record.status, Event.CANCEL)
        record.error = "cancelled: before it started"
        record.ended_at = self._clock.now()
        record.owner = None
        self._outbox.touch_end(record)
        if self._subscribers:
            self._announce(record, record.ended_at)

    def hand_back(self, record: TaskRecord) -> None:
        """The task has not started here: anybody may take it."""
        record.status = next_status(record.status, Event.HAND_BACK)
        record.owner = None
        self._outbox.touch_end(record)


def _name_error(record: TaskRecord) -> None:
    """Only of those that failed for good, so that all the others pay nothing for it."""
    if record.status is not TaskStatus.SUCCESS and record.status is not TaskStatus.CANCELLED:
        record.fingerprint = fingerprint(record.func_name, record.error or "", record.stacktrace)


def misfit(problem: str) -> str:
    """The error of a task whose stored arguments do not fit its function any more."""
    return f"the stored arguments no longer fit: {problem}"


def _report(record: TaskRecord, decision: Decision, outcome: Outcome, redactor: Redactor) -> None:
    """Failures belong in the log of the app, where everything that watches logs can see them.

    An exception goes along as such only if there is no secret in it: handlers format it themselves.
    """
    shown = record.error and redactor.text(record.error, "error")
    match decision.event:
        case Event.FAIL:
            error = outcome.failure.exception if isinstance(outcome, Raised) else None
            trace = record.stacktrace or ""
            if error is not None:
                trace = "".join(traceback.format_exception(error))
            clean = redactor.text(trace, "stacktrace")
            if clean != trace:
                error = None
            log.error(
                "task %s (%s) failed after %d attempts: %s%s",
                record.func_name,
                record.task_id,
                record.attempt,
                shown,
                f"\n{printable(clean)}" if error is None and clean else "",
                exc_info=error,
            )
        case Event.RETRY:
            log.warning(
                "task %s (%s) failed in attempt %d of %d and will be tried again: %s",
                record.func_name,
                record.task_id,
                record.attempt,
                record.max_attempts,
                shown,
            )
        case Event.INTERRUPT:
            log.error("task %s (%s) was interrupted", record.func_name, record.task_id)
        case _:
            log.debug("task %s (%s): %s", record.func_name, record.task_id, decision.event)
