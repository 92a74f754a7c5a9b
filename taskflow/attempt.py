"""One attempt at a task, in the form that a lane can run."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from executors.base import Call
from executors.outcomes import Cancelled, Outcome, TimedOut
from taskflow.child import Order, Reply, refuse_awaitable, run_order
from taskflow.codec import encode_result
from taskflow.context import TaskContext
from taskflow.definition import TaskDefinition
from taskflow.messages import decode
from taskflow.record import TaskRecord

if TYPE_CHECKING:
    from taskflow.journals import Journals, LiveJournal


class Reporter(Protocol):
    """Whom an attempt tells what happens to it: the dispatcher."""

    journals: Journals

    def record_start(self, attempt: Attempt, proceed: Callable[[], None]) -> bool:
        """Write down that it runs, then call ``proceed``."""
        ...

    def started(self, attempt: Attempt) -> None:
        """It has its slot and starts now."""
        ...

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """It ended; called exactly once."""
        ...


class Attempt(Call):
    """A call that reports to the dispatcher."""

    __slots__ = (
        "begun",
        "definition",
        "entered",
        "journal",
        "max_result_bytes",
        "record",
        "reporter",
        "revoked",
        "superseded",
    )

    def __init__(
        self,
        record: TaskRecord,
        definition: TaskDefinition,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        context: contextvars.Context,
        max_result_bytes: int,
    ) -> None:
        # Call.__init__ in line: this runs once for every task.
        self.function: Callable[..., object] = definition.function
        self.args = args
        self.kwargs = kwargs
        self.timeout = record.timeout
        self.priority = record.priority
        self.context = context
        self.cancelled = False
        self.handle = None
        self.record = record
        self.definition = definition
        self.max_result_bytes = max_result_bytes
        #: Set when the attempt is handed to a lane.
        self.reporter: Reporter | None = None
        #: What it said, once it said something; see `open_journal`.
        self.journal: LiveJournal | None = None
        #: Whether its lane has it.
        self.entered = False
        #: Whether any of the function's code may have run.
        self.begun = False
        #: A person cancelled it; `cancelled` alone can also mean that the app stops.
        self.revoked = False
        #: Somebody else holds the task now: whatever comes of this attempt is dropped.
        self.superseded = False

    def convert(self, value: object) -> Reply:
        """Encode the result where it was made: in a thread it holds up nobody else."""
        value = refuse_awaitable(value, self.definition.function)
        return Reply(*encode_result(value, self.max_result_bytes))

    def for_worker_process(self) -> None:
        """Turn it into a call that a worker process can run: the stored arguments, not objects."""
        record = self.record
        assert self.reporter is not None
        capture = self.reporter.journals.capture
        order = Order(
            self.definition.function,
            record.args,
            record.task_id,
            record.func_name,
            record.attempt + 1,
            self.max_result_bytes,
            capture.log_level,
            capture.prints,
        )
        self.function = run_order
        self.args = (order,)
        self.kwargs = {}
        self.memory_limit = self.definition.memory_limit

    def task_context(self) -> TaskContext:
        """What the running code may know of its task."""
        record = self.record
        return TaskContext(
            record.task_id, record.func_name, record.attempt, self, self.open_journal
        )

    def open_journal(self) -> LiveJournal:
        """Where its lines and its progress go; from any thread."""
        if self.journal is not None:
            return self.journal
        assert self.reporter is not None
        return self.reporter.journals.open(self)

    def on_message(self, data: bytes) -> None:
        """Its code said something in a worker process."""
        message = decode(data)
        if message is not None:
            self.open_journal().take(message)

    def before_start(self, proceed: Callable[[], None]) -> bool:
        """A task that may run only once is on disk as running before it runs."""
        assert self.reporter is not None
        return self.record.at_most_once and self.reporter.record_start(self, proceed)

    def on_start(self) -> None:
        assert self.reporter is not None
        self.reporter.started(self)

    def on_done(self, outcome: Outcome) -> None:
        if self.journal is not None:
            self.journal.end(goes_on=isinstance(outcome, TimedOut | Cancelled))
        assert self.reporter is not None
        self.reporter.ended(self, outcome)
