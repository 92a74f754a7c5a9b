"""A task function and its options, checked once, where they are written down."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, get_args

from taskflow.codec import ArgumentCodec
from taskflow.concurrency import ConcurrencyKey
from taskflow.errors import SettingsError, TaskDefinitionError
from taskflow.gate import QueueConfig
from taskflow.retry import RetryPolicy

LaneName = Literal["async", "io", "cpu"]
LANES: tuple[LaneName, ...] = get_args(LaneName)
DEFAULT_QUEUE = "default"

#: The options that `add_task` takes beside the function's own arguments.
CALL_OPTIONS = frozenset(
    {
        "eager",
        "priority",
        "queue",
        "tags",
        "idempotency_key",
        "run_in",
        "run_at",
        "timeout",
        "retries",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """A registered function and how it is to be run."""

    function: Callable[..., Any]
    name: str
    lane: LaneName
    codec: ArgumentCodec
    policy: RetryPolicy
    #: Seconds, None for the lane's default.
    timeout: float | None = None
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    eager: bool = False
    at_most_once: bool = False
    #: What its tasks are told apart by, where only so many of a kind may run at a time.
    key: ConcurrencyKey | None = None
    #: The limits of its queue, which is its own then.
    limits: QueueConfig | None = None
    #: Bytes that a task may take in a worker process, None for the setting.
    memory_limit: int | None = None
    #: The names in `CALL_OPTIONS` that the function does not use for itself.
    options: frozenset[str] = CALL_OPTIONS
    #: Whether another process (or the next start) can find the function by its name.
    findable: bool = True


def unwrap(
    function: Callable[..., Any],
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The function inside nested partials, and the arguments that they hold."""
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        args = function.args + args
        kwargs = {**function.keywords, **kwargs}
        function = function.func
    return function, args, kwargs


def main_of_package(function: Callable[..., Any]) -> bool:
    """Whether it was defined by ``python -m package``: spawned processes leave that module out."""
    if getattr(function, "__module__", None) != "__main__":
        return False
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and bool(spec.name.endswith(".__main__"))


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine; also for objects with an async ``__call__``."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  (not a test for being callable)
    )


def task_name(function: Callable[..., Any]) -> str:
    """``module:qualname``, the same whether the module was imported or run as a script."""
    module = getattr(function, "__module__", None) or type(function).__module__
    qualname = getattr(function, "__qualname__", None) or type(function).__qualname__
    if module in ("__main__", "__mp_main__"):
        main = sys.modules.get(module)
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None)
        if spec is not None:
            module = spec.name.removesuffix(".__main__")
        elif file:
            module = PurePath(file).stem
    return f"{module}:{qualname}"


def is_findable(function: Callable[..., Any]) -> bool:
    """Whether its name leads back to it: not for lambdas, closures and bound methods."""
    qualname = getattr(function, "__qualname__", None)
    if qualname is None or "<" in qualname:
        return False
    owner = getattr(function, "__self__", None)
    return owner is None or isinstance(owner, type) or inspect.ismodule(owner)


def route(function: Callable[..., Any], lane: str | None, name: str) -> LaneName:
    """The lane a function runs in: its own wish if it can be met, else by its kind.

    ``async def`` stays on the event loop, also with ``lane="io"``; ``def`` goes to threads.
    """
    coroutine = is_coroutine_function(function)
    match lane:
        case None | "io":
            return "async" if coroutine else "io"
        case "async":
            if not coroutine:
                raise TaskDefinitionError(
                    f"task {name!r} is a plain function and would block the event loop in "
                    'lane="async": make it `async def`, or use lane="io" or lane="cpu"'
                )
            return "async"
        case "cpu":
            if not is_findable(function):
                raise TaskDefinitionError(
                    f"task {name!r} cannot go to a worker process: a lambda, a closure or a bound "
                    "method has no name that another process could import. Define it at the top "
                    'level of a module, or use lane="io"'
                )
            return "cpu"
        case _:
            raise TaskDefinitionError(
                f"lane={lane!r} of task {name!r}: give one of {', '.join(map(repr, LANES))}"
            )


