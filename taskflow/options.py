"""The options of one call: everything `add_task` takes beside the function's own arguments."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, ParamSpec, TypeVar

from taskflow.clock import LAST_MOMENT, as_epoch, as_seconds
from taskflow.definition import TaskDefinition, check_priority, check_queue, check_timeout
from taskflow.errors import TaskOptionError
from taskflow.record import TaskRecord
from taskflow.retry import check_retries
from taskflow.states import TaskStatus

P = ParamSpec("P")
R = TypeVar("R")

#: Says that an option was not given, where None means something.
NOT_GIVEN: Any = object()
#: A key longer than this is a mistake.
LONGEST_KEY = 256
#: Bytes of JSON that the tags of one task may take.
LARGEST_TAGS = 4096


class OptionedFunction(Generic[P, R]):
    """A function with the options for one call of it, made by `TaskManager.options`."""

    def __init__(self, function: Callable[P, R], options: Mapping[str, Any]) -> None:
        self.function = function
        self.options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, here and now."""
        return self.function(*args, **kwargs)


@dataclass(slots=True, kw_only=True)
class CallOptions:
    """The options of one call, as given; `apply` checks them."""

    eager: bool | None = None
    priority: int | None = None
    queue: str | None = None
    tags: Mapping[str, Any] | Iterable[str] | None = None
    idempotency_key: str | None = None
    run_in: float | timedelta | None = None
    run_at: datetime | None = None
    #: None is a wish of its own: no limit.
    timeout: float | None = NOT_GIVEN
    retries: int | None = None

    def apply(self, record: TaskRecord, now: float) -> None:
        """Write the options into a new record; raises `TaskOptionError`."""
        if self.priority is not None:
            record.priority = check_priority(self.priority, TaskOptionError)
        if self.queue is not None:
            record.queue = check_queue(self.queue, TaskOptionError)
        if self.timeout is not NOT_GIVEN:
            record.timeout = check_timeout(self.timeout, TaskOptionError)
        if self.retries is not None:
            record.max_attempts = 1 + check_retries(self.retries, TaskOptionError)
        if self.tags is not None:
            record.tags = _encode_tags(self.tags)
        if self.idempotency_key is not None:
            record.idempotency_key = _check_key(self.idempotency_key)
        if self.run_in is not None or self.run_at is not None:
            record.run_at = self._moment(now)
            if record.run_at > now:
                record.status = TaskStatus.SCHEDULED

    def _moment(self, now: float) -> float:
        if self.run_in is not None and self.run_at is not None:
            raise TaskOptionError("give run_in= or run_at=, not both")
        if self.run_at is not None:
            return _moment(self.run_at)
        return now + _duration(self.run_in)


def _moment(value: object) -> float:
    if not isinstance(value, datetime):
        raise TaskOptionError(f"run_at={value!r}: give a datetime with a time zone")
    try:
        moment = as_epoch(value)
    except (ValueError, OverflowError) as error:
        raise TaskOptionError(f"run_at: {error}") from None
    if moment > LAST_MOMENT:
        raise TaskOptionError(f"run_at={value}: give a moment up to the year 9999")
    return moment


def _duration(value: object) -> float:
    if not isinstance(value, bool) and isinstance(value, int | float | timedelta):
        seconds = as_seconds(value)
        if 0 <= seconds < 1e10:
            return seconds
    raise TaskOptionError(f"run_in={value!r}: give a duration of 0 or more, seconds or a timedelta")


def unwrap_options(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """The function inside options and partials in any order, its arguments, and the options.

    The outermost options win.
    """
    given: dict[str, Any] = {}
    while isinstance(function, OptionedFunction | functools.partial):
        if isinstance(function, OptionedFunction):
            given = {**function.options, **given}
            function = function.function
        else:
            args = function.args + args
            kwargs = {**function.keywords, **kwargs}
            function = function.func
    return function, args, kwargs, given


def take_options(definition: TaskDefinition, kwargs: dict[str, Any]) -> CallOptions | None:
    """Take the options out of ``kwargs``; a parameter of the function itself is left there."""
    if not kwargs or definition.options.isdisjoint(kwargs):
        return None
    return CallOptions(**{key: kwargs.pop(key) for key in definition.options & kwargs.keys()})


def _check_key(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_KEY:
        raise TaskOptionError(
            f"idempotency_key={value!r:.60}: give a string of 1 to {LONGEST_KEY} characters"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TaskOptionError(f"idempotency_key={value!r:.60} is not valid Unicode") from None
    return value


def _encode_tags(tags: object) -> str:
    if isinstance(tags, Mapping):
        value: object = {str(key): str(label) for key, label in tags.items()}
    elif isinstance(tags, Iterable) and not isinstance(tags, str | bytes):
        value = [str(tag) for tag in tags]
    else:
        raise TaskOptionError(f"tags={tags!r:.60}: give a dict of labels or a list of strings")
    text = json.dumps(value)
    if len(text) > LARGEST_TAGS:
        raise TaskOptionError(f"tags take {len(text)} bytes; at most {LARGEST_TAGS} are kept")
    return text
