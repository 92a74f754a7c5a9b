"""Random sequences of operations by two instances, against a model that is obviously right.

The model is a dictionary of tasks. After each step the store must show the same.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections import Counter
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
    precondition,
    rule,
)

from taskflow.record import Batch, LogLine, TaskFilter, TaskRecord, insert_row, update_row
from taskflow.states import FINAL, TIMED, UNDONE, TaskStatus
from taskflow.stores.base import TakenOver
from taskflow.stores.sqlite.store import SQLiteStore

T = TypeVar("T")
INSTANCES = ("a", "b")
#: Most tasks meet in one place, or they would hardly ever be in each other's way.
LANES = ("async", "async", "async", "io")
QUEUES = ("default", "default", "mail")
#: Concurrency keys and their limits; one of them has two, as after a change of the code.
KEYS = ((None, 1), ("one", 1), ("one", 1), ("two", 2), ("two", 1))
NAME = "app:work"

one_of_both = st.sampled_from(INSTANCES)
a_key = st.sampled_from(KEYS)
some_tasks = st.lists(
    st.tuples(st.integers(-1, 1), st.sampled_from(LANES), st.sampled_from(QUEUES), a_key),
    min_size=3,
    max_size=8,
)


@dataclass
class Expected:
    """What the model knows of a task."""

    arrival: int
    status: TaskStatus
    lane: str
    queue: str = "default"
    priority: int = 0
    owner: str | None = None
    lease: int = 0
    run_at: float | None = None
    key: str | None = None
    key_limit: int = 1
    #: Somebody asked its owner to cancel it.
    asked: bool = False

    def order(self) -> tuple[int, int]:
        return -self.priority, self.arrival

    def lose_owner(self, status: TaskStatus) -> None:
        """What follows the status that its owner, or the end of its owner, gave it."""
        self.status, self.owner = status, None
        if self.asked and status not in FINAL:
            self.status = TaskStatus.CANCELLED
        self.asked = False


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

    @initialize(target=known, tasks=some_tasks)
    def open(self, tasks: list[tuple[int, str, str, tuple[str | None, int]]]) -> Any:
        for name, store in self.stores.items():
            self.do(store.open(name, self.now))
        return self.leave_on_disk("a", tasks)

    def teardown(self) -> None:
        for store in self.stores.values():
            self.do(store.close())
        self.runner.close()
        self.folder.cleanup()

    def record(self, **values: Any) -> TaskRecord:
        """A new task, which the model knows from here on; to be inserted."""
        number = len(self.model)
        record = TaskRecord(f"task-{number}", NAME, values.pop("lane", "async"), self.now, **values)
        self.model[record.task_id] = Expected(
            number, record.status, record.lane, record.queue, record.priority, record.owner, 0,
            record.run_at, record.concurrency_key, record.key_limit,
        )  # fmt: skip
        return record

    def insert(self, name: str, *records: TaskRecord) -> None:
        self.do(self.stores[name].commit(Batch(inserts=list(map(insert_row, records)))))

    def may_run(self, task: Expected) -> bool:
        """Whether an instance with room may claim it."""
        if task.status is not TaskStatus.PENDING or task.owner is not None:
            return False
        holders = [other for other in self.model.values() if other.owner and other.key == task.key]
        return task.key is None or len(holders) < task.key_limit

    # All of them must fit on one page.
    @precondition(lambda self: len(self.model) < 80)
    @rule(target=known, name=one_of_both, tasks=some_tasks)
    def leave_on_disk(
        self, name: str, tasks: list[tuple[int, str, str, tuple[str | None, int]]]
    ) -> Any:
        records = [
            self.record(
                priority=priority, lane=lane, queue=queue, concurrency_key=key, key_limit=limit
            )
            for priority, lane, queue, (key, limit) in tasks
        ]
        self.insert(name, *records)
        return multiple(*(record.task_id for record in records))

    @rule(target=held, name=one_of_both)
    def keep_in_memory(self, name: str) -> TaskRecord:
        record = self.record(owner=name)
        self.insert(name, record)
        return record

    @rule(target=known, name=one_of_both, wait=st.floats(0.5, 20), key=a_key)
    def schedule(self, name: str, wait: float, key: tuple[str | None, int]) -> str:
        record = self.record(
            status=TaskStatus.SCHEDULED,
            run_at=self.now + wait,
            concurrency_key=key[0],
            key_limit=key[1],
        )
        self.insert(name, record)
        return record.task_id

    @rule(
        target=held,
        name=one_of_both,
        lane=st.sampled_from(LANES),
        limit=st.integers(0, 6),
        places=st.just({}) | st.dictionaries(st.sampled_from(QUEUES), st.integers(-1, 2)),
        above=st.none() | st.none() | st.integers(-2, 1),
    )
    def claim(
        self, name: str, lane: str, limit: int, places: dict[str, int], above: int | None
    ) -> Any:
        return multiple(*self.take(name, lane, limit, places, above))

    def take(
        self,
        name: str,
        lane: str,
        limit: int,
        places: dict[str, int] | None = None,
        above: int | None = None,
    ) -> list[TaskRecord]:
        """A claim, which must do what the model does."""
        free = [task for task in self.model.values() if task.lane == lane]
        taken: list[Expected] = []
        left = dict(places or {})
        for task in sorted(free, key=Expected.order):
            if (
                len(taken) < limit
                and left.get(task.queue, limit) > 0
                and (above is None or task.priority > above)
                and self.may_run(task)
            ):
                task.owner, task.lease = name, task.lease + 1
                left[task.queue] = left.get(task.queue, limit) - 1
                taken.append(task)
        remains: dict[str, int] = {}
        for task in sorted(filter(self.may_run, free), key=Expected.order):
            remains.setdefault(task.queue, task.priority)

        claimed = self.do(
            self.stores[name].claim(
                lane, limit, {NAME}, self.now, places=places or None, above=above
            )
        )

        tasks = list(self.model.values())
        assert [tasks.index(task) for task in taken] == [
            int(record.task_id.removeprefix("task-")) for record in claimed.tasks
        ]
        assert claimed.left == remains
        for record, task in zip(claimed.tasks, taken, strict=True):
            assert (record.owner, record.lease) == (name, task.lease)
        return claimed.tasks

    @rule(record=held)
    def start(self, record: TaskRecord) -> None:
        task = self.model[record.task_id]
        record.status, record.attempt = TaskStatus.RUNNING, record.attempt + 1
        if self.commit_update(record):
            task.status = TaskStatus.RUNNING

    @rule(
        target=known,
        record=consumes(held),
        status=st.sampled_from((*sorted(FINAL), *sorted(TIMED), TaskStatus.PENDING)),
        stale=st.sampled_from((0, 0, 0, 1)),
        beside=st.integers(0, 2),
    )
    def write(self, record: TaskRecord, status: TaskStatus, stale: int, beside: int) -> str:
        """The end of an attempt; under an older lease than the task's it must be refused."""
        record.lease -= stale
        self.finish(record, status, beside)
        return record.task_id

    def finish(self, record: TaskRecord, status: TaskStatus, beside: int = 0) -> None:
        """Its owner gives the task away."""
        owner = record.owner
        record.status, record.owner, record.ended_at = status, None, self.now
        record.run_at = self.now + 1 if status in TIMED else None
        if self.commit_update(record, owner, beside):
            task = self.model[record.task_id]
            task.lose_owner(status)
            task.run_at = record.run_at

    def commit_update(self, record: TaskRecord, owner: str | None = None, beside: int = 0) -> bool:
        """Write a change, with or without lines; whether the model says that it is applied."""
        owner = owner or record.owner or ""
        task = self.model[record.task_id]
        applied = (task.owner, task.lease) == (owner, record.lease)
        line = LogLine(record.task_id, 1, self.now, "info", "beside")

        committed = self.do(
            self.stores[owner].commit(Batch(updates=[update_row(record)], logs=[line] * beside))
        )

        assert committed.refused == (frozenset() if applied else {record.task_id})
        return applied

    @precondition(lambda self: any(map(self.may_run, self.model.values())))
    @rule(first=st.integers(0, 1), limit=st.integers(1, 3))
    def run_everything(self, first: int, limit: int) -> None:
        """Until nothing is left: whoever waits for a key gets it in the end."""
        for turn in itertools.count(first):
            taken = [
                record
                for lane in sorted(set(LANES))
                for record in self.take(INSTANCES[turn % 2], lane, limit)
            ]
            for record in taken:
                self.finish(record, TaskStatus.SUCCESS)
            if not taken:
                return

    @precondition(lambda self: any(task.owner for task in self.model.values()))
    @rule(name=one_of_both)
    def die(self, name: str) -> None:
        """The instance dies without a word, another takes over, and it comes back."""
        dead, other = self.stores[name], self.stores["ab".replace(name, "")]
        assert dead._liveness is not None
        dead._liveness.forked()  # drops the lock, as the kernel does when a process ends
        owned = [task for task in self.model.values() if task.owner == name]
        for task in owned:
            task.lease += 1
            task.lose_owner(
                TaskStatus.PENDING if task.status is TaskStatus.RUNNING else task.status
            )

        taken = self.do(other.take_over(rerun=True, max_crashes=99, now=self.now))

        gone = sum(task.status is TaskStatus.CANCELLED for task in owned)
        assert taken == TakenOver(len(owned) - gone, interrupted=0, failed=0, others=gone)
        self.do(dead.close())
        self.do(dead.open(name, self.now))

    @precondition(lambda self: any(task.status in TIMED for task in self.model.values()))
    @rule(name=one_of_both, seconds=st.floats(0.1, 30))
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

    @rule(name=one_of_both, record=held)
    def ask_to_cancel_what_is_held(self, name: str, record: TaskRecord) -> None:
        self.cancel(name, record.task_id, ask=True)

    @rule(name=one_of_both, task_id=known, ask=st.booleans())
    def cancel(self, name: str, task_id: str, ask: bool) -> None:
        task, store = self.model[task_id], self.stores[name]
        if task.owner is not None:
            task.asked |= ask
        elif task.status not in FINAL:
            task.status = TaskStatus.CANCELLED
        change = store.request_cancel if ask else store.cancel

        assert self.do(change(task_id, self.now)) is task.status

    @rule(name=one_of_both, task_id=known)
    def revive(self, name: str, task_id: str) -> None:
        task = self.model[task_id]
        before = task.status

        assert self.do(self.stores[name].revive(task_id, self.now)) is before
        if before in FINAL:
            task.status, task.lease, task.run_at = TaskStatus.PENDING, task.lease + 1, None

    @rule(name=one_of_both, task_id=known)
    def add_again_under_its_key(self, name: str, task_id: str) -> None:
        task = self.model[task_id]
        record = TaskRecord(task_id, NAME, "async", self.now, idempotency_key="k")

        committed = self.do(self.stores[name].commit(Batch(keyed=[insert_row(record)])))

        if task.status in UNDONE:
            lease, _attempt, _most = committed.revived[task_id]
            assert lease == task.lease + 1
            # It is a new task in all but its id and its history, and has lost its priority.
            self.model[task_id] = Expected(task.arrival, TaskStatus.PENDING, "async", lease=lease)
        else:
            assert committed.duplicates == {task_id}

    @invariant()
    def both_see_what_the_model_says(self) -> None:
        expected = {
            task_id: (task.status, task.owner, task.lease) for task_id, task in self.model.items()
        }
        for store in self.stores.values():
            found = self.do(store.list(TaskFilter(limit=200))).items
            assert {one.task_id: (one.status, one.owner, one.lease) for one in found} == expected

    @invariant()
    def each_owner_is_told_what_was_asked(self) -> None:
        for name, store in self.stores.items():
            asked = {
                task_id for task_id, task in self.model.items() if task.owner == name and task.asked
            }
            assert set(self.do(store.cancel_requests())) == asked

    @invariant()
    def the_backlog_is_what_nobody_owns(self) -> None:
        expected = Counter(
            (task.lane, task.queue)
            for task in self.model.values()
            if task.status is TaskStatus.PENDING and task.owner is None
        )
        backlog = self.do(self.stores["b"].backlog())
        assert {place: one.count + one.blocked for place, one in backlog.items()} == expected

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
