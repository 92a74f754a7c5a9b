"""Makes tasks out of functions and calls: everything that is checked before anything is stored."""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import random
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from executors import check_picklable
from taskflow.attempt import Attempt
from taskflow.clock import Clock
from taskflow.codec import ArgumentCodec
from taskflow.definition import (
    CALL_OPTIONS,
    TaskDefinition,
    is_findable,
    main_of_package,
    make_definition,
    parameter_names,
    route,
    unwrap,
)
from taskflow.errors import TaskDefinitionError
from taskflow.ids import keyed_task_id, new_task_id
from taskflow.options import CallOptions, OptionedFunction, take_options, unwrap_options
from taskflow.record import TaskRecord
from taskflow.registry import Registry
from taskflow.retry import RetryPolicy, make_policy
from taskflow.settings import Settings

ExceptionTypes = type[BaseException] | Iterable[type[BaseException]]


OPTION_NAMES = frozenset(
    {
        "name",
        "lane",
        "retries",
        "delay",
        "backoff",
        "max_delay",
        "jitter",
        "retry_on",
        "dont_retry_on",
        "timeout",
        "queue",
        "priority",
        "eager",
        "at_most_once",
        "requeue_on_interrupt",
        "concurrency",
        "rate",
        "concurrency_key",
        "concurrency_limit",
        "memory_mb",
    }
)


