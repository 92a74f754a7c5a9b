"""The route of the system page."""

from __future__ import annotations

from fastapi import APIRouter

from taskflow.admin.system import System, describe
from taskflow.manager import TaskManager


def add_system(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    """Add it to ``router``."""

    @router.get("/system", operation_id=f"{scope}_system")
    async def system() -> System:
        """What the app runs on: versions, settings with their source, the store, instances."""
        return await describe(task_manager.engine)
