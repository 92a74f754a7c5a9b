"""A manager inside the life of an app.

Order matters at both ends. The store opens before the app's own lifespan, so that it can enqueue;
what is left from before runs only when the app is ready for it. Tasks end before the app closes
what they use, and the store closes last, so that the app can still enqueue while it stops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

if TYPE_CHECKING:
    from taskflow.manager import TaskManager


def attach_lifespan(app: FastAPI, task_manager: TaskManager) -> None:
    """Start and stop ``task_manager`` with ``app``, around the lifespan the app has."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(asgi_app: Any) -> AsyncIterator[Any]:
        await task_manager.open()
        try:
            app_lifespan: AbstractAsyncContextManager[Any] = inner(asgi_app)
            async with app_lifespan as state:
                await task_manager.run()
                try:
                    yield state
                finally:
                    await task_manager.drain()
        finally:
            await task_manager.close()

    app.router.lifespan_context = lifespan