class TaskFactory:
    """Turns a function into a definition, and a call of it into an attempt; from any thread."""

    def __init__(self, settings: Settings, registry: Registry, clock: Clock) -> None:
        self._settings = settings
        self._registry = registry
        self._clock = clock
        self._random_bits = random.Random().getrandbits  # seeded by the operating system
        self._timeouts = {
            "async": settings.async_timeout,
            "io": settings.io_timeout,
            "cpu": settings.cpu_timeout,
        }
        self._max_result_bytes = settings.max_result_bytes
        #: Names of tasks whose function is known to reach a worker process.
        self._picklable: set[str] = set()

    def declare(self, function: Callable[..., Any], options: Mapping[str, Any]) -> TaskDefinition:
        """Register a decorated function; raises `TaskDefinitionError`."""
        if isinstance(function, classmethod):
            raise TaskDefinitionError(
                f"{function!r} cannot be declared: put @classmethod above @task_manager.task"
            )
        if isinstance(function, staticmethod):
            function = function.__func__  # what the name in the class will give
        definition = self._make_definition(function, **options)
        self._registry.declare(definition)
        return definition

    def check_option_names(self, options: Mapping[str, Any]) -> None:
        """Raise `TaskDefinitionError` for an option that `TaskManager.task` does not have."""
        for name in options.keys() - OPTION_NAMES:
            raise TaskDefinitionError(
                f"task() has no option {name!r}: it takes {', '.join(sorted(OPTION_NAMES))}"
            )

    def bind_declared(self) -> None:
        """Find out what the names of declared tasks mean now that the app is loaded.

        A decorator above ours, or the class around it, makes something else of the function: that
        is what callers hand over, and what must run after a restart.
        """
        for definition in tuple(self._registry):
            found: object = sys.modules.get(definition.function.__module__)
            for part in getattr(definition.function, "__qualname__", "<none>").split("."):
                found = getattr(found, part, None)
            if callable(found) and self._registry.of(found) is None:
                related = self._registry.behind(found)
                if related is not None and is_findable(found):
                    self._registry.rebind(self._derive(related, found))

    def _derive(self, declared: TaskDefinition, function: Callable[..., Any]) -> TaskDefinition:
        """The same task with a method or a wrapper of its function."""
        return dataclasses.replace(
            declared,
            function=function,
            lane=route(function, "cpu" if declared.lane == "cpu" else None, declared.name),
            codec=ArgumentCodec(function, max_bytes=self._settings.max_args_bytes),
            key=None if declared.key is None else declared.key.bound_to(function),
            options=CALL_OPTIONS - parameter_names(function),
            findable=is_findable(function),
        )

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
        concurrency: int | None = None,
        rate: str | None = None,
        concurrency_key: Callable[..., Any] | None = None,
        concurrency_limit: int = 1,
        memory_mb: int | None = None,
        **retrying: Any,
    ) -> TaskDefinition:
        if at_most_once is None:
            at_most_once = requeue_on_interrupt is False
        elif requeue_on_interrupt is not None and requeue_on_interrupt == at_most_once:
            raise TaskDefinitionError(
                f"at_most_once={at_most_once} contradicts requeue_on_interrupt="
                f"{requeue_on_interrupt}: give one of the two"
            )
        definition = make_definition(
            function,
            name=name,
            lane=lane,
            policy=_policy(**retrying) if retrying else RetryPolicy(),
            timeout=timeout,
            queue=queue,
            priority=priority,
            eager=eager,
            at_most_once=at_most_once,
            max_args_bytes=self._settings.max_args_bytes,
            concurrency=concurrency,
            rate=rate,
            concurrency_key=concurrency_key,
            concurrency_limit=concurrency_limit,
            memory_mb=memory_mb,
        )
        default = self._settings.cpu_memory_mb
        if default is not None and definition.lane == "cpu" and memory_mb is None:
            return dataclasses.replace(definition, memory_limit=default * 2**20)
        return definition

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
        if type(function) is OptionedFunction or type(function) is functools.partial:
            function, args, kwargs, given = unwrap_options(function, args, kwargs)
            options = CallOptions(**given) if given else None
        definition = self._registry.of(function)
        if definition is None:
            definition, args, kwargs = self._adopt(function, args, kwargs)
        if options is None:
            options = take_options(definition, kwargs)
        if definition.lane == "cpu" and definition.name not in self._picklable:
            self._check_picklable(definition)
        now = self._clock.now()
        record = self._new_record(definition, definition.codec.encode(args, kwargs), now, source)
        if definition.key is not None:
            record.concurrency_key = definition.key.of(args, kwargs)
            record.key_limit = definition.key.limit
        eager = definition.eager
        if options is not None:
            options.apply(record, now)
            if record.idempotency_key is not None:
                record.task_id = keyed_task_id(definition.name, record.idempotency_key)
            if options.eager is not None:
                eager = options.eager
        context = contextvars.copy_context()
        return Attempt(record, definition, args, kwargs, context, self._max_result_bytes), eager

    def _new_record(
        self, definition: TaskDefinition, args: str, now: float, source: str
    ) -> TaskRecord:
        timeout = definition.timeout
        return TaskRecord(
            new_task_id(now, self._random_bits),
            definition.name,
            definition.lane,
            now,
            args=args,
            queue=definition.queue,
            priority=definition.priority,
            max_attempts=definition.policy.retries + 1,
            timeout=self._timeouts[definition.lane] if timeout is None else timeout,
            at_most_once=definition.at_most_once,
            source=source,
        )

    def scheduled(self, definition: TaskDefinition, args: str, now: float) -> TaskRecord:
        """A new task from stored arguments, as the scheduler makes them."""
        record = self._new_record(definition, args, now, "schedule")
        if definition.key is not None:
            values, named = definition.codec.decode(args)
            record.concurrency_key = definition.key.of(values, named)
            record.key_limit = definition.key.limit
        return record

    def _check_picklable(self, definition: TaskDefinition) -> None:
        # Not at the declaration: the name of the function does not exist before the decorator ends.
        try:
            if main_of_package(definition.function):
                raise TypeError(
                    f"{definition.function!r} stands in the __main__.py of a package, which worker "
                    "processes do not import: move it to another module of the package"
                )
            check_picklable(definition.function)
        except TypeError as error:
            raise TaskDefinitionError(f"task {definition.name!r}: {error}") from error
        self._picklable.add(definition.name)

    def _adopt(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[TaskDefinition, tuple[Any, ...], dict[str, Any]]:
        """The definition of a function that is not known as it is handed over."""
        inner, held_args, held_kwargs = unwrap(function)
        definition = self._registry.of(inner)
        if definition is None:
            declared = self._registry.behind(inner)
            if declared is None:
                definition = self._make_definition(inner)
                self._registry.adopt(definition)
            else:
                definition = self._derive(declared, inner)
                if definition.findable:
                    self._registry.rebind(definition)
        return definition, held_args + args, {**held_kwargs, **kwargs}


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
