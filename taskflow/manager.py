"""`TaskManager`: where tasks are declared, added and awaited."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar, overload

from fastapi.requests import HTTPConnection

from executors import check_picklable
from taskflow.attempt import Attempt
from taskflow.background import ManagedBackgroundTasks
from taskflow.clock import Clock, SystemClock
from taskflow.definition import LaneName, TaskDefinition, make_definition, unwrap
from taskflow.engine import Engine
from taskflow.errors import NotStartedError, TaskDefinitionError
from taskflow.handle import TaskHandle
from taskflow.ids import keyed_task_id, new_task_id
from taskflow.options import CallOptions, OptionedFunction, take_options
from taskflow.record import TaskRecord
from taskflow.registry import Registry
from taskflow.retry import RetryPolicy, make_policy
from taskflow.settings import Settings, load_settings
from taskflow.stores.base import Store
from taskflow.stores.sqlite.store import SQLiteStore

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
ExceptionTypes = type[BaseException] | Iterable[type[BaseException]]


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
        self.clock: Clock = clock or SystemClock()
        self.registry = Registry()
        self._requeue_pending = requeue_pending
        self._random_bits = random.Random().getrandbits  # seeded by the operating system
        self._timeouts = {
            "async": self.settings.async_timeout,
            "io": self.settings.io_timeout,
            "cpu": self.settings.cpu_timeout,
        }
        #: Names of tasks whose function is known to reach a worker process.
        self._picklable: set[str] = set()
        self._engine: Engine | None = None
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

    def task(self, function: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
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
        if function is not None:
            self._declare(function, options)
            return function

        def decorate(function: F) -> F:
            self._declare(function, options)
            return function

        return decorate

    def _declare(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self.registry.declare(self._make_definition(function, **options))

    def _make_definition(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        lane: str | None = None,
        timeout: float | None = None,
        queue: str = "default",
        priority: int = 0,
        eager: bool = False,
        at_most_once: bool | None = None,
        requeue_on_interrupt: bool | None = None,
        **retrying: Any,
    ) -> TaskDefinition:
        if at_most_once is None:
            at_most_once = requeue_on_interrupt is False
        elif requeue_on_interrupt is not None and requeue_on_interrupt == at_most_once:
            raise TaskDefinitionError(
                f"at_most_once={at_most_once} contradicts requeue_on_interrupt="
                f"{requeue_on_interrupt}: give one of the two"
            )
        return make_definition(
            function,
            name=name,
            lane=lane,
            policy=_policy(**retrying) if retrying else RetryPolicy(),
            timeout=timeout,
            queue=queue,
            priority=priority,
            eager=eager,
            at_most_once=at_most_once,
            max_args_bytes=self.settings.max_args_bytes,
        )

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
        timeout: float | None = None,
        retries: int | None = None,
    ) -> OptionedFunction[P, R]:
        """``function`` with options for one call: ``add_task(manager.options(f, priority=5), x)``.

        The typed way, and the only one where ``function`` has a parameter of the same name.
        """
        given = {
            "eager": eager,
            "priority": priority,
            "queue": queue,
            "tags": tags,
            "idempotency_key": idempotency_key,
            "run_in": run_in,
            "run_at": run_at,
            "timeout": timeout,
            "retries": retries,
        }
        return OptionedFunction(function, {k: v for k, v in given.items() if v is not None})

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
        attempt, eager = self.prepare(function, args, kwargs, source="code")
        if eager:
            await engine.dispatcher.submit_eager(attempt)
        else:
            await engine.dispatcher.submit((attempt,))
        return TaskHandle(attempt.record.task_id, engine, attempt.definition.function)

    def prepare(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        source: str,
    ) -> tuple[Attempt, bool]:
        """A new task, checked and encoded but not stored yet, and whether it is eager.

        Any thread may call this. Raises as `enqueue` does.
        """
        options: CallOptions | None = None
        if type(function) is OptionedFunction:
            options = CallOptions(**function.options)
            function = function.function
        definition = self.registry.of(function)
        if definition is None:
            definition, args, kwargs = self._adopt(function, args, kwargs)
        if options is None:
            options = take_options(definition, kwargs)
        if definition.lane == "cpu" and definition.name not in self._picklable:
            self._check_picklable(definition)
        now = self.clock.now()
        timeout = definition.timeout
        record = TaskRecord(
            new_task_id(now, self._random_bits),
            definition.name,
            definition.lane,
            now,
            args=definition.codec.encode(args, kwargs),
            queue=definition.queue,
            priority=definition.priority,
            max_attempts=definition.policy.retries + 1,
            timeout=self._timeouts[definition.lane] if timeout is None else timeout,
            at_most_once=definition.at_most_once,
            source=source,
        )
        eager = definition.eager
        if options is not None:
            options.apply(record, now)
            if record.idempotency_key is not None:
                record.task_id = keyed_task_id(definition.name, record.idempotency_key)
            if options.eager is not None:
                eager = options.eager
        return Attempt(record, definition, args, kwargs, contextvars.copy_context()), eager

    def _check_picklable(self, definition: TaskDefinition) -> None:
        # Not at the declaration: the name of the function does not exist before the decorator ends.
        try:
            check_picklable(definition.function)
        except TypeError as error:
            raise TaskDefinitionError(f"task {definition.name!r}: {error}") from error
        self._picklable.add(definition.name)

    def _adopt(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[TaskDefinition, tuple[Any, ...], dict[str, Any]]:
        """The definition of a function that was not declared as it is handed over."""
        inner, held_args, held_kwargs = unwrap(function)
        definition = self.registry.of(inner)
        if definition is None:
            definition = self._make_definition(inner)
            self.registry.adopt(definition)
        return definition, held_args + args, {**held_kwargs, **kwargs}

    async def get_tasks(self, connection: HTTPConnection) -> ManagedBackgroundTasks:
        """A FastAPI dependency: ``tasks: ManagedBackgroundTasks = Depends(manager.get_tasks)``."""
        await self.ensure_started()
        return ManagedBackgroundTasks.of_request(self, connection.scope)

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

    async def startup(self) -> None:
        """Open the store and run tasks, those left from before included. Idempotent.

        Raises `StoreError` if the store cannot be used, saying why and what to do.
        """
        if await self.open():
            await self.engine.run()

    async def shutdown(self) -> None:
        """Stop within the grace period; unfinished work goes back to the store. Idempotent."""
        await self.drain()
        await self.close()

    async def open(self) -> bool:
        """The first half of `startup`: tasks can be added; False if that was so already."""
        if self._engine is not None and self._engine.loop is asyncio.get_running_loop():
            return False
        # An engine of another event loop belongs to a life that was never shut down.
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
        engine = self._engine
        if engine is not None and engine.loop is asyncio.get_running_loop():
            return
        loop = asyncio.get_running_loop()
        if self._starting is None or self._starting[0] is not loop:
            self._starting = loop, asyncio.Lock()
        async with self._starting[1]:
            await self.startup()

    async def join(self) -> None:
        """Return when nothing of this instance waits or runs and all of it is committed.

        Waits for the retries of tasks that failed here, too; not for tasks that were added or
        snoozed for a later time.
        """
        await self.engine.dispatcher.idle()

    async def __aenter__(self) -> Self:
        await self.startup()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.shutdown()

    def _make_store(self) -> Store:
        return SQLiteStore(self.settings.db, busy_timeout=self.settings.enqueue_timeout)


def _policy(
    *,
    retries: int = 0,
    delay: float = 0.0,
    backoff: float = 1.0,
    max_delay: float | None = None,
    jitter: bool | Literal["full"] = False,
    retry_on: ExceptionTypes = (),
    dont_retry_on: ExceptionTypes = (),
) -> RetryPolicy:
    return make_policy(
        retries=retries,
        delay=delay,
        backoff=backoff,
        max_delay=max_delay,
        jitter=jitter,
        retry_on=retry_on,
        dont_retry_on=dont_retry_on,
    )
