"""The routes about lanes and queues: to look at them, and to change them while they work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path

from executors import Lane
from taskflow.admin.body import JsonBody
from taskflow.admin.figures import Figures
from taskflow.admin.lane_models import (
    LaneChange,
    LaneList,
    LaneState,
    QueueChange,
    QueueList,
    QueueState,
)
from taskflow.admin.lanes import present_lane
from taskflow.admin.machine import present_app, present_host, present_loop
from taskflow.admin.models import Problem
from taskflow.admin.queues import present_queue
from taskflow.controls import Kind
from taskflow.definition import check_queue
from taskflow.engine import Engine
from taskflow.errors import SettingsError

_LANE_CHANGE = JsonBody(LaneChange)
_QUEUE_CHANGE = JsonBody(QueueChange)

_REFUSED: dict[int | str, dict[str, Any]] = {
    403: {"model": Problem, "description": "Sent by a page of another origin"},
    422: {"model": Problem, "description": "A value that cannot work"},
}


def add_lanes(router: APIRouter, scope: str, figures_of: Callable[[], Figures]) -> None:
    """Add them to ``router``."""
    _add_lanes(router, scope, figures_of)
    _add_queues(router, scope, figures_of)


async def look_at_lanes(figures: Figures) -> LaneList:
    """The lanes and queues of this instance, and the machine; a second old at most."""
    engine = figures.engine
    measured = await figures.measured.get()
    queues = await figures.queues.get()
    sample = engine.sampler.latest
    return LaneList(
        instance=engine.instance,
        items=[present_lane(engine, it, *measured.lanes[it.name]) for it in engine.lanes.values()],
        queues=queues,
        app=present_app(None if sample is None else sample.app),
        host=present_host(None if sample is None else sample.host, cgroup=figures.cgroup),
        loop=present_loop(engine.stalls, measured.lag),
    )


def _add_lanes(router: APIRouter, scope: str, figures_of: Callable[[], Figures]) -> None:
    @router.get("/lanes", operation_id=f"{scope}_lanes")
    async def lanes() -> LaneList:
        """The lanes and queues of this instance, and the machine; a second old at most."""
        return await look_at_lanes(figures_of())

    @router.patch(
        "/lanes/{name}",
        operation_id=f"{scope}_change_lane",
        responses={**_REFUSED, 404: {"model": Problem, "description": "Unknown lane"}},
        openapi_extra=_LANE_CHANGE.schema,
    )
    async def change_lane(
        name: Annotated[str, Path(max_length=200)],
        change: Annotated[LaneChange, Depends(_LANE_CHANGE.read)],
    ) -> LaneState:
        """Set the slots of a lane, pause it, resume it; kept in the store, for every instance."""
        figures = figures_of()
        lane = _find_lane(figures.engine, name)
        await _apply(figures.engine, "lane", name, change.given())
        measured = await figures.measured.get()
        return present_lane(figures.engine, lane, *measured.lanes[name])


def _add_queues(router: APIRouter, scope: str, figures_of: Callable[[], Figures]) -> None:
    @router.get("/queues", operation_id=f"{scope}_queues")
    async def queues() -> QueueList:
        """The queues of this instance; a second old at most."""
        return await figures_of().queues.get()

    # A queue has the name of its task where that has limits of its own, and may hold a slash.
    @router.patch(
        "/queues/{name:path}",
        operation_id=f"{scope}_change_queue",
        responses=_REFUSED,
        openapi_extra=_QUEUE_CHANGE.schema,
    )
    async def change_queue(
        name: str, change: Annotated[QueueChange, Depends(_QUEUE_CHANGE.read)]
    ) -> QueueState:
        """Set the limits of a queue, pause it, resume it; kept in the store, for every instance."""
        engine = figures_of().engine
        try:
            check_queue(name, SettingsError)
        except SettingsError as error:
            raise HTTPException(422, str(error)) from error
        await _apply(engine, "queue", name, change.given())
        return present_queue(engine, name)


def _find_lane(engine: Engine, name: str) -> Lane:
    lane = engine.lanes.get(name)
    if lane is None:
        names = ", ".join(engine.lanes)
        raise HTTPException(404, f"there is no lane {name!r:.100}; the lanes are {names}")
    return lane


async def _apply(engine: Engine, kind: Kind, name: str, changes: dict[str, Any]) -> None:
    try:
        await engine.controls.change(kind, name, changes)
    except SettingsError as error:
        raise HTTPException(422, str(error)) from error
