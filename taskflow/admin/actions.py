"""What people do to tasks: run them again, cancel them. Refusals are HTTP errors with a reason."""

from __future__ import annotations

import asyncio
import contextlib

from fastapi import HTTPException

from taskflow.engine import Engine
from taskflow.record import TaskRecord
from taskflow.states import FINAL, TaskStatus

#: Seconds to wait for running code to end after it was cancelled, here or in another instance.
PATIENCE = 5.0


async def find(engine: Engine, task_id: str) -> TaskRecord:
    """The task as it is now; 404 if there is none."""
    await engine.settle()
    record = await engine.store.get(task_id)
    if record is None:
        raise HTTPException(404, f"there is no task {task_id!r:.100}; it may have been pruned")
    return record


async def retry(engine: Engine, task_id: str) -> TaskRecord:
    """Run a final task again, with a fresh budget of attempts."""
    record = await find(engine, task_id)
    if record.status not in FINAL:
        raise HTTPException(409, f"the task is {record.status}: only a final task can be retried")
    if engine.registry.find(task_id, record.func_name) is None:
        raise HTTPException(
            409,
            f"the function {record.func_name!r} is not known to this instance: declare it with "
            "@task_manager.task, under the same name",
        )
    before = await engine.store.revive(task_id, engine.clock.now())
    if before is None:
        raise HTTPException(404, "the task was pruned meanwhile")
    if before not in FINAL:
        raise HTTPException(409, f"the task is {before} already: somebody else retried it")
    engine.dispatcher.puller.expect_all()
    return await find(engine, task_id)


async def cancel(engine: Engine, task_id: str) -> tuple[TaskRecord, bool]:
    """Cancel a task that waits or runs anywhere; False if it has yet to end."""
    record = await find(engine, task_id)
    if record.status in FINAL:
        raise HTTPException(409, f"the task is {record.status} already")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await engine.dispatcher.canceller.cancel(task_id, PATIENCE)
    record = await find(engine, task_id)
    if record.status is TaskStatus.CANCELLED:
        return record, True
    if record.status in FINAL:
        raise HTTPException(409, f"the task ended as {record.status} before it could be cancelled")
    return record, False
