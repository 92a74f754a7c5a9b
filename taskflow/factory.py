"""Makes tasks out of functions and calls: everything that is checked before anything is stored."""

from __future__ import annotations

import contextvars
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from executors import check_picklable
from taskflow.attempt import Attempt
from taskflow.clock import Clock
from taskflow.definition import TaskDefinition, make_definition, unwrap
from taskflow.errors import TaskDefinitionError
from taskflow.ids import keyed_task_id, new_task_id
from taskflow.options import CallOptions, OptionedFunction, take_options
from taskflow.record import TaskRecord
from taskflow.registry import Registry
from taskflow.retry import RetryPolicy, make_policy
from taskflow.settings import Settings

ExceptionTypes = type[BaseException] | Iterable[type[BaseException]]


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
        #: Names of tasks whose function is known to reach a worker process.
        self._picklable: set[str] = set()

    def declare(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        """Register a decorated function; raises `TaskDefinitionError`."""
        self._registry.declare(self._make_definition(function, **options))

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
            max_args_bytes=self._settings.max_args_bytes,
        )

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
        definition = self._registry.of(function)
        if definition is None:
            definition, args, kwargs = self._adopt(function, args, kwargs)
        if options is None:
            options = take_options(definition, kwargs)
        if definition.lane == "cpu" and definition.name not in self._picklable:
            self._check_picklable(definition)
        now = self._clock.now()
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
        definition = self._registry.of(inner)
        if definition is None:
            definition = self._make_definition(inner)
            self._registry.adopt(definition)
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
