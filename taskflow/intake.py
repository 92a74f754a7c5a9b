"""Whether there is room for another task: the policy of back-pressure, in one place."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Literal

from executors.base import Lane
from taskflow.backlog import Backlog
from taskflow.clock import Clock
from taskflow.errors import QueueFullError
from taskflow.gate import Gate
from taskflow.meters import LaneMeter
from taskflow.record import TaskRecord
from taskflow.states import TaskStatus

#: What a caller is told to wait, in seconds: never less, never more.
RETRY_AFTER = (1.0, 60.0)


class Intake:
    """Refuses tasks, or keeps them waiting, while there is no room.

    ``spill``: what a lane has no room for waits on disk, and only the size of a queue and of the
    whole backlog is a limit. ``reject``: a task is refused when it would have to wait outside of
    its lane's waiting room. ``wait``: the same, but `room` waits instead; who cannot is refused. A
    queue with limits of its own counts by itself: against its ``max_size``, else against a room of
    the same size as that of its lane.
    """

    def __init__(
        self,
        *,
        overflow: Literal["spill", "reject", "wait"],
        max_backlog: int,
        lanes: Mapping[str, Lane],
        gates: Mapping[str, Gate],
        backlog: Backlog,
        meters: Mapping[str, LaneMeter],
        clock: Clock,
    ) -> None:
        self.overflow = overflow
        self._max_backlog = max_backlog
        self._lanes = lanes
        self._gates = gates
        self._backlog = backlog
        self._meters = meters
        self._clock = clock
        #: Up to here, whatever waits in the lanes is no matter.
        self._ample = max_backlog - sum(lane.room for lane in lanes.values())
        #: Those who wait for room, one line for each lane and each queue with limits.
        self._lines: dict[str, deque[asyncio.Event]] = {}
        self._closed = False

    def check(self, records: Sequence[TaskRecord], *, spill: bool = False) -> None:
        """Raise `QueueFullError` unless there is room for all of ``records``; from any thread.

        With ``spill``, whatever the policy is, a full lane is no reason.
        """
        bounded = self.overflow != "spill" and not spill
        if not bounded and not self._gates and self._backlog.total + len(records) <= self._ample:
            return  # the usual case, on the hottest path
        problem = self._problem(records, bounded=bounded)
        if problem is not None:
            lane = records[0].lane
            self._meters[lane].rejected += len(records)
            raise QueueFullError(problem, self.retry_after(lane))

    async def room(self, record: TaskRecord) -> None:
        """Return when there is room for ``record``; those who wait are served in order.

        What follows must submit it without letting anything else run in between.
        """
        name = f"queue {record.queue}" if record.queue in self._gates else record.lane
        line = self._lines.get(name)
        if line is None and self._problem((record,), bounded=True) is None:
            return
        if line is None:
            line = self._lines[name] = deque()
        turn = asyncio.Event()
        line.append(turn)
        try:
            while not self._closed and (
                line[0] is not turn or self._problem((record,), bounded=True) is not None
            ):
                turn.clear()
                await turn.wait()
        finally:
            line.remove(turn)
            if not line:
                del self._lines[name]
            self.notice()

    def notice(self) -> None:
        """There may be room: let the first in each line look."""
        if self._lines:
            for line in self._lines.values():
                line[0].set()

    def close(self) -> None:
        """Let everybody go who waits; what they submit is stored and run by the next start."""
        self._closed = True
        for line in self._lines.values():
            for turn in line:
                turn.set()

    def retry_after(self, lane: str) -> float:
        """Seconds until a task of this lane will probably find room."""
        rate = self._meters[lane].per_second(self._clock.monotonic())
        waiting = self._lanes[lane].waiting + self._backlog.of_lane(lane)
        least, most = RETRY_AFTER
        # Half of what waits: there is room long before all of it is gone.
        return min(max(waiting / rate / 2, least), most) if rate else least

    def waiting(self, lane: str) -> int:
        """How many tasks wait for a slot of this lane, in memory and on disk."""
        return self._lanes[lane].waiting + self._backlog.of_lane(lane)

    def _problem(self, records: Sequence[TaskRecord], *, bounded: bool) -> str | None:
        pending = [record for record in records if record.status is TaskStatus.PENDING]
        total = self._backlog.total + len(pending)
        if total > self._max_backlog - sum(lane.waiting for lane in self._lanes.values()):
            return f"{self._max_backlog} tasks are pending (TASKFLOW_MAX_BACKLOG)"
        if self._gates:
            by_queue = Counter((r.queue, r.lane) for r in pending if r.queue in self._gates)
            for (queue, lane), count in by_queue.items():
                problem = self._queue_problem(self._gates[queue], lane, count, bounded=bounded)
                if problem is not None:
                    return problem
        if bounded:
            for lane, count in Counter(
                r.lane for r in pending if r.queue not in self._gates
            ).items():
                problem = self._lane_problem(lane, count)
                if problem is not None:
                    return problem
        return None

    def _queue_problem(self, gate: Gate, lane: str, count: int, *, bounded: bool) -> str | None:
        size = gate.config.max_size
        if size is None:
            if not bounded:
                return None
            size = self._lanes[lane].room
        waiting = self._backlog.of_queue(gate.name) + gate.unstarted
        # What can start at once does not wait.
        free = max(self._lanes[lane].free, 0) + self._backlog.fetching[lane]
        starting = min(count, gate.places + gate.reserved, free)
        if waiting + count - (0 if waiting else starting) <= size:
            return None
        return f"queue {gate.name!r} is full: {waiting} tasks wait, {size} may"

    def _lane_problem(self, name: str, count: int) -> str | None:
        lane = self._lanes[name]
        waiting = self._backlog.of_lane(name, without=self._gates)
        if lane.refusing:
            return f"lane {name!r} takes no work: {lane.refusing}"
        if lane.free + self._backlog.fetching[name] - waiting >= count:
            return None
        return (
            f"lane {name!r} is full: {lane.running} of {lane.limit} run, "
            f"{lane.waiting + waiting} wait"
        )
