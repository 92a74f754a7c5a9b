"""`TaskManager`: where tasks are declared, added and awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar, overload

from fastapi.requests import HTTPConnection

from taskflow.background import ManagedBackgroundTasks
from taskflow.clock import Clock, SystemClock
from taskflow.context import get_task_context
from taskflow.definition import LaneName
from taskflow.engine import Engine
from taskflow.errors import NotStartedError
from taskflow.factory import ExceptionTypes, TaskFactory
from taskflow.handle import TaskHandle
from taskflow.injection import tasks_of_request
from taskflow.options import NOT_GIVEN, OptionedFunction
from taskflow.registry import Registry
from taskflow.settings import Settings, database_path, load_settings
from taskflow.stores.base import Store
from taskflow.stores.sqlite.store import SQLiteStore

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class TaskManager:
    """Declares tasks, stores them and runs them, inside the process of the app.

    ``snapshot_db`` is the path of the SQLite file (default ``TASKFLOW_DB``, else ``taskflow.db``);
    ``":memory:"`` keeps nothing beyond the process. With ``requeue_pending`` (the default) tasks
    that a dead instance left running are run again; without it they are kept as ``interrupted``.
    Every other keyword is a setting, see `taskflow.settings.Settings`, and wins over its
    environment variable.

    Raises `SettingsError` for a setting that is out of range.
    """

    def __init__(
        self,
        snapshot_db: str | Path | None = None,
        *,
        requeue_pending: bool = True,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        if snapshot_db is not None:
            settings["db"] = str(snapshot_db)
        self.settings: Settings = load_settings(**settings)
        self._database = database_path(self.settings.db)
        self.clock: Clock = clock or SystemClock()
        self.registry = Registry()
        self._requeue_pending = requeue_pending
        self.factory = TaskFactory(self.settings, self.registry, self.clock)
        self._engine: Engine | None = None
        self._nested: list[bool] = []
        #: Requests that come at once start it only once; a lock belongs to its loop.
        self._starting: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    # -- declaring -------------------------------------------------------------------------

    @overload
    def task(self, function: F, /) -> F: ...

    @overload
    def task(
        self,
        *,
        name: str | None = None,
        lane: LaneName | None = None,
        retries: int = 0,
        delay: float = 0.0,
        backoff: float = 1.0,
        max_delay: float | None = None,
        jitter: bool | Literal["full"] = False,
        retry_on: ExceptionTypes = (),
        dont_retry_on: ExceptionTypes = (),
        timeout: float | None = None,
        queue: str = "default",
        priority: int = 0,
        eager: bool = False,
        at_most_once: bool | None = None,
        requeue_on_interrupt: bool | None = None,
    ) -> Callable[[F], F]: ...

    def task(self, *bare: Any, **options: Any) -> Any:
        """Declare a task; the function itself is returned and stays what it is.

        ``lane``: ``"io"`` (threads; a coroutine function stays on the event loop), ``"cpu"`` (a
        worker process) or ``"async"``; default by the kind of function. ``retries`` more attempts
        follow a failed one, after ``delay * backoff ** n`` seconds, at most ``max_delay``, with
        ``jitter`` drawn from 0 to that; only for errors in ``retry_on`` (default: all) and not in
        ``dont_retry_on``. ``timeout`` in seconds per attempt. ``eager`` starts when ``add_task`` is
        called. ``at_most_once`` (or ``requeue_on_interrupt=False``): never run again after a
        crash. ``name`` is the stored name, default ``module:qualname``.

        Raises `TaskDefinitionError` for options that cannot work.
        """
        self.factory.check_option_names(options)
        if bare:
            (function,) = bare
            self.factory.declare(function, options)
            return function

        def decorate(function: F) -> F:
            self.factory.declare(function, options)
            return function

        return decorate

    def options(
        self,
        function: Callable[P, R],
        *,
        eager: bool | None = None,
        priority: int | None = None,
        queue: str | None = None,
        tags: Mapping[str, Any] | Iterable[str] | None = None,
        idempotency_key: str | None = None,
        run_in: float | timedelta | None = None,
        run_at: datetime | None = None,
        timeout: float | None = NOT_GIVEN,
        retries: int | None = None,
    ) -> OptionedFunction[P, R]:
        """``function`` with options for one call: ``add_task(manager.options(f, priority=5), x)``.

        The typed way, and the only one where ``function`` has a parameter of the same name.
        """
        given: dict[str, Any] = {
            "eager": eager,
            "priority": priority,
            "queue": queue,
            "tags": tags,
            "idempotency_key": idempotency_key,
            "run_in": run_in,
            "run_at": run_at,
            "retries": retries,
        }
        wanted = {name: value for name, value in given.items() if value is not None}
        if timeout is not NOT_GIVEN:
            wanted["timeout"] = timeout
        return OptionedFunction(function, wanted)

    # -- adding ----------------------------------------------------------------------------

    @overload
    async def enqueue(
        self, function: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> TaskHandle[R]: ...

    @overload
    async def enqueue(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> TaskHandle[R]: ...

    async def enqueue(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> TaskHandle[Any]:
        """Store a task and return its handle once it is on disk; takes options like ``add_task``.

        Raises `StoreUnavailableError` if that takes longer than the enqueue timeout,
        `TaskArgumentError` for arguments that do not fit or cannot be stored, `TaskOptionError`
        for a wrong option and `NotStartedError` outside of the manager's life.
        """
        engine = self.engine
        attempt, eager = self.factory.prepare(function, args, kwargs, source="code")

        async def submit() -> None:
            if eager:
                await engine.dispatcher.submit_eager(attempt)
            else:
                await engine.dispatcher.submit((attempt,))

        await engine.on_its_loop(submit())
        return TaskHandle(attempt.record.task_id, engine, attempt.definition.function)

    async def get_tasks(self, connection: HTTPConnection) -> ManagedBackgroundTasks:
        """A FastAPI dependency: ``tasks: ManagedBackgroundTasks = Depends(manager.get_tasks)``."""
        await self.ensure_started()
        return tasks_of_request(self, connection.scope)

    # -- life ------------------------------------------------------------------------------

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
        if await self.open():
            await self.run()

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
            self._make_store(),
            self.clock,
            rerun=self._requeue_pending,
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
        loop = asyncio.get_running_loop()
        if self._starting is None or self._starting[0] is not loop:
            self._starting = loop, asyncio.Lock()
        async with self._starting[1]:
            await self.startup()

    async def join(self) -> None:
        """Return when nothing of this instance waits or runs and all of it is committed.

        Waits for the retries of tasks that failed here, too; not for tasks that were added or
        snoozed for a later time. Raises RuntimeError inside of a task, which would wait for itself.
        """
        if get_task_context() is not None:
            raise RuntimeError("join() inside of a task would wait for itself: await its handles")
        await self.engine.dispatcher.idle()

    async def __aenter__(self) -> Self:
        # Inside of another `async with`, or of an app that is running, this one changes nothing.
        self._nested.append(self.is_running_here())
        await self.startup()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._nested.pop():
            await self.shutdown()

    def _make_store(self) -> Store:
        # A little less than a request waits: the store's own answer comes first and is definite.
        patience = 0.8 * self.settings.enqueue_timeout
        return SQLiteStore(self._database, busy_timeout=patience)
