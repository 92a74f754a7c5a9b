"""The one place that every answer of the admin passes: what is secret in it is hidden here.

The JSON is looked at as it goes out, whichever route made it. Names that other requests refer to,
such as those of tasks, queues and schedules, stay as they are.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json
from starlette.responses import Response

from taskflow.admin.values import shorten
from taskflow.life import Life
from taskflow.secret_text import MASK
from taskflow.secret_types import Hidden

#: What things are found by.
_IDENTITY = frozenset(
    {
        *("task_id", "func_name", "task", "name", "queue", "lane", "status", "instance", "source"),
        *("next_cursor", "run_key", "held_by", "cron", "timezone", "at", "created_at", "run_at"),
        *("start_time", "end_time", "started_at", "ended_at"),
    }
)
#: What a user's code made, and may look like anything.
_OF_USERS = frozenset({"result", "progress", "tags"})
_PLAIN = frozenset({type(None), int, float, bool})
#: Our own structures are not deeper.
_DEEPEST = 40


class Outgoing:
    """Hides secrets in answers, with what ``task_manager`` knows of names and functions."""

    def __init__(self, task_manager: Life) -> None:
        self._registry = task_manager.registry
        self._redactor = task_manager.redactor

    def clean(self, response: Response) -> None:
        """Hide what is secret in ``response``, in place. Anything but JSON is left alone."""
        kind = response.headers.get("content-type", "")
        if not kind.startswith("application/json") or not response.body:
            return
        body = bytes(response.body)
        response.body = to_json(self.hide(_parse(body)))
        response.headers["content-length"] = str(len(response.body))

    def hide(self, value: Any) -> Any:
        """Decoded JSON of an answer without secrets."""
        return self._hide(value, "", None, 0)

    def _hide(self, value: Any, name: str, function: Hidden | None, depth: int) -> Any:
        if isinstance(value, str):
            return value if name in _IDENTITY else self._redactor.text(value, name)
        if depth > _DEEPEST:
            return MASK
        if isinstance(value, list | tuple):
            return [self._hide(item, name, function, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        function = self._function_of(value) or function
        shown: dict[str, Any] = {}
        for key, member in value.items():
            if key == "arguments":
                shown[key] = self._arguments(member, function)
            elif key in _OF_USERS:
                shown[key] = self._redactor.value(member, key, function or Hidden())
            elif type(member) in _PLAIN or (type(member) is str and key in _IDENTITY):
                shown[key] = member
            else:
                shown[key] = self._hide(member, key, function, depth + 1)
        return shown

    def _function_of(self, item: dict[str, Any]) -> Hidden | None:
        """What is known of the function that a task or a schedule in an answer belongs to."""
        name = item.get("func_name") or item.get("task")
        if not isinstance(name, str):
            return None
        definition = self._registry.find(str(item.get("task_id", "")), name)
        return None if definition is None else definition.codec.hidden

    def _arguments(self, found: Any, function: Hidden | None) -> Any:
        if isinstance(found, dict):
            # What was cut first could hide from the redactor what it knows a secret by.
            return shorten(self._redactor.arguments(found, function))
        # Too long to be taken apart: nothing in it has a name.
        return found if found is None else MASK


def _parse(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:  # nested more deeply than it follows
        return json.loads(body)