def parameter_names(function: Callable[..., Any]) -> frozenset[str]:
    """The names of its parameters; empty where Python cannot tell."""
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()


def make_definition(
    function: Callable[..., Any],
    *,
    name: str | None,
    lane: str | None,
    policy: RetryPolicy,
    timeout: float | None,
    queue: str,
    priority: int,
    eager: bool,
    at_most_once: bool,
    max_args_bytes: int,
    concurrency: int | None = None,
    rate: str | None = None,
    concurrency_key: Callable[..., Any] | None = None,
    concurrency_limit: int = 1,
    memory_mb: int | None = None,
) -> TaskDefinition:
    """A checked definition; raises `TaskDefinitionError`."""
    if not callable(function):
        raise TaskDefinitionError(f"{function!r} is not a function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TaskDefinitionError(
            f"{task_name(function)!r} is a generator: calling it runs nothing. Make it a plain or "
            "an async function"
        )
    full_name = name or task_name(function)
    if not full_name or len(full_name) > 255 or not full_name.isprintable():
        raise TaskDefinitionError(f"name={full_name!r}: give 1 to 255 printable characters")
    limits = _limits(full_name, queue, concurrency, rate)
    real_lane = route(function, lane, full_name)
    return TaskDefinition(
        function=function,
        name=full_name,
        lane=real_lane,
        codec=ArgumentCodec(function, max_bytes=max_args_bytes),
        policy=policy,
        timeout=check_timeout(timeout, TaskDefinitionError),
        queue=full_name if limits is not None else check_queue(queue, TaskDefinitionError),
        priority=check_priority(priority, TaskDefinitionError),
        eager=bool(eager),
        at_most_once=bool(at_most_once),
        key=ConcurrencyKey.checked(concurrency_key, concurrency_limit, function, full_name),
        limits=limits,
        memory_limit=_check_memory(memory_mb, real_lane),
        options=CALL_OPTIONS - parameter_names(function),
        findable=is_findable(function) or name is not None,
    )


def _limits(name: str, queue: str, concurrency: int | None, rate: str | None) -> QueueConfig | None:
    """A task with limits of its own has a queue of its own, so that a limit is always a queue's."""
    if concurrency is None and rate is None:
        return None
    if queue != DEFAULT_QUEUE:
        raise TaskDefinitionError(
            f"task {name!r} is in queue {queue!r} and has limits of its own: give the limits to "
            f"the queue, TaskManager(queues={{{queue!r}: QueueConfig(...)}}), or leave queue= out"
        )
    try:
        return QueueConfig(concurrency=concurrency, rate=rate)
    except SettingsError as error:
        raise TaskDefinitionError(f"task {name!r}: {error}") from None


def _check_memory(megabytes: object, lane: str) -> int | None:
    if megabytes is None:
        return None
    if isinstance(megabytes, bool) or not isinstance(megabytes, int) or not 1 <= megabytes < 2**20:
        raise TaskDefinitionError(f"memory_mb={megabytes!r}: give a number of MiB from 1 on")
    if lane != "cpu":
        raise TaskDefinitionError(
            f'memory_mb={megabytes}: only a worker process can be limited, use it with lane="cpu"'
        )
    return megabytes * 2**20


def check_timeout(value: object, error: type[ValueError]) -> float | None:
    """Seconds above 0, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise error(f"timeout={value!r}: give seconds above 0, or None for no limit")
    return float(value)


def check_queue(value: object, error: type[ValueError]) -> str:
    """A short printable name."""
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable():
        raise error(f"queue={value!r:.300}: give a name of 1 to 255 printable characters")
    return value


def check_priority(value: object, error: type[ValueError]) -> int:
    """A whole number that every store can hold."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        raise error(f"priority={value!r}: give a whole number; higher starts first, 0 is usual")
    return value
