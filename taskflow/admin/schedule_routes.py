"""The routes about schedules: to look at them, to make and to change them.

The name of a schedule may hold a slash. What follows it in a path is never needed to tell two
schedules apart: ``POST`` is only for what is done to one, and each such path ends with a word.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic_core import to_json

from taskflow.admin.body import JsonBody
from taskflow.admin.models import Problem
from taskflow.admin.schedule_models import (
    Draft,
    NewSchedule,
    Pause,
    Preview,
    Schedule,
    ScheduleChange,
    ScheduleList,
    Started,
)
from taskflow.admin.schedules import present_next, present_schedule
from taskflow.clock import as_epoch
from taskflow.definition import TaskDefinition
from taskflow.errors import ScheduleError, TaskArgumentError, UnknownScheduleError
from taskflow.manager import TaskManager
from taskflow.printable import printable
from taskflow.schedules.preview import Run, runs
from taskflow.schedules.rule import Rule, parse_rule
from taskflow.schedules.state import ScheduleState
from taskflow.schedules.zones import Zone

DEFAULT_LIMIT = 50
#: Last runs of a schedule: in a list, and of one.
LISTED_RUNS = 5
DEFAULT_RUNS = 20
MOST_RUNS = 100
#: Runs to come that are found without letting anything else run in between.
SLICE = 5

_NEW = JsonBody(NewSchedule)
_CHANGE = JsonBody(ScheduleChange)
_PAUSE = JsonBody(Pause)
_DRAFT = JsonBody(Draft)

Limit = Annotated[int, Query(ge=1, le=200)]

_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "Unknown schedule"}
}
_FOREIGN: dict[int | str, dict[str, Any]] = {
    403: {"model": Problem, "description": "Sent by a page of another origin"}
}
_WRONG: dict[int | str, dict[str, Any]] = {
    **_FOREIGN,
    422: {"model": Problem, "description": "A value that cannot work"},
}
_TAKEN: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "Name is taken"}}
_IN_CODE: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "The schedule, as it is, does not allow it"}
}


def add_schedules(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    """Add them to ``router``."""
    _add_list(router, scope, task_manager)
    _add_preview(router, scope, task_manager)
    _add_actions(router, scope, task_manager)
    _add_one(router, scope, task_manager)


# -- schedules -------------------------------------------------------------------------------------


def _add_list(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    @router.get("/schedules", operation_id=f"{scope}_schedules")
    async def list_schedules(
        after: Annotated[
            str, Query(max_length=200, description="next_cursor of the page before")
        ] = "",
        limit: Limit = DEFAULT_LIMIT,
    ) -> ScheduleList:
        """Schedules, in the order of their names, with their last runs."""
        found = await task_manager.schedules.all(after=after, limit=limit + 1)
        await task_manager.engine.settle()
        return ScheduleList(
            items=[await _present(task_manager, state, LISTED_RUNS) for state in found[:limit]],
            next_cursor=found[limit - 1].name if len(found) > limit else None,
        )

    @router.post(
        "/schedules",
        operation_id=f"{scope}_add_schedule",
        status_code=201,
        responses={**_WRONG, **_TAKEN},
        openapi_extra=_NEW.schema,
    )
    async def add_schedule(new: Annotated[NewSchedule, Depends(_NEW.read)]) -> Schedule:
        """Add a schedule of a declared task; kept in the store, for every instance."""
        store = task_manager.engine.store
        if await store.schedule(new.name) is not None:
            raise HTTPException(409, f"schedule {new.name!r} exists: change it, or choose a name")
        options = {
            name: value
            for name in ScheduleChange.model_fields
            if (value := getattr(new, name)) is not None
        }
        definition = task_manager.registry.find("", new.task)
        with _refusals():
            try:
                _load_arguments(definition, options)
                state = await task_manager.schedules.add(new.name, new.task, **options)
            except ScheduleError as error:
                if await store.schedule(new.name) is None:
                    raise
                raise HTTPException(409, str(error)) from error  # somebody was quicker
        return await _present(task_manager, state, LISTED_RUNS)


def _add_preview(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    @router.post(
        "/schedules/preview",
        operation_id=f"{scope}_preview_schedule",
        responses=_WRONG,
        openapi_extra=_DRAFT.schema,
    )
    async def preview(draft: Annotated[Draft, Depends(_DRAFT.read)]) -> Preview:
        """What a rule means in words, and when it would run; changes nothing."""
        now = task_manager.engine.clock.now()
        with _refusals():
            rule = parse_rule(
                cron=draft.cron, every=draft.every, timezone=draft.timezone, anchor=int(now)
            )
            after = now if draft.after is None else _moment(draft.after, rule.zone)
        return Preview(
            words=rule.words,
            timezone=rule.zone.name,
            next_runs=present_next(await _first_runs(rule, after, draft.count)),
        )


def _add_actions(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    refused: dict[int | str, dict[str, Any]] = {**_MISSING, **_FOREIGN}

    @router.post(
        "/schedules/{name:path}/run",
        operation_id=f"{scope}_run_schedule",
        status_code=202,
        responses={**refused, **_IN_CODE},
    )
    async def run_schedule(name: str) -> Started:
        """Run it once, now, beside its rule; also while it is paused."""
        with _refusals(409):
            handle = await task_manager.schedules.run_now(name)
        return Started(task_id=handle.task_id)

    @router.post(
        "/schedules/{name:path}/pause",
        operation_id=f"{scope}_pause_schedule",
        responses=refused,
        openapi_extra={"requestBody": {**_PAUSE.schema["requestBody"], "required": False}},
    )
    async def pause_schedule(name: str, request: Request) -> Schedule:
        """Fire it no more, in no instance, until it is resumed."""
        pause = await _PAUSE.read(request) if _has_body(request) else Pause()
        by = printable(pause.by or _user_of(request))[:200]
        with _refusals():
            state = await task_manager.schedules.pause(name, by)
        return await _present(task_manager, state, LISTED_RUNS)

    @router.post(
        "/schedules/{name:path}/resume", operation_id=f"{scope}_resume_schedule", responses=refused
    )
    async def resume_schedule(name: str) -> Schedule:
        """Go on; what fell into the pause is not made up for."""
        with _refusals():
            state = await task_manager.schedules.resume(name)
        return await _present(task_manager, state, LISTED_RUNS)


def _add_one(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    @router.get("/schedules/{name:path}", operation_id=f"{scope}_get_schedule", responses=_MISSING)
    async def get_schedule(
        name: str,
        runs: Annotated[int, Query(ge=1, le=MOST_RUNS, description="last runs")] = DEFAULT_RUNS,
    ) -> Schedule:
        """One schedule with its last runs."""
        with _refusals():
            state = await task_manager.schedules.get(name)
        await task_manager.engine.settle()
        return await _present(task_manager, state, runs)

    @router.patch(
        "/schedules/{name:path}",
        operation_id=f"{scope}_change_schedule",
        responses={**_MISSING, **_WRONG},
        openapi_extra=_CHANGE.schema,
    )
    async def change_schedule(
        name: str, change: Annotated[ScheduleChange, Depends(_CHANGE.read)]
    ) -> Schedule:
        """Change it; kept in the store, for every instance, also over restarts and deploys."""
        changes = change.given()
        with _refusals():
            known = await task_manager.schedules.get(name)
            _load_arguments(task_manager.registry.find("", known.func_name), changes)
            state = await task_manager.schedules.change(name, **changes)
        return await _present(task_manager, state, LISTED_RUNS)

    @router.delete(
        "/schedules/{name:path}",
        operation_id=f"{scope}_remove_schedule",
        status_code=204,
        responses={**_MISSING, **_FOREIGN, **_IN_CODE},
    )
    async def remove_schedule(name: str) -> None:
        """Remove it with its history; tasks that it has started go on."""
        with _refusals(409):
            await task_manager.schedules.remove(name)


async def _present(task_manager: TaskManager, state: ScheduleState, count: int) -> Schedule:
    engine = task_manager.engine
    last = await engine.store.firings(state.name, count)
    return present_schedule(state, last, engine.clock.now())


# -- what is asked for -----------------------------------------------------------------------------


@contextmanager
def _refusals(status: int = 422) -> Iterator[None]:
    """Errors of schedules as those of HTTP, with their reason."""
    try:
        yield
    except UnknownScheduleError as error:
        raise HTTPException(404, str(error)) from error
    except (ScheduleError, TaskArgumentError) as error:
        raise HTTPException(status, str(error)) from error


def _load_arguments(definition: TaskDefinition | None, options: dict[str, Any]) -> None:
    """Turn arguments as JSON has them into what the annotations of the function say, in place."""
    args, kwargs = options.get("args"), options.get("kwargs")
    if definition is None or (args is None and kwargs is None):
        return
    text = to_json({"args": args or [], "kwargs": kwargs or {}}).decode()
    try:
        options["args"], options["kwargs"] = definition.codec.decode(text)
    except Exception:  # validators of users may raise anything
        # What does not fit is refused once more when it is to be stored, in better words.
        return


async def _first_runs(rule: Rule, after: float, count: int) -> list[Run]:
    """`runs`, with a break now and then: a 29 February that is a Monday takes a millisecond."""
    found: list[Run] = []
    while len(found) < count:
        size = min(SLICE, count - len(found))
        more = runs(rule, found[-1].slot if found else after, size)
        found += more
        if len(more) < size:
            break
        await asyncio.sleep(0)
    return found


def _moment(text: str, zone: Zone) -> float:
    try:
        # Python 3.11 takes a NUL for the end of the text.
        moment = datetime.fromisoformat(text.replace("\0", "?"))
    except ValueError:
        raise ScheduleError(
            f"after={text!r:.70}: give a time such as 2026-10-24T00:00 or 2026-10-24T00:00+02:00"
        ) from None
    return zone.moment(moment) if moment.tzinfo is None else as_epoch(moment)


def _has_body(request: Request) -> bool:
    """By what the guard goes, too, which lets JSON in or nothing at all."""
    headers = request.headers
    return "transfer-encoding" in headers or bool(headers.get("content-length", "").strip(" 0"))


def _user_of(request: Request) -> str:
    """Whom the guard has let in by HTTP Basic; "" if by anything else."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text.partition(":")[0]
