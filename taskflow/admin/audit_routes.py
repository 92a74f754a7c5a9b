"""The route of the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel

from taskflow.admin.models import Moment
from taskflow.admin.values import moment
from taskflow.manager import TaskManager
from taskflow.stores.annals import Deed

DEFAULT_LIMIT = 50


class AuditEntry(BaseModel):
    """What somebody did, or tried to do."""

    at: Moment
    #: Null if nobody knows who it was.
    user: str | None
    #: ``retry``, ``lane.patch``, ``schedule.pause``.
    action: str
    #: The id of a task, the name of a lane, a queue or a schedule; "" where there is none.
    target: str
    #: What was sent along, as JSON without secrets, and cut.
    detail: str | None
    #: Whether it was obeyed, and the status of the answer.
    ok: bool
    status: int


class AuditLog(BaseModel):
    """A page of the audit log, newest first."""

    items: list[AuditEntry]
    #: Give it as ``cursor`` for the next page; null on the last.
    next_cursor: str | None


def add_audit(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    """Add it to ``router``."""

    @router.get("/audit", operation_id=f"{scope}_audit")
    async def audit(
        limit: Annotated[int, Query(ge=1, le=200)] = DEFAULT_LIMIT,
        cursor: Annotated[
            str, Query(max_length=100, description="next_cursor of the page before")
        ] = "",
    ) -> AuditLog:
        """Who did what over this API, newest first."""
        try:
            page = await task_manager.engine.store.annals.deeds(limit, cursor or None)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        return AuditLog(items=[_present(deed) for deed in page.items], next_cursor=page.next_cursor)


def _present(deed: Deed) -> AuditEntry:
    return AuditEntry(
        at=moment(deed.at),
        user=deed.user,
        action=deed.action,
        target=deed.target,
        detail=deed.detail,
        ok=deed.status < 400,
        status=deed.status,
    )
