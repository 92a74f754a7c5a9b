"""The lanes of this instance, as the admin shows them."""

from __future__ import annotations

from collections.abc import Mapping

from executors import Lane, ProcessLane, ThreadLane
from taskflow.admin.models import LaneState, Worker
from taskflow.admin.values import moment


def present_lane(lane: Lane, backlog: Mapping[str, int]) -> LaneState:
    """``lane`` as it is now, with the number of its tasks that wait on disk."""
    workers = None
    if isinstance(lane, ProcessLane):
        workers = [
            Worker(
                pid=worker.pid,
                started_at=moment(worker.started_at),
                calls_done=worker.calls_done,
                busy=worker.busy,
            )
            for worker in lane.workers()
        ]
    return LaneState(
        name=lane.name,
        kind=_kind(lane),
        limit=lane.limit,
        room=lane.room,
        running=lane.running,
        waiting=lane.waiting,
        paused=lane.paused,
        backlog=backlog.get(lane.name, 0),
        stuck=lane.stuck if isinstance(lane, ThreadLane) else None,
        workers=workers,
    )


def _kind(lane: Lane) -> str:
    if isinstance(lane, ProcessLane):
        return "processes"
    return "threads" if isinstance(lane, ThreadLane) else "event loop"
