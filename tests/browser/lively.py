"""An app in which everything happens that the dashboard shows. It is also worth looking at:
``python -m tests.browser.lively FILE PORT``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI

from taskflow import TaskAdmin, TaskManager, progress, task_log

#: Seconds until what failed is tried again: longer than anybody looks.
LATER = 3600.0
PATIENCE = 60.0

T = TypeVar("T")


def crunch(rounds: int) -> int:
    """Something for a worker process."""
    for done in range(rounds):
        progress(done, rounds, "pages")
        time.sleep(0.02)
    return rounds


class Lively:
    """The app and its tasks. ``release`` ends those that run."""

    def __init__(self, path: Path, **admin: Any) -> None:
        self.app: FastAPI = FastAPI(lifespan=self._lifespan)
        self.manager = TaskManager(
            path, io_workers=4, cpu_workers=1, async_limit=6, shutdown_grace=0.2
        )
        self.admin = TaskAdmin(self.app, self.manager, title="Bakery", **admin)
        self.release = asyncio.Event()
        self._declare_tasks()

    def _declare_tasks(self) -> None:
        task = self.manager.task

        @task(name="bakery:send_invoice")
        async def send_invoice(order: int, to: str) -> dict[str, Any]:
            task_log(f"connecting to mail.internal for {to}")
            task_log("greylisted, asking again", level="warning")
            return {"order": order, "message_id": f"c2f0-{order}", "lines": list(range(20))}

        @task(name="bakery:charge_card")
        def charge_card(order: int, amount: str) -> None:
            task_log(f"charging {amount}", level="error")
            raise ConnectionError(f"payment gateway said 502 for order {order}")

        @task(name="bakery:sync_crm", retries=3, delay=0.2)
        async def sync_crm(user: int) -> None:
            raise TimeoutError(f"no answer from the CRM for user {user} after 3.0 s")

        @task(name="bakery:fetch_prices", retries=2, delay=LATER)
        async def fetch_prices(market: str) -> None:
            raise ValueError(f"no such market: {market}")

        @task(name="bakery:rise")
        async def rise(minutes: int) -> None:
            for done in range(minutes):
                progress(done, 100, "dough")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.release.wait(), 0.5)
                    return

        @task(name="bakery:say")
        async def say(what: str, fail: bool = False) -> str:
            task_log(what)
            if fail:
                raise RuntimeError(what)
            return what

        @task(name="bakery:slice", concurrency=1)
        async def slice_loaf(loaf: int) -> None:
            await self.release.wait()

        self.send_invoice, self.charge_card, self.sync_crm = send_invoice, charge_card, sync_crm
        self.fetch_prices, self.rise, self.say, self.slice = fetch_prices, rise, say, slice_loaf
        self.crunch = task(name="bakery:crunch", lane="cpu")(crunch)

        @self.manager.schedule(cron="0 2 * * *", timezone="Europe/Berlin")
        def nightly_cleanup() -> None: ...

        @self.manager.schedule(every=300)
        def health_check() -> None: ...

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        yield
        self.release.set()

    def call(self, doing: Coroutine[Any, Any, T]) -> T:
        """Run ``doing`` in the thread that serves the app."""
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(PATIENCE)

    def add(self, function: Any, *args: Any, **options: Any) -> str:
        """Add a task from another thread; gives its id."""
        wanted = self.manager.options(function, **options)
        return self.call(self.manager.enqueue(wanted, *args)).task_id

    async def fill(self, times: int = 1) -> None:
        """One or more tasks in each state."""
        add, options = self.manager.enqueue, self.manager.options
        for number in range(times):
            for order in range(6):
                await add(
                    options(self.send_invoice, tags={"team": "blue"}),
                    8800 + order,
                    f"a{order}@x.org",
                )
            for order in range(3):
                await add(self.charge_card, 8800 + order + 10 * number, "12.50 EUR")
            await add(self.sync_crm, 44 + number)
            await add(self.fetch_prices, "rye")
            await add(self.crunch, 5)
        await add(self.rise, 90)
        for loaf in range(3):
            await add(self.slice, loaf)
        await add(options(self.rise, run_in=LATER), 5)


@contextlib.contextmanager
def serving(app: FastAPI, port: int = 0) -> Iterator[str]:
    """Serve ``app`` from a thread of this process; gives its address."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        config = uvicorn.Config(app, log_level=logging.ERROR, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="served app")
        thread.start()
        try:
            until = time.monotonic() + PATIENCE
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                assert time.monotonic() < until, "the server takes too long to start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


if __name__ == "__main__":
    lively = Lively(Path(sys.argv[1]))

    @lively.app.post("/fill/{times}")
    async def fill(times: int) -> None:
        await lively.fill(times)

    uvicorn.run(lively.app, port=int(sys.argv[2]), log_level="warning")
