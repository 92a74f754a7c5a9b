"""The routes for whoever watches the app: a load balancer, Kubernetes, Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from taskflow.admin.health import ALIVE, Doctor, Health, Signs, judge
from taskflow.admin.prom import CONTENT_TYPE, scrape
from taskflow.admin.route import AdminRoute, AdminRouter
from taskflow.errors import SettingsError
from taskflow.manager import TaskManager

_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": Health, "description": "Not ready"}}
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}
}


class ProbedRoute(AdminRoute):
    """A GET route that answers HEAD, too: the server leaves out the body.

    Declaring both methods would put two operations of one id into the OpenAPI document. What it
    answers has no data of tasks in it, so that there is no secret to hide.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(_as_get(scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().handle(_as_get(scope), receive, send)


def _as_get(scope: Scope) -> Scope:
    return {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope


def add_health(
    router: APIRouter, scope: str, task_manager: TaskManager, *, without: Collection[str] = ()
) -> None:
    """Add both to ``router``, but those named in ``without``."""
    for name, add in _ROUTES.items():
        if name not in without:
            add(router, scope, task_manager)


def check_open_routes(names: object) -> frozenset[str]:
    """``open_routes`` of an admin; raises `SettingsError` for a name that is none of them."""
    known = ", ".join(map(repr, _ROUTES))
    if isinstance(names, str) or not isinstance(names, Collection):
        raise SettingsError(f"open_routes={names!r:.100}: give a tuple of names, of {known}")
    for name in names:
        if name not in tuple(_ROUTES):
            raise SettingsError(f"open_routes: {name!r:.100} cannot be opened, only {known}")
    return frozenset(names)


def make_open_router(
    task_manager: TaskManager, path: str, scope: str, names: Collection[str]
) -> APIRouter:
    """A router of its own for the routes ``names``: before the guarded one, and without a guard."""
    router = AdminRouter(prefix=path, tags=["tasks"], route_class=AdminRoute)
    add_health(router, scope, task_manager, without=_ROUTES.keys() - names)
    return router


def _add_check(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    """Add ``/health`` to ``router``."""
    doctor_of = _per_engine(task_manager)

    async def health(
        response: Response,
        live: Annotated[
            str | None, Query(max_length=20, description="only whether the process answers")
        ] = None,
    ) -> Health:
        """Whether this instance is alive (`?live`), ready for requests, and well."""
        if live is not None:
            return ALIVE
        doctor = doctor_of()
        found = judge(Signs(running=False) if doctor is None else await doctor.look())
        if not found.ready:
            response.status_code = 503
        return found

    router.add_api_route(
        "/health",
        health,
        methods=["GET"],
        operation_id=f"{scope}_health",
        responses=_NOT_READY,
        route_class_override=ProbedRoute,
    )


def _add_metrics(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    """Add ``/metrics.prom`` to ``router``."""

    async def metrics_text() -> Response:
        """Figures of this instance in the text format of Prometheus."""
        return Response(scrape(task_manager.engine), headers={"Content-Type": CONTENT_TYPE})

    router.add_api_route(
        "/metrics.prom",
        metrics_text,
        methods=["GET"],
        operation_id=f"{scope}_metrics_text",
        response_class=Response,
        responses=_TEXT,
        route_class_override=ProbedRoute,
    )


#: What can be opened, by name.
_ROUTES: dict[str, Callable[[APIRouter, str, TaskManager], None]] = {
    "health": _add_check,
    "metrics": _add_metrics,
}


def _per_engine(task_manager: TaskManager) -> Callable[[], Doctor | None]:
    """What a doctor knows must not outlive the engine, and the event loop, that it is about."""
    current: Doctor | None = None

    def doctor() -> Doctor | None:
        nonlocal current
        if not task_manager.is_running:
            return None
        engine = task_manager.engine
        if current is None or current.engine is not engine:
            current = Doctor(engine)
        return current

    return doctor
