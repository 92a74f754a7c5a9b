"""What `enqueue` gives back: a grip on one task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from taskflow.codec import decode_result
from taskflow.errors import ResultUnavailableError, TaskFailedError
from taskflow.record import TaskRecord
from taskflow.states import FINAL, TaskStatus

if TYPE_CHECKING:
    from taskflow.engine import Engine

R = TypeVar("R")

#: Seconds between two looks at the store for a task that another instance may finish.
LOOK = 0.25
#: Seconds that a cancelled task has to end in another instance.
PATIENCE = 5.0


class TaskHandle(Generic[R]):
    """One task that is on disk."""

    def __init__(self, task_id: str, engine: Engine, function: Callable[..., Any]) -> None:
        self.task_id = task_id
        self._engine = engine
        self._function = function

    async def record(self) -> TaskRecord | None:
        """The task as it is stored now; None once it is pruned."""
        return await self._engine.on_its_loop(self._record())

    async def _record(self) -> TaskRecord | None:
        await self._engine.settle()
        return await self._engine.store.get(self.task_id)

    async def status(self) -> TaskStatus | None:
        """Where the task is in its life; None once it is pruned."""
        record = await self.record()
        return None if record is None else record.status

    async def cancel(self) -> TaskStatus | None:
        """Cancel it wherever it waits or runs; its status afterwards.

        A task that runs in another instance is still ``running`` if it has not ended within 5 s.
        """
        canceller = self._engine.dispatcher.canceller
        return await self._engine.on_its_loop(canceller.cancel(self.task_id, PATIENCE))

    async def result(self, timeout: float | None = None) -> R:
        """Wait for the end and return what the function returned, as it is stored.

        Raises `TaskFailedError` if it ended in any other way than success,
        `ResultUnavailableError` if what it returned could not be stored, and `TimeoutError` after
        ``timeout`` seconds (default: never).
        """
        async with asyncio.timeout(timeout):
            record = await self._engine.on_its_loop(self._final())
        if record.status is not TaskStatus.SUCCESS:
            raise TaskFailedError(self.task_id, record.status, record.error)
        if record.result_error is not None:
            raise ResultUnavailableError(
                f"task {self.task_id} succeeded, but {record.result_error}"
            )
        if record.result is None:
            return cast("R", None)
        return cast("R", decode_result(record.result, self._function))

    async def _final(self) -> TaskRecord:
        ended = self._engine.dispatcher.endings.when_final(self.task_id)
        try:
            while True:
                if self.task_id not in self._engine.dispatcher.live:
                    # It may have ended here a moment ago, with its end not written yet.
                    await self._engine.settle()
                record = await self._engine.store.get(self.task_id)
                if record is None and self.task_id not in self._engine.dispatcher.live:
                    raise TaskFailedError(self.task_id, "gone", "it was deleted")
                if record is not None and record.status in FINAL:
                    return record
                done, _ = await asyncio.wait({ended}, timeout=LOOK)
                if done:
                    return ended.result()
        finally:
            ended.cancel()

    def __repr__(self) -> str:
        return f"<TaskHandle {self.task_id}>"
