"""How `BackgroundTasks` in a path function becomes a managed one.

FastAPI makes the object itself, in `fastapi.dependencies.utils`, by calling the name
``BackgroundTasks``. That name is replaced once per process by a function that asks the request
being served which manager it belongs to. No manager is remembered anywhere but in the request, so
that any number of managers and apps live side by side; outside of a managed app nothing changes.
"""

from __future__ import annotations

import contextvars
import inspect
import typing
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import fastapi.dependencies.utils as fastapi_dependencies
from fastapi import BackgroundTasks
from starlette.types import ASGIApp, Receive, Scope, Send

from taskflow.background import ManagedBackgroundTasks

if TYPE_CHECKING:
    from taskflow.manager import TaskManager


class ServedRequest:
    """The request being served, and the manager of its app."""

    __slots__ = ("auto_install", "manager", "scope")

    def __init__(
        self, manager: TaskManager, scope: MutableMapping[str, Any], auto_install: bool
    ) -> None:
        self.manager = manager
        self.scope = scope
        self.auto_install = auto_install


_served: contextvars.ContextVar[ServedRequest | None] = contextvars.ContextVar(
    "taskflow_request", default=None
)


class RequestMiddleware:
    """Makes the manager known to everything that serves a request of this app."""

    def __init__(self, app: ASGIApp, task_manager: TaskManager, auto_install: bool) -> None:
        self.app = app
        self.task_manager = task_manager
        self.auto_install = auto_install

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        await self.task_manager.ensure_started()
        token = _served.set(ServedRequest(self.task_manager, scope, self.auto_install))
        try:
            await self.app(scope, receive, send)
        finally:
            _served.reset(token)


def background_tasks() -> BackgroundTasks:
    """What FastAPI calls to make the `BackgroundTasks` of a request."""
    served = _served.get()
    if served is None or not (served.auto_install or _asks_for_managed(served.scope)):
        return BackgroundTasks()
    return ManagedBackgroundTasks.of_request(served.manager, served.scope)


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
