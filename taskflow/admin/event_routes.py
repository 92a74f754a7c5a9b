"""The route of the event stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Response

from taskflow.admin.broadcast import Broadcaster
from taskflow.admin.figures import Figures
from taskflow.admin.lane_routes import look_at_lanes
from taskflow.admin.outgoing import Outgoing
from taskflow.admin.route import LATER
from taskflow.admin.stopping import Stop
from taskflow.admin.stream import EventStream


def add_events(
    router: APIRouter, scope: str, figures_of: Callable[[], Figures], outgoing: Outgoing
) -> None:
    """Add it to ``router``."""
    current: Broadcaster | None = None

    def broadcaster() -> Broadcaster:
        nonlocal current
        figures = figures_of()
        if current is None or current.engine is not figures.engine:
            current = _make(figures, outgoing)
        return current

    @router.get(
        "/events",
        operation_id=f"{scope}_events",
        status_code=200,
        response_class=EventStream,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def events(
        last_event_id: Annotated[str, Header(max_length=200)] = "",
        last: Annotated[str, Query(max_length=200, alias="last_event_id")] = "",
    ) -> Response:
        """What changes, as it changes: tasks of all instances, lanes and figures of this one."""
        caster = broadcaster()
        if caster.full or caster.over:
            raise HTTPException(503, "there are too many streams, or the app stops", LATER)
        client = await caster.join(last_event_id or last)
        return EventStream(client, caster.stop.look_behind, lambda: caster.leave(client))


def _make(figures: Figures, outgoing: Outgoing) -> Broadcaster:
    async def board() -> Any:
        return (await look_at_lanes(figures)).model_dump(mode="json")

    async def metrics() -> Any:
        return (await figures.metrics()).model_dump(mode="json")

    boards = {"board": board, "metrics": metrics}
    return Broadcaster(figures.engine, boards, outgoing.hide, Stop())
