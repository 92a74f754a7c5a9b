"""The routes that change all tasks that match a query: first a look, then the deed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from taskflow.admin import bulk
from taskflow.admin.body import JsonBody
from taskflow.admin.models import Problem
from taskflow.admin.search_models import BulkDone, BulkOrder, BulkPreview, BulkQuery
from taskflow.manager import TaskManager

_QUERY = JsonBody(BulkQuery)
_ORDER = JsonBody(BulkOrder)

_WRONG: dict[int | str, dict[str, Any]] = {
    403: {"model": Problem, "description": "Sent by a page of another origin"},
    422: {"model": Problem, "description": "No query, or one that means nothing"},
}


def add_bulk(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    """Add them to ``router``."""

    @router.post(
        "/bulk/preview",
        operation_id=f"{scope}_preview_bulk",
        responses=_WRONG,
        openapi_extra=_QUERY.schema,
    )
    async def preview(body: Annotated[BulkQuery, Depends(_QUERY.read)]) -> BulkPreview:
        """Which tasks an action would be done to; changes nothing."""
        return await bulk.preview(task_manager.engine, body.action, body.query)

    @router.post(
        "/bulk",
        operation_id=f"{scope}_bulk",
        responses={
            **_WRONG,
            409: {"model": Problem, "description": "Other tasks match than in the preview"},
        },
        openapi_extra=_ORDER.schema,
    )
    async def run(body: Annotated[BulkOrder, Depends(_ORDER.read)]) -> BulkDone:
        """Retry, cancel or discard what matches, at most 1000 tasks a call, the newest first."""
        return await bulk.run(
            task_manager.engine, body.action, body.query, body.expected, body.complete
        )
