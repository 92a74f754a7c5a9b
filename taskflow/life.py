"""The life of a manager: from start to stop, once or many times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from taskflow.clock import Clock
from taskflow.context import get_task_context
from taskflow.engine import Engine
from taskflow.errors import NotStartedError
from taskflow.factory import TaskFactory
from taskflow.gate import QueueConfig
from taskflow.redaction import make_redactor
from taskflow.registry import Registry
from taskflow.schedules.timetable import Timetable
from taskflow.settings import Settings, database_path
from taskflow.stores.base import Store
from taskflow.stores.sqlite.store import SQLiteStore


class Life:
    """What a `taskflow.TaskManager` does with its engine: makes, starts, stops and replaces it."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        requeue_pending: bool,
        queues: Mapping[str, QueueConfig],
        warm_up: Sequence[str],
        redact: Callable[[str, Any], Any] | None = None,
    ) -> None:
        self.settings = settings
        #: Takes secrets out of what leaves the process: ``task_manager.redactor.text("...")``.
        self.redactor = make_redactor(settings.redact, redact)
        self.clock = clock
        self._database = database_path(settings.db)
        self.registry = Registry()
        self.timetable = Timetable()
        self.factory = TaskFactory(settings, self.registry, clock)
        self._requeue_pending = requeue_pending
        self._queues = queues
        self._warm_up = warm_up
        self._engine: Engine | None = None
        self._nested: list[bool] = []
        #: Requests that come at once start it only once; a lock belongs to its loop.
        self._starting: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    @property
    def engine(self) -> Engine:
        """What runs; raises `NotStartedError` while nothing does."""
        engine = self._engine
        if engine is None:
            raise NotStartedError(
                "this TaskManager is not running: attach it with TaskAdmin(app, task_manager), or "
                "use `async with task_manager:` in a script or test"
            )
        return engine

    @property
    def is_running(self) -> bool:
        """Whether tasks can be added now."""
        return self._engine is not None

    def is_running_here(self) -> bool:
        """Whether tasks can be added now, on the event loop that is running."""
        engine = self._engine
        return engine is not None and engine.loop is asyncio.get_running_loop()

    async def startup(self) -> None:
        """Open the store and run tasks, those left from before included. Idempotent.

        Raises `StoreError` if the store cannot be used, saying why and what to do.
        """
        async with self._start_lock():
            if await self.open():
                try:
                    await self.run()
                except BaseException:
                    await self.shutdown()
                    raise

    def _start_lock(self) -> asyncio.Lock:
        """Those who start it at once start it only once; a lock belongs to its loop."""
        loop = asyncio.get_running_loop()
        if self._starting is None or self._starting[0] is not loop:
            self._starting = loop, asyncio.Lock()
        return self._starting[1]

    async def shutdown(self) -> None:
        """Stop within the grace period; unfinished work goes back to the store. Idempotent."""
        await self.drain()
        await self.close()

    async def open(self) -> bool:
        """The first half of `startup`: tasks can be added; False if that was so already."""
        if self.is_running_here():
            return False
        if self._engine is not None and self._engine.loop.is_running():
            raise NotStartedError(
                "this TaskManager runs on another event loop, in another thread: add tasks to it "
                "from here with `await task_manager.enqueue(...)`, or use a manager of your own"
            )
        # An engine whose event loop is over belongs to a life that was never shut down.
        engine = Engine(
            self.settings,
            self.registry,
            self.make_store(),
            self.clock,
            rerun=self._requeue_pending,
            queues=self._queues,
            warm_up=self._warm_up,
            timetable=self.timetable,
            factory=self.factory,
            redactor=self.redactor,
        )
        await engine.open()
        self._engine = engine
        return True

    async def run(self) -> None:
        """The second half of `startup`: also run what waits in the store."""
        self.factory.bind_declared()
        await self.engine.run()

    async def drain(self) -> None:
        """The first half of `shutdown`: nothing runs afterwards, tasks can still be stored."""
        if self._engine is not None:
            await self._engine.drain()

    async def close(self) -> None:
        """The second half of `shutdown`."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    async def ensure_started(self) -> None:
        """Start where no lifespan did: in a mounted app, or under a bare ASGI client."""
        if self.is_running_here():
            return
        await self.startup()

    async def join(self) -> None:
        """Return when nothing of this instance waits or runs and all of it is committed.

        Waits for the retries of tasks that failed here, too; not for tasks that were added or
        snoozed for a later time. Raises RuntimeError inside of a task, which would wait for itself.
        """
        if get_task_context() is not None:
            raise RuntimeError("join() inside of a task would wait for itself: await its handles")
        dispatcher = self.engine.dispatcher
        await dispatcher.quiet.idle(dispatcher.puller)

    async def __aenter__(self) -> Self:
        # Inside of another `async with`, or of an app that is running, this one changes nothing.
        nested = self.is_running_here()
        await self.startup()
        self._nested.append(nested)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._nested.pop():
            await self.shutdown()

    def make_store(self) -> Store:
        # A little less than a request waits: the store's own answer comes first and is definite.
        patience = 0.8 * self.settings.enqueue_timeout
        return SQLiteStore(self._database, busy_timeout=patience, redactor=self.redactor)
