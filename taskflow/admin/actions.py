"""What people do to tasks: run them again, cancel them. Refusals are HTTP errors with a reason."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Any

from fastapi import HTTPException
from pydantic_core import to_json

from taskflow.admin.edits import HiddenValueError, restore
from taskflow.admin.outgoing import Outgoing
from taskflow.admin.present import present_arguments
from taskflow.admin.search_models import Edited
from taskflow.admin.values import parse
from taskflow.definition import TaskDefinition
from taskflow.engine import Engine
from taskflow.errors import QueueFullError, TaskArgumentError, TaskDefinitionError, TaskOptionError
from taskflow.manager import TaskManager
from taskflow.options import OptionedFunction
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
    _definition_of(engine, record)
    before = await engine.store.revive(task_id, engine.clock.now())
    if before is None:
        raise HTTPException(404, "the task was pruned meanwhile")
    if before not in FINAL:
        raise HTTPException(409, f"the task is {before} already: somebody else retried it")
    engine.dispatcher.puller.expect_all()
    return await find(engine, task_id)


async def retry_edited(
    task_manager: TaskManager, outgoing: Outgoing, task_id: str, edited: Edited
) -> TaskRecord:
    """Add a new task of the same function with other arguments; the old one stays as it is.

    Its options are those of the function as it is declared now.
    """
    engine = task_manager.engine
    record = await find(engine, task_id)
    definition = _definition_of(engine, record)
    given = {"args": edited.args or [], "kwargs": edited.kwargs or {}}
    try:
        args, kwargs = _load(definition, restore(given, *_arguments_of(outgoing, record)))
        # With an option, nothing in ``kwargs`` is taken for one.
        function = OptionedFunction(definition.function, {"priority": definition.priority})
        attempt, eager = task_manager.factory.prepare(function, args, kwargs, source="retry")
    except (HiddenValueError, TaskArgumentError, TaskOptionError, TaskDefinitionError) as error:
        raise HTTPException(422, str(error)) from error
    try:
        engine.intake.check((attempt.record,), spill=engine.intake.overflow == "wait")
    except QueueFullError as error:
        seconds = str(max(1, math.ceil(error.retry_after)))
        raise HTTPException(429, str(error), {"Retry-After": seconds}) from error
    if eager:
        await engine.dispatcher.submit_eager(attempt)
    else:
        await engine.dispatcher.submit((attempt,))
    return await find(engine, attempt.record.task_id)


def _definition_of(engine: Engine, record: TaskRecord) -> TaskDefinition:
    definition = engine.registry.find(record.task_id, record.func_name)
    if definition is None:
        raise HTTPException(
            409,
            f"the function {record.func_name!r} is not known to this instance: declare it with "
            "@task_manager.task, under the same name",
        )
    return definition


def _arguments_of(outgoing: Outgoing, record: TaskRecord) -> tuple[object, object]:
    """The arguments of a task, as they are shown and as they are stored."""
    shown = outgoing.hide(
        {
            "task_id": record.task_id,
            "func_name": record.func_name,
            "arguments": present_arguments(record.args),
        }
    )
    stored = parse(record.args)
    found = stored if isinstance(stored, dict) else {}
    whole = {"args": found.get("args", []), "kwargs": found.get("kwargs", {})}
    return shown["arguments"], whole


def _load(
    definition: TaskDefinition, given: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments as JSON has them, as what the annotations of the function say."""
    try:
        return definition.codec.decode(to_json(given).decode())
    except Exception:  # validators of users may raise anything
        # What does not fit is refused once more when it is to be stored, in better words.
        return tuple(given["args"]), given["kwargs"]


async def discard(engine: Engine, task_id: str) -> None:
    """Delete a final task with its history and its log."""
    record = await find(engine, task_id)
    if record.status not in FINAL:
        raise HTTPException(
            409, f"the task is {record.status}: only a final task can be discarded; cancel it first"
        )
    handle = await engine.store.search.handle(task_id)
    if handle is not None and not await engine.store.search.discard([handle]):
        raise HTTPException(409, "the task was changed at this moment: somebody else retried it")


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
