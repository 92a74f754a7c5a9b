"""What happens in a worker process: decode, run, encode. It sends home only plain data."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from executors.describe import describe
from executors.outcomes import Failure
from taskflow.codec import ArgumentCodec, encode_result
from taskflow.context import TaskContext, running_task
from taskflow.definition import is_coroutine_function
from taskflow.errors import TaskArgumentError
from taskflow.signals import TaskSignal, Wish

#: At most so many lines of one attempt are sent home; the last says how many were left out.
MOST_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt, as a worker process needs to know it."""

    function: Callable[..., Any]
    args: str
    task_id: str
    func_name: str
    attempt: int
    max_result_bytes: int


@dataclass(frozen=True, slots=True)
class Reply:
    """How the attempt went, encoded in the worker so that nothing foreign is unpickled."""

    result: str | None = None
    result_error: str | None = None
    failure: Failure | None = None
    wish: Wish | None = None
    #: The arguments do not fit the function any more; says why.
    misfit: str | None = None
    #: (time, level, message)
    lines: tuple[tuple[float, str, str], ...] = ()


class _Lines:
    """The log of one attempt, bounded."""

    def __init__(self) -> None:
        self.kept: list[tuple[float, str, str]] = []
        self.dropped = 0

    def write(self, _context: TaskContext, level: str, message: str) -> None:
        if len(self.kept) < MOST_LINES:
            self.kept.append((time.time(), level, message))
        else:
            self.dropped += 1

    def all(self) -> tuple[tuple[float, str, str], ...]:
        if self.dropped:
            self.kept.append((time.time(), "warning", f"{self.dropped} more lines were left out"))
        return tuple(self.kept)


@functools.lru_cache(maxsize=1024)
def _codec(function: Callable[..., Any]) -> ArgumentCodec:
    return ArgumentCodec(function, max_bytes=2**62)  # the size was checked before it was stored


def refuse_awaitable(value: object, function: Callable[..., Any]) -> object:
    """``value``, unless it is work that nobody would do: then TypeError."""
    if not inspect.isawaitable(value):
        return value
    if inspect.iscoroutine(value):
        value.close()
    raise TypeError(
        f"{function!r} is not a coroutine function but returned a {type(value).__name__} that "
        "nobody awaited: make it `async def`, and a decorator around it async, too"
    )


def run_order(order: Order) -> Reply:
    """Run one attempt in this process; every error it raises comes home as data."""
    lines = _Lines()
    try:
        args, kwargs = _codec(order.function).decode(order.args)
    except TaskArgumentError as error:
        return Reply(misfit=str(error))
    context = TaskContext(order.task_id, order.func_name, order.attempt, None, lines.write)
    token = running_task.set(context)
    try:
        if is_coroutine_function(order.function):
            value = asyncio.run(order.function(*args, **kwargs))
        else:
            value = refuse_awaitable(order.function(*args, **kwargs), order.function)
        result, result_error = encode_result(value, order.max_result_bytes)
    except TaskSignal as signal:
        return Reply(wish=signal.wish(), lines=lines.all())
    except BaseException as error:  # sys.exit() and the like end the task, not the worker
        return Reply(failure=describe(error, keep=False), lines=lines.all())
    finally:
        running_task.reset(token)
    return Reply(result, result_error, lines=lines.all())
