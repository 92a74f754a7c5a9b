"""Which functions are tasks, by name and by function."""

from __future__ import annotations

import contextlib
import logging
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from taskflow.definition import TaskDefinition
from taskflow.errors import DuplicateTaskError

log = logging.getLogger(__name__)


class Registry:
    """The task functions of one manager.

    A *declared* function was decorated: it is found by its name after a restart. Any other function
    handed to ``add_task`` is *adopted*: it runs and retries in this process, and a row of it that
    survives the process waits until the function is declared or handed over again.
    """

    def __init__(self) -> None:
        self._declared: dict[str, TaskDefinition] = {}
        self._by_function: dict[Any, TaskDefinition] = {}
        self._adopted: dict[str, TaskDefinition] = {}
        #: Adopted functions by identity; a closure made for one request does not stay for ever.
        self._seen: weakref.WeakKeyDictionary[Any, TaskDefinition] = weakref.WeakKeyDictionary()
        #: Definitions of unfinished tasks that their name does not lead to, by task id.
        self._local: dict[str, TaskDefinition] = {}
        self._names: frozenset[str] = frozenset()

    def declare(self, definition: TaskDefinition) -> None:
        """Register a decorated function; raises `DuplicateTaskError` for a name already taken."""
        known = self._declared.get(definition.name)
        if known is not None and known.function is definition.function:
            raise DuplicateTaskError(f"task {definition.name!r} is declared twice")
        if known is not None:
            raise DuplicateTaskError(
                f"task name {definition.name!r} is taken by {known.function!r}: give one of the "
                "two another name with task(name=...)"
            )
        self._declared[definition.name] = definition
        self._by_function[definition.function] = definition
        self._names |= {definition.name}

    def behind(self, function: Callable[..., Any]) -> TaskDefinition | None:
        """The declared task that ``function`` is a method, a wrapper or a copy of, if any."""
        layer: Any = function
        while layer is not None:
            with contextlib.suppress(TypeError):  # an unhashable callable object
                if layer in self._by_function:
                    return self._by_function[layer]
            layer = getattr(layer, "__func__", None) or getattr(layer, "__wrapped__", None)
        return None

    def rebind(self, definition: TaskDefinition) -> None:
        """From now on the name of a declared task means this function: its method or wrapper."""
        self._declared[definition.name] = definition
        with contextlib.suppress(TypeError):
            self._seen[definition.function] = definition

    def adopt(self, definition: TaskDefinition) -> None:
        """Register an undecorated function that was handed to ``add_task``."""
        if definition.findable and definition.name not in self._names:
            log.info(
                "%s runs as a task but was not declared with @task_manager.task: if it still "
                "waits at a restart, it goes on waiting until it is added again",
                definition.name,
            )
        # A bound method is a new object at every access and would be gone from here at once.
        if not isinstance(definition.function, types.MethodType):
            with contextlib.suppress(TypeError):  # an object without weak references
                self._seen[definition.function] = definition
        if definition.name not in self._declared:
            self._adopted[definition.name] = definition
            self._names |= {definition.name}

    def of(self, function: Callable[..., Any]) -> TaskDefinition | None:
        """The definition of exactly this function object, if it is known."""
        try:
            return self._by_function.get(function) or self._seen.get(function)
        except TypeError:  # an unhashable callable object
            return None

    def keep(self, task_id: str, definition: TaskDefinition) -> None:
        """Remember the very function of a task if its name does not lead back to it."""
        if self._by_function.get(definition.function) is not definition:
            self._local[task_id] = definition

    def forget(self, task_id: str) -> None:
        """The task is over."""
        if self._local:
            self._local.pop(task_id, None)

    def find(self, task_id: str, name: str) -> TaskDefinition | None:
        """The definition for a stored task, if this process has it."""
        known = self._local.get(task_id) or self._declared.get(name)
        if known is None:
            adopted = self._adopted.get(name)
            known = adopted if adopted is not None and adopted.findable else None
        return known

    @property
    def names(self) -> frozenset[str]:
        """Every name this process can run."""
        return self._names

    def is_declared(self, definition: TaskDefinition) -> bool:
        """Whether it is that of a declared task, and not of one that was only handed over."""
        return self._declared.get(definition.name) is definition

    def __iter__(self) -> Iterator[TaskDefinition]:
        return iter(self._declared.values())
