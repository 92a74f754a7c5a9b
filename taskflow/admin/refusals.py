"""What callers hear when a task they add finds no room, or no store."""

from __future__ import annotations

import math

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.requests import Request
from starlette.responses import Response

from taskflow.errors import QueueFullError, StoreUnavailableError, TaskflowError


def answer_refusals(app: FastAPI) -> None:
    """Let ``app`` answer 429 and 503 with Retry-After, unless it has its own answers."""
    if not _is_handled(app, QueueFullError):
        app.add_exception_handler(QueueFullError, _queue_full)
    if not _is_handled(app, StoreUnavailableError):
        app.add_exception_handler(StoreUnavailableError, _store_unavailable)


def _is_handled(app: FastAPI, error: type[TaskflowError]) -> bool:
    return any(
        base in app.exception_handlers for base in error.__mro__ if issubclass(base, TaskflowError)
    )


# The callers are the public: details of queues and stores are for the log.


async def _queue_full(_request: Request, error: Exception) -> Response:
    seconds = error.retry_after if isinstance(error, QueueFullError) else 1.0
    return JSONResponse(
        {"detail": "too many tasks are waiting; try again later"},
        429,
        {"Retry-After": str(max(1, math.ceil(seconds)))},
    )


async def _store_unavailable(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"detail": "the task could not be stored"}, 503, {"Retry-After": "1"})
