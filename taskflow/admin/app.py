"""`TaskAdmin`: what makes an app one with tasks."""

from __future__ import annotations

import re
from collections.abc import Collection
from weakref import WeakKeyDictionary

from fastapi import FastAPI

from taskflow.admin.guard import Auth, Guard
from taskflow.admin.health_routes import check_open_routes, make_open_router
from taskflow.admin.lifespan import attach_lifespan
from taskflow.admin.refusals import answer_refusals
from taskflow.admin.routes import make_router, scope_of
from taskflow.errors import SettingsError, TaskflowError
from taskflow.injection import RequestMiddleware, install
from taskflow.manager import TaskManager

#: The paths of the admins that an app has.
_taken: WeakKeyDictionary[FastAPI, set[str]] = WeakKeyDictionary()


class TaskAdmin:
    """Attaches ``task_manager`` to ``app``: its life, its injection, its REST API and dashboard.

    The API is under ``path``, the dashboard under ``path/dashboard``. With ``auto_install`` every
    plain `BackgroundTasks` of the app is a managed one; without, those annotated as
    `ManagedBackgroundTasks` are. ``title`` is what the dashboard calls the app.

    ``auth`` says who may use API and dashboard: a ``(user, password)`` pair or a list of them (HTTP
    Basic; serve it by HTTPS), or any FastAPI dependency, which lets in by returning and keeps out
    by raising. ``(user, password, "view")`` may only look, and so may whoever a dependency returns
    ``"view"`` for, or something with the role ``"view"``. Without ``auth`` they are open to
    requests made on this machine, to a loopback host and past no proxy, and closed altogether with
    ``TASKFLOW_ENV=production``. Everybody else gets 404. Starlette's test client counts as a
    stranger: give ``auth`` in such tests.

    ``open_routes`` names routes that anybody may read, past ``auth`` and everything else that keeps
    people out: ``"health"`` for `/health`, ``"metrics"`` for `/metrics.prom`. Default: none.

    Raises `SettingsError` for a wrong ``path``, ``auth`` or ``open_routes`` or a second admin under
    one path, and `TaskflowError` for an app that has been started already.
    """

    def __init__(
        self,
        app: FastAPI,
        task_manager: TaskManager,
        path: str = "/tasks",
        *,
        auto_install: bool = False,
        auth: Auth = None,
        title: str = "taskflow",
        open_routes: Collection[str] = (),
    ) -> None:
        # Whatever can be refused is refused before anything is changed.
        self.path = _check_path(app, path)
        self.guard = Guard(auth, production=task_manager.settings.env == "production")
        opened = check_open_routes(open_routes)
        if app.middleware_stack is not None:
            raise TaskflowError(
                "the app has served requests already: create TaskAdmin where the app is created"
            )
        self.app = app
        self.task_manager = task_manager
        _taken.setdefault(app, set()).add(self.path)

        install()
        attach_lifespan(app, task_manager)
        app.add_middleware(RequestMiddleware, task_manager=task_manager, auto_install=auto_install)
        answer_refusals(app)
        self.router = make_router(
            task_manager,
            self.path,
            title=title,
            dependencies=self.guard.dependencies,
            without=opened,
        )
        if opened:
            # First, or their names would count as ids of tasks.
            scope = scope_of(self.path)
            app.include_router(make_open_router(task_manager, self.path, scope, opened))
        app.include_router(self.router, include_in_schema=not self.guard.closed)
        self.guard.announce(self.path)


def _check_path(app: FastAPI, path: str) -> str:
    clean = path.rstrip("/")
    if not re.fullmatch(r"(/[\w.~-]+)+", clean):
        raise SettingsError(f"path={path!r}: give a path like '/tasks', not the root of the app")
    if clean in _taken.get(app, ()):
        raise SettingsError(f"path={path!r}: this app has a TaskAdmin there; give another path")
    return clean
