"""What running code can know and say about its own task."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from taskflow.errors import TaskflowError
from taskflow.journal import Journal
from taskflow.messages import make_progress

_outside = logging.getLogger("taskflow.task")


class TaskCancelledError(TaskflowError):
    """Raised by `TaskContext.raise_if_cancelled` in a thread whose task was cancelled."""


class CancelFlag(Protocol):
    """Something that knows whether cancellation was asked for."""

    cancelled: bool


class TaskContext:
    """The task that the current code belongs to."""

    __slots__ = ("_flag", "_open_journal", "attempt", "func_name", "task_id")

    def __init__(
        self,
        task_id: str,
        func_name: str,
        attempt: int,
        flag: CancelFlag | None,
        open_journal: Callable[[], Journal],
    ) -> None:
        self.task_id = task_id
        self.func_name = func_name
        #: Attempts so far, this one included; the first is 1.
        self.attempt = attempt
        self._flag = flag
        self._open_journal = open_journal

    @property
    def cancelled(self) -> bool:
        """Whether the task was cancelled or timed out while it runs.

        A coroutine is cancelled and a worker process is killed, so this matters in threads,
        which nothing else can stop.
        """
        return self._flag is not None and self._flag.cancelled

    def raise_if_cancelled(self) -> None:
        """Raise `TaskCancelledError` if the task was cancelled."""
        if self.cancelled:
            raise TaskCancelledError(f"task {self.task_id} was cancelled")

    def task_context(self) -> TaskContext:
        """Itself, see `RunningTask`."""
        return self

    def open_journal(self) -> Journal:
        """Where its lines and its progress go."""
        return self._open_journal()

    def log(self, message: str, level: str = "info") -> None:
        """Add a line to the log of the task, see `task_log`."""
        self._open_journal().line(str(level), str(message))

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far the task is, see `progress`."""
        self._open_journal().show(make_progress(done, total, message))

    def __repr__(self) -> str:
        return f"<TaskContext {self.func_name} {self.task_id} attempt {self.attempt}>"


class RunningTask(Protocol):
    """Whatever can say which task it is; the answer is made only when somebody asks."""

    def task_context(self) -> TaskContext: ...

    def open_journal(self) -> Journal: ...


running_task: contextvars.ContextVar[RunningTask | None] = contextvars.ContextVar(
    "taskflow_running_task", default=None
)


def get_task_context() -> TaskContext | None:
    """The running task, or None outside of one."""
    running = running_task.get()
    return None if running is None else running.task_context()


def task_log(message: object, *, level: str = "info", **extra: object) -> None:
    """Add a line to the log of the running task, shown with the task; any lane, any thread.

    ``extra`` is appended as ``key=value``. A line is cut at 8192 characters; of one attempt 10,000
    lines and 1 MiB are kept, and the last line says how many were left out. Control characters are
    stored as escapes. Outside a task it goes to the logger ``taskflow.task``.
    """
    running = running_task.get()
    if running is None:
        number = logging.getLevelNamesMapping().get(str(level).upper(), logging.INFO)
        _outside.log(number, "%s", _with_extra(message, extra))
        return
    journal = running.open_journal()
    # What is only counted need not be put together.
    journal.line(str(level), "" if journal.full else _with_extra(message, extra))


def _with_extra(message: object, extra: Mapping[str, object]) -> str:
    return " ".join((str(message), *(f"{key}={value!r}" for key, value in extra.items())))


def progress(done: float, total: float | None = None, message: str = "") -> None:
    """Say how far the running task is: ``progress(3, 10)`` or ``progress(512.5, message="MiB")``.

    Any lane, any thread, as often as you like: the newest wins, is stored about ten times a second,
    and the last one always. The next attempt starts without. ``message`` is cut at 200 characters.
    Outside a task it does nothing.

    Raises `TypeError` for what is not a number, and `ValueError` for a number that is not finite or
    a total that is not greater than 0.
    """
    value = make_progress(done, total, message)
    running = running_task.get()
    if running is not None:
        running.open_journal().show(value)
