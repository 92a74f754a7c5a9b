"""The REST API of the admin.

Rule: fixed names are declared before ``{task_id}``, so that they win.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import BeforeValidator

from taskflow.admin.actions import cancel, find, retry
from taskflow.admin.facts import gather
from taskflow.admin.figures import Figures
from taskflow.admin.health_routes import add_health
from taskflow.admin.lane_routes import add_lanes
from taskflow.admin.models import Metrics, Problem, Task, TaskDetail, TaskList
from taskflow.admin.outgoing import Outgoing
from taskflow.admin.plan_routes import add_plans
from taskflow.admin.present import present, present_whole
from taskflow.admin.route import AdminRoute, AdminRouter
from taskflow.admin.schedule_routes import add_schedules
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
    router = AdminRouter(
        prefix=path,
        tags=["tasks"],
        dependencies=list(dependencies),
        route_class=AdminRoute.through(Outgoing(task_manager)),
    )
    scope = scope_of(path)
    figures_of = _per_engine(task_manager)
    _add_overview(router, scope, task_manager, figures_of)
    add_lanes(router, scope, figures_of)
    add_schedules(router, scope, task_manager)
    add_plans(router, scope, task_manager)
    add_health(router, scope, task_manager, without=without)
    add_pages(router, title=title)
    _add_task(router, scope, task_manager)
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
        status: Annotated[Status, Query()] = None,
        limit: Annotated[Limit, Query(ge=1, le=200)] = DEFAULT_LIMIT,
        cursor: Annotated[
            str, Query(max_length=500, description="next_cursor of the page before")
        ] = "",
    ) -> TaskList:
        """Tasks, newest first."""
        engine = task_manager.engine
        await engine.settle()
        query = TaskFilter(q=q or None, status=status, limit=limit, cursor=cursor or None)
        try:
            page = await engine.store.list(query)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        now = engine.clock.now()
        items = [present(record, now) for record in page.items]
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

    @router.post("/{task_id}/retry", operation_id=f"{scope}_retry", responses=_REFUSED)
    async def retry_task(task_id: TaskId) -> Task:
        """Run a final task again, with a fresh budget of attempts."""
        engine = task_manager.engine
        return present(await retry(engine, task_id), engine.clock.now())

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
