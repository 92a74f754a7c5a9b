"""What happens in a worker process: decode, run, encode. It sends home only plain data.

What the code says while it runs goes home at once, see `taskflow.worker_journal`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from executors.outcomes import Failure
from executors.worker import describe_here, tell
from taskflow.capture import hear_in_worker
from taskflow.clock import SystemClock
from taskflow.codec import ArgumentCodec, encode_result
from taskflow.context import TaskContext, running_task
from taskflow.definition import is_coroutine_function
from taskflow.errors import TaskArgumentError
from taskflow.signals import TaskSignal, Wish
from taskflow.worker_journal import WorkerJournal

_clock = SystemClock()
#: Entered again by a finalizer that says something just then.
_opening = threading.RLock()


class Order(NamedTuple):
    """One attempt, as a worker process needs to know it.

    A tuple, because it is pickled for each call: a dataclass takes twice as long.
    """

    function: Callable[..., Any]
    args: str
    task_id: str
    func_name: str
    attempt: int
    max_result_bytes: int
    #: That of the app's root logger; None: records do not belong to the log of the task.
    log_level: int | None = None
    #: Whether what is printed belongs to it.
    hears_print: bool = False


class Reply(NamedTuple):
    """How the attempt went, encoded in the worker so that nothing foreign is unpickled."""

    result: str | None = None
    result_error: str | None = None
    failure: Failure | None = None
    wish: Wish | None = None
    #: The arguments do not fit the function any more; says why.
    misfit: str | None = None


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


class _Voice:
    """Opens the journal of an attempt when it says something for the first time; most never do."""

    __slots__ = ("_order", "journal")

    def __init__(self, order: Order) -> None:
        self._order = order
        self.journal: WorkerJournal | None = None

    def open_journal(self) -> WorkerJournal:
        if self.journal is None:
            with _opening:
                if self.journal is None:
                    self.journal = WorkerJournal(
                        tell,
                        _clock,
                        hears_logging=self._order.log_level is not None,
                        hears_print=self._order.hears_print,
                    )
        return self.journal


def run_order(order: Order) -> Reply | None:
    """Run one attempt in this process; every error it raises comes home as data.

    None for success with nothing to store.
    """
    try:
        args, kwargs = _codec(order.function).decode(order.args)
    except TaskArgumentError as error:
        return Reply(misfit=str(error))
    hear_in_worker(order.log_level, order.hears_print)
    voice = _Voice(order)
    context = TaskContext(order.task_id, order.func_name, order.attempt, None, voice.open_journal)
    token = running_task.set(context)
    try:
        if is_coroutine_function(order.function):
            value = asyncio.run(order.function(*args, **kwargs))
        else:
            value = refuse_awaitable(order.function(*args, **kwargs), order.function)
        result, result_error = encode_result(value, order.max_result_bytes)
    except TaskSignal as signal:
        return Reply(wish=signal.wish())
    except BaseException as error:  # sys.exit() and the like end the task, not the worker
        return Reply(failure=describe_here(error))
    finally:
        running_task.reset(token)
        if voice.journal is not None:
            voice.journal.end()
    if result is None and result_error is None:
        return None
    return Reply(result, result_error)
