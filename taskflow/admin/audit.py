"""Writes down who did what over the API: a row for each request that was to change something."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any

from fastapi.routing import APIRoute
from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.types import Message, Receive

from taskflow.admin.body import LARGEST
from taskflow.admin.roles import is_admitted, visitor_in
from taskflow.errors import StoreError
from taskflow.life import Life
from taskflow.printable import printable
from taskflow.secret_text import MASK
from taskflow.stores.annals import Deed

log = logging.getLogger(__name__)

#: Characters of a target and of what was sent along that are kept.
LONGEST_TARGET = 300
LONGEST_DETAIL = 2000
#: Answers to requests that nothing was there for, or that made no sense: anybody can send any
#: number of them, and they would drive out what was done.
LEFT_OUT = frozenset({404, 422})
#: Seconds that an answer waits for its row.
PATIENCE = 1.0
_DAY = 86_400.0

#: Parts of a path that are parameters.
_PARAMETER = re.compile(r"\{[^}]*\}")
#: What one thing of a collection is called.
_ONE_OF = {"lanes": "lane", "queues": "queue", "schedules": "schedule", "scheduled": "plan"}
#: What a method means to a thing where the path does not say it.
_VERBS = {"POST": "add", "PUT": "put", "PATCH": "patch", "DELETE": "delete"}


def action_of(method: str, path: str) -> str:
    """The name of what is done, such as ``retry`` or ``schedule.pause``; ``path`` is a pattern."""
    words = [word for word in _PARAMETER.sub("", path).split("/") if word]
    thing = _ONE_OF.get(words[0]) if words else None
    if thing is None:
        return ".".join(words) or _VERBS.get(method, method.lower())
    return ".".join((thing, *(words[1:] or [_VERBS.get(method, method.lower())])))


def is_audited(route: APIRoute, method: str) -> bool:
    """Whether it may change something. A preview only asks."""
    return method not in {"GET", "HEAD"} and not route.path.endswith("/preview")


class Overheard:
    """Hands on the body of a request as it comes, and keeps as much of it as any route reads."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.body = bytearray()

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and len(self.body) <= LARGEST:
            self.body += message.get("body", b"")
        return message


class Audit:
    """Writes rows for one admin, whose routes are under ``path``."""

    def __init__(self, task_manager: Life, path: str) -> None:
        self._life = task_manager
        self._path = path

    async def note(self, request: Request, route: APIRoute, body: bytes, status: int) -> None:
        """Write down a request that the guard let through, and how it was answered.

        Answers of `LEFT_OUT` are not written down.

        Whatever becomes of that, the answer stands: the log tells of a row that is missing.
        """
        if status in LEFT_OUT or not is_admitted(request.scope) or not self._life.is_running:
            return
        engine = self._life.engine
        settings = engine.settings
        now = engine.clock.now()
        targets = [str(value) for value in request.path_params.values()]
        deed = Deed(
            at=now,
            user=visitor_in(request.scope).user,
            action=action_of(request.method, route.path.removeprefix(self._path)),
            target=printable(targets[0])[:LONGEST_TARGET] if targets else "",
            detail=self._show(body),
            status=status,
        )
        before = now - settings.audit_days * _DAY
        try:
            async with asyncio.timeout(PATIENCE):
                await engine.store.annals.record(deed, keep=settings.audit_rows, before=before)
        except (StoreError, TimeoutError) as error:
            log.warning(
                "%s of %s by %s, answered %d, is not in the audit log: %s",
                deed.action,
                deed.target or "-",
                deed.user or "somebody",
                status,
                str(error) or "the store does not answer",
            )

    def _show(self, body: bytes) -> str | None:
        """What was sent along, fit to be kept and shown."""
        if not body:
            return None
        try:
            found = from_json(body)
        except ValueError:
            return f"({len(body)} bytes that are no JSON)"
        if isinstance(found, dict):
            found = {**found, **self._hide_arguments(found)}
        shown = self._life.redactor.value(found)
        text = printable(to_json(shown, inf_nan_mode="constants").decode())
        return text if len(text) <= LONGEST_DETAIL else f"{text[: LONGEST_DETAIL - 1]}…"

    def _hide_arguments(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of a function; of one that is not known here only how they are called."""
        args, kwargs, task = found.get("args"), found.get("kwargs"), found.get("task")
        shown: dict[str, Any] = {}
        definition = self._life.registry.find("", task) if isinstance(task, str) else None
        if definition is not None:
            both = {"args": args or [], "kwargs": kwargs or {}}
            both = self._life.redactor.arguments(both, definition.codec.hidden)
            return {name: both[name] for name in ("args", "kwargs") if name in found}
        if args is not None:
            shown["args"] = [MASK] * len(args) if isinstance(args, list) else MASK
        if kwargs is not None:
            shown["kwargs"] = dict.fromkeys(kwargs, MASK) if isinstance(kwargs, dict) else MASK
        return shown
