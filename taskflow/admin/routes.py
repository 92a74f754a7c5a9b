"""The REST API of the admin.

Rule: fixed names are declared before ``{task_id}``, so that they win.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import BeforeValidator

from taskflow.admin.actions import cancel, discard, find, retry, retry_edited
from taskflow.admin.audit import Audit
from taskflow.admin.audit_routes import add_audit
from taskflow.admin.body import JsonBody
from taskflow.admin.bulk_routes import add_bulk
from taskflow.admin.event_routes import add_events
from taskflow.admin.export import add_export
from taskflow.admin.facts import gather
from taskflow.admin.figures import Figures
from taskflow.admin.health_routes import add_health
from taskflow.admin.history_routes import add_history
from taskflow.admin.lane_routes import add_lanes
from taskflow.admin.me import add_me
from taskflow.admin.models import Metrics, Problem, Task, TaskDetail, TaskList
from taskflow.admin.outgoing import Outgoing
from taskflow.admin.plan_routes import add_plans
from taskflow.admin.present import present, present_listed, present_whole
from taskflow.admin.route import AdminRoute, AdminRouter
from taskflow.admin.schedule_routes import add_schedules
from taskflow.admin.search_models import Edited
from taskflow.admin.search_routes import Line, Looks, add_search, list_matching
from taskflow.admin.system_routes import add_system
from taskflow.admin.waiting import explain
from taskflow.dashboard import add_pages
from taskflow.manager import TaskManager
from taskflow.record import TaskFilter
from taskflow.states import TaskStatus

DEFAULT_LIMIT = 50
MOST_LOGS = 1000

TaskId = Annotated[str, Path(max_length=200)]
#: An empty value, as an HTML form sends it, means none.
Status = Annotated[TaskStatus | None, BeforeValidator(lambda value: value or None)]
Limit = Annotated[int, BeforeValidator(lambda value: value or DEFAULT_LIMIT)]

_EDITED = JsonBody(Edited)

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "Unknown task"}}
_REFUSED: dict[int | str, dict[str, Any]] = {
    **_MISSING,
    403: {"model": Problem, "description": "Sent by a page of another origin"},
    409: {"model": Problem, "description": "The state of the task does not allow it"},
}


def make_router(
    task_manager: TaskManager,
    path: str,
    *,
    title: str,
    dependencies: Sequence[Any],
    without: Collection[str] = (),
) -> APIRouter:
    """The router of the admin under ``path``, every route behind ``dependencies``.

    Those named in ``without`` are left out: they are open, in a router of their own.
    """
    outgoing = Outgoing(task_manager)
    router = AdminRouter(
        prefix=path,
        tags=["tasks"],
        dependencies=list(dependencies),
        route_class=AdminRoute.through(outgoing, Audit(task_manager, path)),
    )
    scope = scope_of(path)
    figures_of = _per_engine(task_manager)
    _add_overview(router, scope, task_manager, figures_of)
    add_search(router, scope, _looks_of(figures_of))
    add_bulk(router, scope, task_manager)
    add_export(router, scope, task_manager, outgoing)
    add_lanes(router, scope, figures_of)
    add_schedules(router, scope, task_manager)
    add_plans(router, scope, task_manager)
    add_events(router, scope, figures_of, outgoing)
    add_health(router, scope, task_manager, without=without)
    add_me(router, scope, task_manager, title=title)
    add_audit(router, scope, task_manager)
    add_history(router, scope, task_manager)
    add_system(router, scope, task_manager)
    add_pages(router, title=title)
    _add_task(router, scope, task_manager)
    _add_actions(router, scope, task_manager, outgoing)
    return router


def scope_of(path: str) -> str:
    """What operation ids begin with: two admins in one app need ids of their own."""
    return path.strip("/").replace("/", "_").replace("-", "_")


def _per_engine(task_manager: TaskManager) -> Callable[[], Figures]:
    """Figures must not outlive the engine, and the event loop, that they are taken from."""
    current: Figures | None = None

    def figures() -> Figures:
        nonlocal current
        engine = task_manager.engine
        if current is None or current.engine is not engine:
            current = Figures(engine)
        return current

    return figures


def _looks_of(figures_of: Callable[[], Figures]) -> Callable[[], Looks]:
    """What is kept for many viewers goes with the figures."""
    current: Looks | None = None

    def looks() -> Looks:
        nonlocal current
        figures = figures_of()
        if current is None or current.figures is not figures:
            current = Looks(figures)
        return current

    return looks


def _add_overview(
    router: APIRouter,
    scope: str,
    task_manager: TaskManager,
    figures_of: Callable[[], Figures],
) -> None:
    @router.get("/", include_in_schema=False)
    @router.get("", operation_id=f"{scope}_list")
    async def list_tasks(
        q: Annotated[
            str,
            Query(max_length=200, description="a part of the function's name, or an id"),
        ] = "",
        query: Line = "",
        status: Annotated[Status, Query()] = None,
        limit: Annotated[Limit, Query(ge=1, le=200)] = DEFAULT_LIMIT,
        cursor: Annotated[
            str, Query(max_length=500, description="next_cursor of the page before")
        ] = "",
    ) -> TaskList:
        """Tasks, newest first; those that match ``query``, ``q`` and ``status``."""
        engine = task_manager.engine
        await engine.settle()
        if query.strip() or q:
            return await list_matching(engine, query, q, status, limit, cursor)
        wanted = TaskFilter(status=status, limit=limit, cursor=cursor or None)
        try:
            page = await engine.store.list(wanted)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        now = engine.clock.now()
        items = [present_listed(record, now, engine.redactor) for record in page.items]
        return TaskList(items=items, next_cursor=page.next_cursor)

    @router.get("/metrics", operation_id=f"{scope}_metrics")
    async def metrics() -> Metrics:
        """Figures over all tasks; a second old at most, or more where there are very many."""
        return await figures_of().metrics()


def _add_task(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    @router.get("/{task_id}", operation_id=f"{scope}_get", responses=_MISSING)
    async def get_task(task_id: TaskId) -> TaskDetail:
        """One task with its history, its log, and why it waits."""
        engine = task_manager.engine
        record = await find(engine, task_id)
        attempts = await engine.store.attempts(task_id)
        logs = await engine.store.logs(task_id, MOST_LOGS)
        return present_whole(
            record,
            engine.clock.now(),
            attempts=attempts,
            logs=logs,
            waiting_for=explain(record, await gather(engine, record)),
        )


def _add_actions(
    router: APIRouter, scope: str, task_manager: TaskManager, outgoing: Outgoing
) -> None:
    @router.post(
        "/{task_id}/retry",
        operation_id=f"{scope}_retry",
        responses={
            **_REFUSED,
            201: {"model": Task, "description": "A new task, with the arguments of the body"},
            422: {"model": Problem, "description": "Arguments that do not fit the function"},
        },
        openapi_extra=_EDITED.optional_schema,
    )
    async def retry_task(task_id: TaskId, request: Request, response: Response) -> Task:
        """Run a final task again, with a fresh budget of attempts; or another one like it."""
        engine = task_manager.engine
        edited = await _EDITED.read_if_any(request)
        if edited:
            response.status_code = 201
            record = await retry_edited(task_manager, outgoing, task_id, edited)
        else:
            record = await retry(engine, task_id)
        return present(record, engine.clock.now())

    @router.post(
        "/{task_id}/discard",
        operation_id=f"{scope}_discard",
        status_code=204,
        responses=_REFUSED,
    )
    async def discard_task(task_id: TaskId) -> None:
        """Delete a final task with its history and its log."""
        await discard(task_manager.engine, task_id)

    @router.post(
        "/{task_id}/cancel",
        operation_id=f"{scope}_cancel",
        responses={**_REFUSED, 202: {"model": Task, "description": "It still runs, but will end"}},
    )
    async def cancel_task(task_id: TaskId, response: Response) -> Task:
        """Cancel a task that waits or runs anywhere; another instance hears of it by the store."""
        engine = task_manager.engine
        record, ended = await cancel(engine, task_id)
        if not ended:
            response.status_code = 202
        return present(record, engine.clock.now())
