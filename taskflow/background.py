"""`ManagedBackgroundTasks`: FastAPI's `BackgroundTasks`, on disk before the response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol

from fastapi import BackgroundTasks

from taskflow.attempt import Attempt
from taskflow.factory import TaskFactory

if TYPE_CHECKING:
    from taskflow.engine import Engine

P = ParamSpec("P")

#: Where FastAPI keeps the exit stack of a request: unwound after the response, or before the error
#: response if anything raised. Dependencies with ``yield`` use it; it is what tells a route that
#: returned from one that raised, which looks the same to whoever watches the response.
REQUEST_STACK = "fastapi_inner_astack"
#: The same, unwound before the response: that of ``Depends(..., scope="function")``.
FUNCTION_STACK = "fastapi_function_astack"


class Manager(Protocol):
    """What a request needs of a `TaskManager`."""

    factory: TaskFactory

    @property
    def engine(self) -> Engine: ...

    def is_running_here(self) -> bool: ...

    async def ensure_started(self) -> None: ...


class ManagedBackgroundTasks(BackgroundTasks):
    """Tasks of one request, or of one script.

    In a request they are committed before the response starts, and dropped if the request raised.
    Anywhere else ``await tasks()`` commits and starts them.
    """

    def __init__(self, task_manager: Manager) -> None:
        super().__init__()
        self._manager = task_manager
        self._waiting: list[Attempt] = []
        #: Commits under way: eager tasks, and tasks added when the response was out already.
        self._under_way: list[asyncio.Future[None]] = []
        #: Whether added tasks are submitted at once, because nobody will collect them any more.
        self._immediate = False

    @classmethod
    def of_request(
        cls, task_manager: Manager, scope: MutableMapping[str, Any], *, held: bool
    ) -> ManagedBackgroundTasks:
        """The tasks of the request with this ASGI scope.

        With ``held``, whoever holds the response back (see `taskflow.injection`) awaits
        `commit_for_response`; without, they are committed as soon as the path function is over.
        """
        tasks = cls(task_manager)
        stack = scope.get(REQUEST_STACK if held else FUNCTION_STACK)
        if scope["type"] == "http" and isinstance(stack, AsyncExitStack):
            stack.push_async_exit(tasks._leave)
        else:
            # A WebSocket has no response to hold: its tasks go out as they come.
            tasks._immediate = True
        return tasks

    def add_task(  # type: ignore[override]  # the base class returns None; an id is more
        self, func: Callable[P, Any], *args: P.args, **kwargs: P.kwargs
    ) -> str:
        """Add a task and return its id.

        Takes the function's own arguments and beside them ``eager, priority, queue, tags,
        idempotency_key, run_in, run_at, timeout, retries``. If the function has a parameter of
        that name it wins, and the option goes through ``task_manager.options(func, ...)``.

        Raises `TaskArgumentError`, `TaskOptionError`, `NotStartedError`, or `QueueFullError` if
        there is no room for another task.
        """
        attempt, eager = self._manager.factory.prepare(func, args, dict(kwargs), source="request")
        # Once more when all of them are submitted; here it is the route that hears of it.
        self._manager.engine.intake.check((attempt.record,))
        if eager or self._immediate:
            self._submit_now(attempt, eager)
        else:
            self._waiting.append(attempt)
        return attempt.record.task_id

    def _submit_now(self, attempt: Attempt, eager: bool) -> None:
        engine = self._manager.engine

        def submit() -> None:
            dispatcher = engine.dispatcher
            self._under_way.append(
                dispatcher.submit_eager(attempt) if eager else dispatcher.submit((attempt,))
            )

        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is engine.loop:
            submit()
        else:
            # A plain `def` route runs in a thread; its eager tasks start on the loop.
            engine.loop.call_soon_threadsafe(submit)

    async def commit(self) -> None:
        """Return when all tasks added so far are on disk; they start by themselves.

        Raises `StoreUnavailableError` if the store does not take them in time, `QueueFullError` if
        there is no room for all of them; none is added then.
        """
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            engine = self._manager.engine
            await engine.on_its_loop(engine.submit(waiting))
        if self._under_way:
            under_way, self._under_way = self._under_way, []
            for future in under_way:
                await future

    async def commit_for_response(self) -> None:
        """As `commit`; what is added from now on goes out as it comes."""
        self._immediate = True
        await self.commit()

    def drop(self) -> None:
        """Forget what was added and is not under way yet."""
        self._waiting.clear()

    async def __call__(self) -> None:
        """Commit and start what was added; Starlette calls this after the response."""
        await self.commit()

    async def _leave(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        """The request is over. If it raised before its response, what it added is dropped."""
        if kind is not None:
            self.drop()
        self._immediate = True
        await self.commit()
        return False

    def __bool__(self) -> bool:
        # As for a plain BackgroundTasks: present, whatever it holds.
        return True
