"""Durable background tasks for FastAPI, inside the app's own process."""

from taskflow.admin.app import TaskAdmin
from taskflow.background import ManagedBackgroundTasks
from taskflow.context import TaskCancelledError, TaskContext, get_task_context, task_log
from taskflow.errors import (
    DuplicateTaskError,
    NotStartedError,
    QueueFullError,
    ResultUnavailableError,
    SettingsError,
    StoreError,
    StoreUnavailableError,
    TaskArgumentError,
    TaskDefinitionError,
    TaskFailedError,
    TaskflowError,
    TaskOptionError,
)
from taskflow.handle import TaskHandle
from taskflow.manager import TaskManager
from taskflow.settings import Settings
from taskflow.signals import Fail, Retry, Snooze
from taskflow.states import TaskStatus

__version__ = "0.1.0"

__all__ = [
    "DuplicateTaskError",
    "Fail",
    "ManagedBackgroundTasks",
    "NotStartedError",
    "QueueFullError",
    "ResultUnavailableError",
    "Retry",
    "Settings",
    "SettingsError",
    "Snooze",
    "StoreError",
    "StoreUnavailableError",
    "TaskAdmin",
    "TaskArgumentError",
    "TaskCancelledError",
    "TaskContext",
    "TaskDefinitionError",
    "TaskFailedError",
    "TaskHandle",
    "TaskManager",
    "TaskOptionError",
    "TaskStatus",
    "TaskflowError",
    "get_task_context",
    "task_log",
]
