"""The routes about plans: tasks that wait for one moment."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from taskflow.admin.models import Problem
from taskflow.admin.schedule_models import PlanList
from taskflow.admin.schedules import present_plan
from taskflow.errors import TaskOptionError
from taskflow.manager import TaskManager

DEFAULT_LIMIT = 50


def add_plans(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    """Add them to ``router``."""

    @router.get("/scheduled", operation_id=f"{scope}_plans")
    async def plans(limit: Annotated[int, Query(ge=1, le=200)] = DEFAULT_LIMIT) -> PlanList:
        """The tasks that wait for their moment, the next one first."""
        found = await task_manager.list_scheduled(limit + 1)
        return PlanList(
            items=[present_plan(plan) for plan in found[:limit]], more=len(found) > limit
        )

    @router.delete(
        "/scheduled/{run_key:path}",
        operation_id=f"{scope}_cancel_plan",
        status_code=204,
        responses={
            403: {"model": Problem, "description": "Sent by a page of another origin"},
            404: {"model": Problem, "description": "No plan waits under this key"},
            422: {"model": Problem, "description": "No key at all"},
        },
    )
    async def cancel_plan(run_key: str) -> None:
        """Cancel the plan with this key; one that was made without has the id of its task."""
        try:
            cancelled = await task_manager.cancel_scheduled(run_key)
        except TaskOptionError as error:
            raise HTTPException(422, str(error)) from error
        if not cancelled:
            raise HTTPException(
                404,
                f"no plan waits under the key {run_key!r:.100}: it has started, or there was none; "
                "a task that was added with run_in or run_at is cancelled by its id",
            )
