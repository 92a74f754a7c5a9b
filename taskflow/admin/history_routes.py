"""The route of the history of figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query

from taskflow.admin.figures import Shared
from taskflow.admin.history import SCALES, Fold, History, HistoryPoint, Scale, Span
from taskflow.admin.values import moment
from taskflow.engine import Engine
from taskflow.history import START
from taskflow.manager import TaskManager
from taskflow.stores.annals import Annals

#: Stored points that an answer is made of at most, the newest; how many of them are read at a time;
#: and how many are folded without letting anything else run in between.
MOST_POINTS = 40_000
PAGE = 5_000
SLICE = 25
MOST_RESTARTS = 200
#: Seconds for which an answer is good: no point is written more often.
KEEP = 5.0


def add_history(router: APIRouter, scope: str, task_manager: TaskManager) -> None:
    """Add it to ``router``."""
    shared_of = _per_engine(task_manager)

    @router.get("/history", operation_id=f"{scope}_history")
    async def history(
        span: Annotated[Span, Query(description="how far back")] = "1h",
    ) -> History:
        """Figures over time, of all instances together; empty with ``TASKFLOW_HISTORY=false``."""
        return await shared_of()[span].get()


def _per_engine(task_manager: TaskManager) -> Callable[[], dict[Span, Shared[History]]]:
    """Answers must not outlive the engine, and the event loop, that they are made by."""
    current: tuple[Engine, dict[Span, Shared[History]]] | None = None

    def make(engine: Engine, span: Span) -> Shared[History]:
        return Shared(lambda: look_back(engine, span), engine.clock.monotonic, keep=KEEP)

    def shared() -> dict[Span, Shared[History]]:
        nonlocal current
        engine = task_manager.engine
        if current is None or current[0] is not engine:
            current = engine, {span: make(engine, span) for span in SCALES}
        return current[1]

    return shared


async def look_back(engine: Engine, span: Span) -> History:
    """The history of the last ``span``, until now."""
    scale = SCALES[span]
    annals = engine.store.annals
    # What begins later was written while a clock was ahead.
    now = int(engine.clock.now())
    since = (now - scale.span) // scale.step * scale.step + scale.step
    fold = Fold(scale.step)
    since = await _gather(annals, fold, scale, since, now)
    starts = await annals.points(START, since, MOST_RESTARTS, until=now)
    points: list[HistoryPoint] = []
    for point in fold.points(since):
        points.append(point)
        if len(points) % SLICE == 0:
            await asyncio.sleep(0)
    return History(
        step=scale.step,
        since=moment(since),
        points=points,
        restarts=[moment(start.at) for start in reversed(starts)],
    )


async def _gather(annals: Annals, fold: Fold, scale: Scale, since: int, until: int) -> int:
    """Fold the stored points from ``until`` back to ``since``, or to as many as an answer may have.

    From when on nothing is missing.
    """
    left = MOST_POINTS
    while True:
        found = await annals.points(scale.source, since, PAGE, until=until)
        more = len(found) == PAGE
        if more:
            # The last moment may go on with other instances: it is left to the next page, unless
            # there is nothing else on this one.
            last = found[-1].at
            whole = [point for point in found if point.at > last]
            until = last if whole else last - 1
            found = whole or found
        for first in range(0, len(found), SLICE):
            fold.add(found[first : first + SLICE])
            await asyncio.sleep(0)
        left -= len(found)
        if not more:
            return since
        if left < PAGE:
            return (until // scale.step + 1) * scale.step
