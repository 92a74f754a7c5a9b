"""An app with a few tasks, served in this process, and a client on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from taskflow import TaskAdmin, TaskManager, task_log

FINAL = {"success", "failed", "cancelled", "interrupted"}
#: Seconds that anything may take on a busy machine.
PATIENCE = 20.0


class Site:
    """An app, its manager, a client on this machine, and tasks that can be held."""

    def __init__(self, path: Path, **settings: Any) -> None:
        defaults = {"io_workers": 1, "cpu_workers": 1, "async_limit": 2, "shutdown_grace": 0.2}
        self.manager = TaskManager(path, **{**defaults, **settings})
        self.app = FastAPI()
        self.admin = TaskAdmin(self.app, self.manager, auto_install=True)
        self.release = asyncio.Event()
        self.failing = True
        manager = self.manager

        @manager.task
        async def quick(x: int = 0) -> int:
            task_log(f"x is {x}", level="warning")
            return x * 2

        @manager.task
        async def held() -> None:
            await self.release.wait()

        @manager.task(retries=1)
        async def flaky() -> str:
            task_log("trying")
            if self.failing:
                raise ConnectionError("nobody answers")
            return "at last"

        @manager.task(retries=3, delay=3600)
        async def patient() -> None:
            raise ConnectionError("later")

        self.quick, self.held, self.flaky, self.patient = quick, held, flaky, patient
        self.http: httpx.AsyncClient

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[httpx.AsyncClient]:
        async with self.app.router.lifespan_context(self.app):
            transport = httpx.ASGITransport(self.app, client=("127.0.0.1", 1))
            base = "http://localhost:8000"
            async with httpx.AsyncClient(transport=transport, base_url=base) as self.http:
                yield self.http
                self.release.set()

    async def add(self, function: Callable[..., Awaitable[object]], **options: Any) -> str:
        return (await self.manager.enqueue(function, **options)).task_id

    async def get(self, path: str) -> Any:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(self, task_id: str, *statuses: str) -> Any:
        """The task as soon as it has one of these statuses."""
        deadline = time.monotonic() + PATIENCE
        while (task := await self.get(f"/tasks/{task_id}"))["status"] not in statuses:
            assert time.monotonic() < deadline, task
            await asyncio.sleep(0.01)
        return task

    async def get_until(self, path: str, is_so: Callable[[Any], object]) -> Any:
        """What is at ``path`` as soon as it is so."""
        deadline = time.monotonic() + PATIENCE
        while not is_so(answer := await self.get(path)):
            assert time.monotonic() < deadline, answer
            await asyncio.sleep(0.01)
        return answer

    async def lane(self, name: str) -> Any:
        """A lane as it is now."""
        lanes = (await self.get("/tasks/lanes"))["items"]
        return next(lane for lane in lanes if lane["name"] == name)

    async def queue(self, name: str) -> Any:
        """A queue as it is now."""
        queues = (await self.get("/tasks/queues"))["items"]
        return next(queue for queue in queues if queue["name"] == name)

    async def patch(self, path: str, **change: Any) -> Any:
        """The answer to a change that is obeyed."""
        answer = await self.http.patch(path, json=change)
        assert answer.status_code == 200, answer.text
        return answer.json()
