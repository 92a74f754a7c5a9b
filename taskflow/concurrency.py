"""What tells tasks apart of which only so many may run at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self

from taskflow.errors import TaskDefinitionError, TaskOptionError

#: A key longer than this is a mistake.
LONGEST_KEY = 256
_MOST = 1_000_000


class ConcurrencyKey:
    """``concurrency_key=lambda order_id: order_id`` of one task.

    The function is called with those arguments of the task that it has parameters for, by name,
    when a task is added. What it returns, as text, is the key; None means that this task has none.
    """

    def __init__(
        self, choose: Callable[..., Any], limit: int, function: Callable[..., Any], name: str
    ) -> None:
        self.limit = limit
        self._choose = choose
        self._name = name
        self._signature = inspect.signature(function)
        wanted = inspect.signature(choose).parameters.values()
        #: None: it takes whatever there is.
        self._wanted: tuple[str, ...] | None = tuple(parameter.name for parameter in wanted)
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in wanted):
            self._wanted = None

    @classmethod
    def checked(
        cls,
        choose: object,
        limit: object,
        function: Callable[..., Any],
        name: str,
    ) -> Self | None:
        """The key of a task; raises `TaskDefinitionError` for one that cannot work."""
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= _MOST:
            raise TaskDefinitionError(
                f"concurrency_limit={limit!r} of task {name!r}: give a whole number from 1 on"
            )
        if choose is None:
            if limit != 1:
                raise TaskDefinitionError(
                    f"concurrency_limit={limit} of task {name!r} is a limit for each key: give "
                    "concurrency_key= too, or limit the task as a whole with concurrency="
                )
            return None
        if not callable(choose):
            raise TaskDefinitionError(
                f"concurrency_key={choose!r} of task {name!r}: give a function of the task's "
                "arguments, such as lambda order_id: order_id"
            )
        try:
            key = cls(choose, limit, function, name)
        except (TypeError, ValueError) as error:
            raise TaskDefinitionError(
                f"concurrency_key of task {name!r} cannot be used: {error}"
            ) from error
        key.check()
        return key

    def check(self) -> None:
        """Raise `TaskDefinitionError` if the key asks for an argument the task does not have."""
        parameters = self._signature.parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        for wanted in self._wanted or ():
            if wanted not in parameters:
                raise TaskDefinitionError(
                    f"concurrency_key of task {self._name!r} asks for {wanted!r}: the task has "
                    f"{', '.join(parameters) or 'no arguments'}"
                )

    def bound_to(self, function: Callable[..., Any]) -> ConcurrencyKey:
        """The same for a method or a wrapper of the function."""
        return ConcurrencyKey(self._choose, self.limit, function, self._name)

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        """The key of one call; raises `TaskOptionError` if it cannot be told."""
        try:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            given = dict(bound.arguments)
            for parameter in self._signature.parameters.values():
                if parameter.kind is parameter.VAR_KEYWORD:
                    given.update(given.pop(parameter.name))
            if self._wanted is not None:
                given = {name: given[name] for name in self._wanted if name in given}
            key = self._choose(**given)
        except Exception as error:
            raise TaskOptionError(
                f"concurrency_key of task {self._name!r} failed: {type(error).__name__}: {error}"
            ) from error
        if key is None:
            return None
        text = str(key)
        if not 0 < len(text) <= LONGEST_KEY:
            raise TaskOptionError(
                f"concurrency_key of task {self._name!r} is {text!r:.60}: give 1 to {LONGEST_KEY} "
                "characters"
            )
        # Two tasks that both go by an id mean different things by it.
        return f"{self._name}:{text}"
