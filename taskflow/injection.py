"""How `BackgroundTasks` in a path function becomes a managed one.

FastAPI makes the object itself, in `fastapi.dependencies.utils`, by calling the name
``BackgroundTasks``. That name is replaced once per process by a function that asks the request
being served which manager it belongs to. No manager is remembered anywhere but in the request, so
that any number of managers and apps live side by side; outside of a managed app nothing changes.
"""

from __future__ import annotations

import contextvars
import inspect
import json
import logging
import math
import typing
from collections.abc import Callable, MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

import fastapi.dependencies.utils as fastapi_dependencies
from fastapi import BackgroundTasks
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskflow.background import ManagedBackgroundTasks, Manager
from taskflow.errors import QueueFullError, StoreUnavailableError, TaskflowError

log = logging.getLogger(__name__)


class ServedRequest:
    """The request being served, and the manager of its app."""

    __slots__ = ("auto_install", "manager", "scope", "tasks")

    def __init__(
        self, manager: Manager, scope: MutableMapping[str, Any], auto_install: bool
    ) -> None:
        self.manager = manager
        self.scope = scope
        self.auto_install = auto_install
        #: What was handed out and must be on disk before the response starts.
        self.tasks: list[ManagedBackgroundTasks] = []


_served: contextvars.ContextVar[ServedRequest | None] = contextvars.ContextVar(
    "taskflow_request", default=None
)


class RequestMiddleware:
    """Tells whatever serves a request which manager it has; holds the response until the commit.

    A commit that fails turns the response, which has not started, into a 503, or into a 429 if
    there was no room for the tasks.
    """

    def __init__(self, app: ASGIApp, task_manager: Manager, auto_install: bool) -> None:
        self.app = app
        self.task_manager = task_manager
        self.auto_install = auto_install

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if not self.task_manager.is_running_here():
            await self.task_manager.ensure_started()
        served = ServedRequest(self.task_manager, scope, self.auto_install)
        problem: TaskflowError | None = None

        async def send_when_committed(message: Message) -> None:
            nonlocal problem
            if served.tasks and message["type"] == "http.response.start":
                problem = await _commit(served.tasks)
                if problem is not None:
                    await _send_refusal(send, problem)
            if problem is None:
                await send(message)

        token = _served.set(served)
        try:
            await self.app(scope, receive, send_when_committed)
        finally:
            _served.reset(token)


async def _commit(tasks: list[ManagedBackgroundTasks]) -> TaskflowError | None:
    """Commit what a request added; why that could not be, None if it could."""
    try:
        for each in tasks:
            await each.commit_for_response()
    except (StoreUnavailableError, QueueFullError) as error:
        if isinstance(error, StoreUnavailableError):
            log.error("answered 503, because the tasks of a request could not be stored: %s", error)
        for each in tasks:
            each.drop()
        return error
    return None


async def _send_refusal(send: Send, problem: TaskflowError) -> None:
    if isinstance(problem, QueueFullError):
        status, detail = 429, "too many tasks are waiting; try again later"
        seconds = max(1, math.ceil(problem.retry_after))
    else:
        status, detail, seconds = 503, "the task could not be stored; try again later", 1
    body = json.dumps({"detail": detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"retry-after", str(seconds).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def tasks_of_request(manager: Manager, scope: MutableMapping[str, Any]) -> ManagedBackgroundTasks:
    """Tasks that the response of this request waits for."""
    served = _served.get()
    tasks = ManagedBackgroundTasks.of_request(manager, scope, held=served is not None)
    if served is not None:
        served.tasks.append(tasks)
    return tasks


def background_tasks() -> BackgroundTasks:
    """What FastAPI calls to make the `BackgroundTasks` of a request."""
    served = _served.get()
    if served is None or not (served.auto_install or _asks_for_managed(served.scope)):
        return BackgroundTasks()
    return tasks_of_request(served.manager, served.scope)


def install() -> None:
    """Let FastAPI ask `background_tasks`; once per process is enough, more does no harm."""
    if not hasattr(fastapi_dependencies, "BackgroundTasks"):
        raise RuntimeError(
            "this version of FastAPI makes its BackgroundTasks elsewhere: use "
            "Depends(task_manager.get_tasks), and report the version to taskflow"
        )
    fastapi_dependencies.BackgroundTasks = background_tasks


#: Whether a path function or one of its dependencies is annotated with the managed class.
_wishes: WeakKeyDictionary[Callable[..., Any], bool] = WeakKeyDictionary()


def _asks_for_managed(scope: MutableMapping[str, Any]) -> bool:
    dependant = getattr(scope.get("route"), "dependant", None)
    waiting = [dependant] if dependant is not None else []
    while waiting:
        node = waiting.pop()
        if node.call is not None and node.background_tasks_param_name and _wants_managed(node.call):
            return True
        waiting += node.dependencies
    return False


def _wants_managed(function: Callable[..., Any]) -> bool:
    try:
        return _wishes[function]
    except KeyError:
        wish = any(
            isinstance(annotation, type) and issubclass(annotation, ManagedBackgroundTasks)
            for annotation in _annotations(function)
        )
        _wishes[function] = wish
        return wish
    except TypeError:  # a callable without weak references is looked at each time
        return any(
            isinstance(annotation, type) and issubclass(annotation, ManagedBackgroundTasks)
            for annotation in _annotations(function)
        )


def _annotations(function: Callable[..., Any]) -> list[object]:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return list(typing.get_type_hints(target).values())
    except (NameError, TypeError):
        # A name that exists only while type checking; FastAPI resolved what it needed itself.
        return [p.annotation for p in inspect.signature(function).parameters.values()]
