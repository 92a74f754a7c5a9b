"""The route that tells whoever asks who he is here, and what he may do."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from taskflow.admin.roles import visitor_in
from taskflow.admin.system import own_version
from taskflow.manager import TaskManager


class Me(BaseModel):
    """Whoever asks, and whom he asks. ``user`` is null if nobody knows."""

    user: str | None
    role: Literal["view", "operate"]
    #: What the app is called.
    title: str
    #: Of taskflow.
    version: str
    instance: str
    #: Where the admin is, without what a proxy or a mount puts before it.
    path: str


def add_me(router: APIRouter, scope: str, task_manager: TaskManager, *, title: str) -> None:
    """Add it to ``router``."""

    @router.get("/me", operation_id=f"{scope}_me")
    async def me(request: Request) -> Me:
        """Who I am here, and what I may do."""
        visitor = visitor_in(request.scope)
        return Me(
            user=visitor.user,
            role=visitor.role,
            title=title,
            version=own_version(),
            instance=task_manager.engine.instance,
            path=router.prefix,
        )
