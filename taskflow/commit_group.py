"""What one commit takes along: new tasks with whoever waits for them, changes, history, logs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from executors.histogram import RecentHistogram
from taskflow.errors import StoreError
from taskflow.record import (
    AttemptRecord,
    Batch,
    Committed,
    LogLine,
    TaskRecord,
    insert_row,
    update_row,
)

log = logging.getLogger(__name__)

#: Told what the store said, or None if the tasks were not stored. Called exactly once.
Settled = Callable[[Committed | None], None]


class Submission:
    """New tasks that are committed together, and the promise that they are."""

    __slots__ = ("expires", "failed", "future", "records", "settled")

    def __init__(
        self,
        records: list[TaskRecord],
        future: asyncio.Future[None],
        expires: float,
        settled: Settled,
    ) -> None:
        self.records = records
        self.future = future
        self.expires = expires
        self.settled = settled
        #: Whether whoever added the tasks was told that they are not stored.
        self.failed = False

    def succeed(self, committed: Committed) -> None:
        """Tell the caller first, so that its response goes out before its tasks start.

        A caller that was cancelled meanwhile takes nothing back: its tasks are stored.
        """
        if not self.future.done():
            self.future.set_result(None)
        self._settle(committed)

    def fail(self, error: Exception) -> None:
        """The tasks are not stored, or count as such from now on."""
        if not self.failed:
            self.failed = True
            fail_future(self.future, as_store_error(error))
            self._settle(None)

    def _settle(self, committed: Committed | None) -> None:
        try:
            self.settled(committed)
        except Exception:  # must not cost the others their commit
            log.exception("new tasks could not be started; the next start of the app will")


class Group:
    """What one commit takes along."""

    __slots__ = ("attempts", "flushers", "logs", "submissions", "touched")

    def __init__(
        self,
        submissions: list[Submission],
        touched: list[TaskRecord],
        attempts: list[AttemptRecord],
        logs: list[LogLine],
    ) -> None:
        self.submissions = submissions
        self.touched = touched
        self.attempts = attempts
        self.logs = logs
        self.flushers: list[asyncio.Future[None]] = []

    def batch(self) -> Batch:
        """The rows, as the records are at this moment."""
        batch = Batch(
            updates=[update_row(record) for record in self.touched],
            attempts=self.attempts,
            logs=self.logs,
        )
        for submission in self.submissions:
            for record in submission.records:
                rows = batch.inserts if record.idempotency_key is None else batch.keyed
                rows.append(insert_row(record))
        return batch

    def ids(self) -> list[str]:
        """The tasks that it is about, but for those of submissions."""
        rows = (self.touched, self.attempts, self.logs)
        return [row.task_id for kind in rows for row in kind]

    def parts(self) -> list[Group]:
        """Everything but the submissions, one by one."""
        return [
            *(Group([], [record], [], []) for record in self.touched),
            *(Group([], [], [attempt], []) for attempt in self.attempts),
            *(Group([], [], [], [line]) for line in self.logs),
        ]


class Tally:
    """What was committed since the start."""

    __slots__ = ("added", "latency")

    def __init__(self) -> None:
        #: New tasks.
        self.added = 0
        #: Seconds that commits took, the way to the thread that writes and back included.
        self.latency = RecentHistogram()

    def note(self, group: Group, committed: Committed, seconds: float) -> None:
        """A group was committed."""
        self.latency.add(seconds)
        new = sum(len(each.records) for each in group.submissions if not each.failed)
        self.added += max(new - len(committed.duplicates), 0)


def fail_future(future: asyncio.Future[None], error: StoreError) -> None:
    """Tell whoever waits, if somebody still does."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # a caller that went away must not cause a warning


def as_store_error(error: Exception) -> StoreError:
    """Any surprise of a store as the error that callers expect."""
    if isinstance(error, StoreError):
        return error
    return StoreError(f"{type(error).__name__}: {error}")
