"""Who may be in memory: the places of lanes and gates, taken and given back in one place."""

from __future__ import annotations

from collections.abc import Mapping

from executors.base import Lane
from taskflow.attempt import Attempt
from taskflow.backlog import Backlog
from taskflow.gate import Gate
from taskflow.outbox import Outbox
from taskflow.puller import Puller
from taskflow.record import TaskRecord
from taskflow.recorder import Recorder


class Admission:
    """Takes places for tasks and gives them back.

    Rule: a task in memory has one place in its lane (a reservation, then a call there) and, if its
    queue has limits, one in its gate. Everything else waits on disk and holds neither.
    """

    #: Set once, by whoever makes both.
    puller: Puller

    def __init__(
        self,
        *,
        live: dict[str, Attempt],
        lanes: Mapping[str, Lane],
        gates: dict[str, Gate],
        backlog: Backlog,
        outbox: Outbox,
        recorder: Recorder,
    ) -> None:
        self._live = live
        self._lanes = lanes
        self._gates = gates
        self._backlog = backlog
        self._outbox = outbox
        self._recorder = recorder
        #: Tasks with places that become live only when the store has said that they are new.
        self.unconfirmed: set[TaskRecord] = set()

    def take(self, record: TaskRecord) -> bool:
        """Take the places for a new task; False if it has to wait on disk."""
        # How many run with one key, on all instances, only the store knows.
        if record.concurrency_key is not None:
            return False
        if not self.puller.may_overtake(record.lane, record.queue, record.priority):
            return False
        gate = self._gates.get(record.queue)
        if gate is not None and gate.places <= 0 and not self._displace_in(gate, record.priority):
            return False
        lane = self._lanes[record.lane]
        if not (lane.reserve() or self.displace(lane, record.priority)):
            return False
        if gate is not None:
            gate.admit(record.priority)
        return True

    def fetch(self, record: TaskRecord, *, in_lane: bool) -> bool:
        """Take the places for a task from disk; with ``in_lane`` that in the lane is reserved.

        False if there is none any more: the task goes back.
        """
        lane, gate = self._lanes[record.lane], self._gates.get(record.queue)
        open_ = gate is None or gate.places > 0
        if open_ or (gate is not None and self._displace_in(gate, record.priority)):
            if in_lane or lane.reserve() or self.displace(lane, record.priority):
                if gate is not None:
                    gate.admit(record.priority)
                return True
        elif in_lane:
            lane.release()
        self._return_to_disk(record)
        return False

    def displace(self, lane: Lane, priority: int) -> bool:
        """Reserve the place of a less important task that waits in the lane; it goes to disk."""
        victim = None if lane.refusing else lane.take_back(priority)
        if victim is None:
            return False
        assert isinstance(victim, Attempt)
        self._put_back(victim)
        return lane.reserve()

    def _displace_in(self, gate: Gate, priority: int) -> bool:
        """Make room in a full queue: a less important task that waits in its lane goes to disk."""
        if not gate.gives_way_to(priority):
            return False
        for attempt in self._unstarted_of(gate.name):
            if attempt.record.priority >= priority:
                break
            if self._lanes[attempt.record.lane].withdraw(attempt):
                self._put_back(attempt)
                return gate.places > 0
        return False

    def _unstarted_of(self, queue: str) -> list[Attempt]:
        """What of this queue is in memory and has not started: the last in order comes first."""
        waiting = [a for a in self._live.values() if a.record.queue == queue and not a.begun]
        waiting.sort(key=lambda attempt: attempt.record.task_id, reverse=True)
        waiting.sort(key=lambda attempt: attempt.record.priority)
        return waiting

    def give_back(self, record: TaskRecord) -> None:
        """A new task is not to start after all: it has not entered its lane."""
        self._lanes[record.lane].release()
        self.leave_gate(record, started=False)

    def _return_to_disk(self, record: TaskRecord) -> None:
        """Others may have it."""
        self._recorder.hand_back(record)
        self._backlog.moved(record.lane, record.queue, 1)
        self.puller.expect_later(record)

    def _put_back(self, attempt: Attempt) -> None:
        """A task that its lane has given back waits on disk from now on."""
        record = attempt.record
        attempt.entered = False
        if self._live.get(record.task_id) is attempt:
            del self._live[record.task_id]
        if self._outbox.is_unborn(record):
            record.owner = None  # its row will say so, and it is expected once that is committed
            self._backlog.moved(record.lane, record.queue, 1)
        else:
            self._return_to_disk(record)
        self.leave_gate(record, started=False)

    def start_gated(self, attempt: Attempt) -> None:
        """As `Recorder.start`, where there are queues with limits."""
        self._recorder.start(attempt)
        queue = attempt.record.queue
        gate = self._gates.get(queue)
        if gate is not None:
            gate.start(attempt.record.priority)
            self.puller.gate_moved(queue)

    def leave_gate(self, record: TaskRecord, *, started: bool) -> None:
        """The task is in memory no longer; its place in the lane is free already."""
        gate = self._gates.get(record.queue)
        if gate is not None:
            gate.leave(record.priority, started=started)
            self.puller.gate_moved(record.queue)

    def guard(self, gate: Gate) -> None:
        """A queue has limits from now on, or has others: keep to them at once."""
        if self._gates.get(gate.name) is not gate:
            self._gates[gate.name] = gate
            for record in self.unconfirmed:
                if record.queue == gate.name:
                    gate.admit(record.priority)
            for attempt in self._live.values():
                record = attempt.record
                if record.queue == gate.name:
                    gate.admit(record.priority)
                    if attempt.begun:
                        gate.start(record.priority)
        # What waits in a lane would start there, so that it has to go back.
        for attempt in self._unstarted_of(gate.name):
            if gate.overfull <= 0:
                break
            if self._lanes[attempt.record.lane].withdraw(attempt):
                self._put_back(attempt)
        self.puller.gate_moved(gate.name)
