"""Durable background tasks for FastAPI, inside the app's own process."""

from taskflow.admin.app import TaskAdmin
from taskflow.background import ManagedBackgroundTasks
from taskflow.context import TaskCancelledError, TaskContext, get_task_context, progress, task_log
from taskflow.errors import (
    DuplicateTaskError,
    NotStartedError,
    QueueFullError,
    ResultUnavailableError,
    ScheduleError,
    SettingsError,
    StoreError,
    StoreUnavailableError,
    TaskArgumentError,
    TaskDefinitionError,
    TaskFailedError,
    TaskflowError,
    TaskOptionError,
    UnknownScheduleError,
)
from taskflow.feed import LineWritten, Missed, Progressed, TaskChanged
from taskflow.gate import QueueConfig
from taskflow.handle import TaskHandle
from taskflow.manager import TaskManager
from taskflow.once import ScheduledTask
from taskflow.schedules.state import ScheduleState
from taskflow.settings import Settings
from taskflow.signals import Fail, Retry, Snooze
from taskflow.states import TaskStatus

__version__ = "0.1.0"

__all__ = [
    "DuplicateTaskError",
    "Fail",
    "LineWritten",
    "ManagedBackgroundTasks",
    "Missed",
    "NotStartedError",
    "Progressed",
    "QueueConfig",
    "QueueFullError",
    "ResultUnavailableError",
    "Retry",
    "ScheduleError",
    "ScheduleState",
    "ScheduledTask",
    "Settings",
    "SettingsError",
    "Snooze",
    "StoreError",
    "StoreUnavailableError",
    "TaskAdmin",
    "TaskArgumentError",
    "TaskCancelledError",
    "TaskChanged",
    "TaskContext",
    "TaskDefinitionError",
    "TaskFailedError",
    "TaskHandle",
    "TaskManager",
    "TaskOptionError",
    "TaskStatus",
    "TaskflowError",
    "UnknownScheduleError",
    "get_task_context",
    "progress",
    "task_log",
]
