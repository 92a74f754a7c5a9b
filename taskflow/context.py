"""What running code can know and say about its own task."""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable
from typing import Protocol

from taskflow.errors import TaskflowError

_outside = logging.getLogger("taskflow.task")


class TaskCancelledError(TaskflowError):
    """Raised by `TaskContext.raise_if_cancelled` in a thread whose task was cancelled."""


class CancelFlag(Protocol):
    """Something that knows whether cancellation was asked for."""

    cancelled: bool


class TaskContext:
    """The task that the current code belongs to."""

    __slots__ = ("_flag", "_write", "attempt", "func_name", "task_id")

    def __init__(
        self,
        task_id: str,
        func_name: str,
        attempt: int,
        flag: CancelFlag | None,
        write: Callable[[TaskContext, str, str], None],
    ) -> None:
        self.task_id = task_id
        self.func_name = func_name
        #: Attempts so far, this one included; the first is 1.
        self.attempt = attempt
        self._flag = flag
        self._write = write

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

    def log(self, message: str, level: str = "info") -> None:
        """Add a line to the log of the task."""
        self._write(self, level, message)

    def __repr__(self) -> str:
        return f"<TaskContext {self.func_name} {self.task_id} attempt {self.attempt}>"


class RunningTask(Protocol):
    """Whatever can say which task it is; the answer is made only when somebody asks."""

    def task_context(self) -> TaskContext: ...


running_task: contextvars.ContextVar[RunningTask | None] = contextvars.ContextVar(
    "taskflow_running_task", default=None
)


def get_task_context() -> TaskContext | None:
    """The running task, or None outside of one."""
    running = running_task.get()
    return None if running is None else running.task_context()


#: A line is cut at this many characters.
LONGEST_LINE = 8192


def task_log(message: object, *, level: str = "info", **extra: object) -> None:
    """Add a line to the log of the running task, shown with the task; any lane, any thread.

    ``extra`` is appended as ``key=value``. Outside a task it goes to the logger ``taskflow.task``.
    """
    text = str(message)
    if extra:
        text = " ".join((text, *(f"{key}={value!r}" for key, value in extra.items())))
    context = get_task_context()
    if context is None:
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        _outside.log(number, "%s", text)
    else:
        context.log(text[:LONGEST_LINE], level)
