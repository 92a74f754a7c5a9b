"""Random sequences of operations by two instances, against a model that is obviously right.

The model is a dictionary of tasks. After each step the store must show the same.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from taskflow.record import Batch, TaskRecord, insert_row, update_row
from taskflow.states import FINAL, TIMED, UNDONE, TaskStatus
from taskflow.stores.sqlite.store import SQLiteStore

T = TypeVar("T")
INSTANCES = ("a", "b")
LANE = "async"
NAME = "app:work"


@dataclass
class Expected:
    """What the model knows of a task."""

    arrival: int
    status: TaskStatus
    priority: int = 0
    owner: str | None = None
    lease: int = 0
    run_at: float | None = None


class TwoInstances(RuleBasedStateMachine):
    """Two stores on one file."""

    held: Bundle[TaskRecord] = Bundle("held")
    known: Bundle[str] = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.stores = {name: SQLiteStore(Path(self.folder.name) / "t.db") for name in INSTANCES}
        self.model: dict[str, Expected] = {}
        self.now = 1000.0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def open(self) -> None:
        for name, store in self.stores.items():
            self.do(store.open(name, self.now))

    def teardown(self) -> None:
        for store in self.stores.values():
            self.do(store.close())
        self.runner.close()
        self.folder.cleanup()

    def record(self, priority: int) -> TaskRecord:
        number = len(self.model)
        return TaskRecord(f"task-{number}", NAME, LANE, self.now, priority=priority)

    def insert(self, name: str, record: TaskRecord) -> None:
        self.do(self.stores[name].commit(Batch(inserts=[insert_row(record)])))
        self.model[record.task_id] = Expected(
            len(self.model), record.status, record.priority, record.owner, 0, record.run_at
        )

    @rule(target=known, name=st.sampled_from(INSTANCES), priority=st.integers(-1, 1))
    def leave_on_disk(self, name: str, priority: int) -> str:
        record = self.record(priority)
        self.insert(name, record)
        return record.task_id

    @rule(target=held, name=st.sampled_from(INSTANCES))
    def keep_in_memory(self, name: str) -> TaskRecord:
        record = self.record(0)
        record.owner = name
        self.insert(name, record)
        return record

    @rule(target=known, name=st.sampled_from(INSTANCES), wait=st.floats(0.5, 20))
    def schedule(self, name: str, wait: float) -> str:
        record = self.record(0)
        record.status, record.run_at = TaskStatus.SCHEDULED, self.now + wait
        self.insert(name, record)
        return record.task_id

    @rule(target=held, name=st.sampled_from(INSTANCES), limit=st.integers(1, 3))
    def claim(self, name: str, limit: int) -> Any:
        free = [
            (-task.priority, task.arrival, task_id)
            for task_id, task in self.model.items()
            if task.status is TaskStatus.PENDING and task.owner is None
        ]

        claimed = self.do(self.stores[name].claim(LANE, limit, {NAME}, self.now))

        assert [record.task_id for record in claimed] == [
            entry[2] for entry in sorted(free)[:limit]
        ]
        for record in claimed:
            task = self.model[record.task_id]
            task.owner, task.lease = name, task.lease + 1
            assert (record.owner, record.lease) == (name, task.lease)
        return multiple(*claimed)

    @rule(
        target=known,
        record=consumes(held),
        status=st.sampled_from((*sorted(FINAL), TaskStatus.RETRYING)),
        stale=st.integers(0, 1),
    )
    def write(self, record: TaskRecord, status: TaskStatus, stale: int) -> str:
        """The end of an attempt; with a lease that is not the task's, it must be refused."""
        task = self.model[record.task_id]
        owner = record.owner or ""
        record.status, record.owner, record.ended_at = status, None, self.now
        record.run_at = self.now + 1 if status in TIMED else None
        record.lease += stale

        committed = self.do(self.stores[owner].commit(Batch(updates=[update_row(record)])))

        if stale:
            assert committed.refused == {record.task_id}
        else:
            assert not committed.refused
            task.status, task.owner, task.run_at = status, None, record.run_at
        return record.task_id

    @rule(name=st.sampled_from(INSTANCES), seconds=st.floats(0.1, 30))
    def wait_and_promote(self, name: str, seconds: float) -> None:
        self.now += seconds
        due = [
            task
            for task in self.model.values()
            if task.status in TIMED and (task.run_at or 0) <= self.now
        ]

        assert self.do(self.stores[name].promote(1000, self.now)) == len(due)
        for task in due:
            task.status = TaskStatus.PENDING

    @rule(name=st.sampled_from(INSTANCES), task_id=known)
    def cancel(self, name: str, task_id: str) -> None:
        task = self.model[task_id]
        waits = task.status in TIMED or task.status is TaskStatus.PENDING
        if waits and task.owner is None:
            task.status = TaskStatus.CANCELLED

        assert self.do(self.stores[name].cancel(task_id, self.now)) is task.status

    @rule(name=st.sampled_from(INSTANCES), task_id=known)
    def revive(self, name: str, task_id: str) -> None:
        task = self.model[task_id]
        before = task.status

        assert self.do(self.stores[name].revive(task_id, self.now)) is before
        if before in FINAL:
            task.status, task.lease, task.run_at = TaskStatus.PENDING, task.lease + 1, None

    @rule(name=st.sampled_from(INSTANCES), task_id=known)
    def add_again_under_its_key(self, name: str, task_id: str) -> None:
        task = self.model[task_id]
        record = TaskRecord(task_id, NAME, LANE, self.now, idempotency_key="k")

        committed = self.do(self.stores[name].commit(Batch(keyed=[insert_row(record)])))

        if task.status in UNDONE:
            lease, _attempt, _most = committed.revived[task_id]
            assert lease == task.lease + 1
            # It is a new task in all but its id and its history, and has lost its priority.
            self.model[task_id] = Expected(task.arrival, TaskStatus.PENDING, 0, None, lease)
        else:
            assert committed.duplicates == {task_id}

    @invariant()
    def both_see_what_the_model_says(self) -> None:
        for task_id, task in self.model.items():
            for store in self.stores.values():
                found = self.do(store.get(task_id))
                assert found is not None
                assert (found.status, found.owner, found.lease) == (
                    task.status,
                    task.owner,
                    task.lease,
                )

    @invariant()
    def the_counts_add_up(self) -> None:
        if self.model:
            counts = self.do(self.stores["a"].counts())
            expected = [task.status for task in self.model.values()]
            assert {k: v for k, v in counts.items() if v} == {
                s: expected.count(s) for s in expected
            }


TestTwoInstances = TwoInstances.TestCase
TestTwoInstances.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
