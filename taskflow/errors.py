"""Every error of taskflow. Each names the offending value and the way out.

TaskflowError
├── SettingsError               a setting is out of range (also ValueError)
├── TaskDefinitionError         a task was declared wrongly (also ValueError)
│   └── DuplicateTaskError
├── TaskOptionError             an option of one call is wrong (also ValueError)
├── ScheduleError               a schedule cannot work like that (also ValueError)
│   └── UnknownScheduleError    (also LookupError)
├── TaskArgumentError           an argument cannot be stored or does not fit (also TypeError)
├── NotStartedError             the manager does not run (yet, or any more)
├── QueueFullError              back-pressure: no room for another task
├── TaskFailedError             `TaskHandle.result()` of a task that did not succeed
├── ResultUnavailableError      the task succeeded, its result could not be stored
└── StoreError                  the store cannot be used
    └── StoreUnavailableError   ... right now; trying later helps
"""

from __future__ import annotations


class TaskflowError(Exception):
    """Base of every error of taskflow."""


class SettingsError(TaskflowError, ValueError):
    """A setting from the environment or from `TaskManager` is out of its range."""


class TaskDefinitionError(TaskflowError, ValueError):
    """A task function was declared with options that cannot work."""


class DuplicateTaskError(TaskDefinitionError):
    """Two functions were declared under one task name."""


class TaskOptionError(TaskflowError, ValueError):
    """An option given to one `add_task` or `enqueue` cannot work."""


class ScheduleError(TaskflowError, ValueError):
    """A rule that no schedule can keep to, or a change of a schedule that cannot be made."""


class UnknownScheduleError(ScheduleError, LookupError):
    """No schedule has this name."""


class TaskArgumentError(TaskflowError, TypeError):
    """An argument does not fit the function, or would not survive being stored."""


class NotStartedError(TaskflowError, RuntimeError):
    """Work was handed to a manager that does not run."""


class QueueFullError(TaskflowError):
    """There is no room for another task. ``retry_after`` is a guess in seconds."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.retry_after)


class TaskFailedError(TaskflowError):
    """The task of a handle ended without success. ``status`` and ``error`` say how."""

    def __init__(self, task_id: str, status: str, error: str | None) -> None:
        super().__init__(f"task {task_id} is {status}" + (f": {error}" if error else ""))
        self.task_id = task_id
        self.status = status
        self.error = error

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.task_id, self.status, self.error)


class ResultUnavailableError(TaskflowError):
    """The task succeeded, but what it returned could not be stored."""


class StoreError(TaskflowError):
    """The store cannot be used as it is."""


class StoreUnavailableError(StoreError):
    """The store does not answer now: locked, full or away. Nothing was written."""
