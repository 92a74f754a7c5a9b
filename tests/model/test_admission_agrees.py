"""Admission, limits, pause and resize against a model, with real lanes and a real store.

After every step everything that can start has started. What is asserted then: no limit is exceeded,
nothing starts that is paused, whatever started was the first of those that could, and nothing that
could start is left waiting while a slot is free.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from taskflow import QueueConfig, TaskManager
from taskflow.states import TaskStatus

#: What a test may wait for at most, in seconds; reached only where something is wrong.
PATIENCE = 10.0
KEY_LIMIT = 2
RATE, PERIOD = 3, 10.0


class Clock:
    """Goes on only when it is told to."""

    def __init__(self) -> None:
        self.moment = 1_800_000_000.0

    def now(self) -> float:
        return self.moment

    def monotonic(self) -> float:
        return self.moment


@dataclass
class Job:
    """A task as the model sees it."""

    number: int
    queue: str
    priority: int
    key: str | None
    task_id: str = ""
    may_end: asyncio.Event = field(default_factory=asyncio.Event)


class Model:
    """What should be: jobs by state, and the limits in force."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.pending: list[Job] = []
        self.running: list[Job] = []
        self.limit = 2
        self.paused = False
        self.concurrency: dict[str, int | None] = {"default": None, "few": 2, "rare": None}
        self.paused_queues: set[str] = set()
        self.starts: list[float] = []

    def can_start(self, job: Job, now: float, running: list[Job]) -> bool:
        """Whether limits other than the lane's let it start."""
        if job.queue in self.paused_queues:
            return False
        queues = Counter(other.queue for other in running)
        concurrency = self.concurrency[job.queue]
        if concurrency is not None and queues[job.queue] >= concurrency:
            return False
        keys = Counter(other.key for other in running)
        if job.key is not None and keys[job.key] >= KEY_LIMIT:
            return False
        recent = sum(moment > now - PERIOD for moment in self.starts)
        return job.queue != "rare" or recent < RATE


class Admission(RuleBasedStateMachine):
    """Drives a manager and the model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.model = Model()
        self.fresh: list[Job] = []
        #: Whether a pending job could have started after the step before.
        self.could: dict[int, bool] = {}
        self.manager = TaskManager(
            ":memory:",
            clock=self.clock,
            async_limit=self.model.limit,
            async_queue=2,
            queues={
                "few": QueueConfig(concurrency=2),
                "rare": QueueConfig(rate=f"{RATE}/{int(PERIOD)}s"),
            },
            gc_freeze=False,
            loop_stall_ms=0,
        )

        async def work(number: int, key: str | None) -> None:
            job = self.model.jobs[number]
            self.fresh.append(job)
            await job.may_end.wait()

        self.work = self.manager.task(
            name="work", concurrency_key=lambda key: key, concurrency_limit=KEY_LIMIT
        )(work)
        self.run(self.manager.startup())
        self.step()

    def teardown(self) -> None:
        for job in self.model.jobs:
            job.may_end.set()
        self.run(self.manager.shutdown())
        self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    async def settle(self) -> None:
        """Return when everything that can start has started."""
        dispatcher = self.manager.engine.dispatcher
        puller = dispatcher.puller
        while True:
            await self.manager.engine.outbox.flush()
            for _ in range(4):
                await asyncio.sleep(0)
            moving = bool(puller._rounds or puller._announcing or dispatcher._entering)
            # A task that has its slot may still be about to take its first step.
            running = self.manager.engine.lanes["async"].running
            moving = moving or running != len(self.model.running) + len(self.fresh)
            if not moving and self.manager.engine.outbox.empty:
                self.count()
                return
            await asyncio.sleep(0.0005)

    def step(self) -> None:
        """Let everything happen that follows from the last rule, and check each start."""
        model, now = self.model, self.clock.moment
        could = [job for job in model.pending if self.could.get(job.number, True)]
        self.run(self.settle())
        fresh, self.fresh = self.fresh, []
        for job in fresh:
            assert not model.paused, f"{job} started in a paused lane"
            assert len(model.running) < model.limit, f"{job} started above the limit of the lane"
            assert model.can_start(job, now, model.running), f"{job} started above its limit"
            for other in could:
                # What became free to start in this very step may come second.
                if other is job or other in model.running or other not in model.pending:
                    continue
                if not model.can_start(other, now, model.running):
                    continue
                if other.key is not None:
                    continue  # tasks that wait in a lane hold their key already
                assert other.priority <= job.priority, f"{job} overtook {other}"
                # One of another queue may have waited for that while this one came to its lane.
                if other.queue == job.queue and other.key == job.key is None:
                    assert other.priority < job.priority or other.number > job.number, (
                        f"{job} overtook {other}, which came first"
                    )
            model.pending.remove(job)
            model.running.append(job)
            if job.queue == "rare":
                model.starts.append(now)
        self.could = {job.number: model.can_start(job, now, model.running) for job in model.pending}

    @rule(
        jobs=st.lists(
            st.tuples(
                st.sampled_from(["default", "default", "default", "few", "rare"]),
                st.integers(0, 2),
                st.sampled_from([None, None, None, None, "x", "y"]),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def add_some(self, jobs: list[tuple[str, int, str | None]]) -> None:
        for queue, priority, key in jobs:
            self.add(queue, priority, key)

    def add(self, queue: str, priority: int, key: str | None) -> None:
        job = Job(len(self.model.jobs), queue, priority, key)
        self.model.jobs.append(job)
        self.model.pending.append(job)
        options = self.manager.options(self.work, queue=queue, priority=priority)
        handle = self.run(self.manager.enqueue(options, job.number, key))
        job.task_id = handle.task_id
        self.step()

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.model.running), label="ends")
        self.model.running.remove(job)
        job.may_end.set()
        self.run(self.ended(job))
        self.step()

    async def ended(self, job: Job) -> None:
        while job.task_id in self.manager.engine.dispatcher.live:
            await asyncio.sleep(0)

    @precondition(lambda self: self.model.running or self.model.pending)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        jobs = [*self.model.running, *self.model.pending]
        job = data.draw(st.sampled_from(jobs), label="cancelled")
        (self.model.running if job in self.model.running else self.model.pending).remove(job)
        canceller = self.manager.engine.dispatcher.canceller
        assert self.run(canceller.cancel(job.task_id)) is TaskStatus.CANCELLED
        self.step()

    @rule(limit=st.integers(1, 4))
    def resize(self, limit: int) -> None:
        self.model.limit = limit
        self.run(self.manager.lanes["async"].resize(limit))
        self.step()

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.model.paused = paused
        lane = self.manager.lanes["async"]
        self.run(lane.pause() if paused else lane.resume())
        self.step()

    @rule(queue=st.sampled_from(["default", "few", "rare"]), paused=st.booleans())
    def pause_queue(self, queue: str, paused: bool) -> None:
        (self.model.paused_queues.add if paused else self.model.paused_queues.discard)(queue)
        control = self.manager.queues[queue]
        self.run(control.pause() if paused else control.resume())
        self.step()

    @rule(queue=st.sampled_from(["default", "few"]), limit=st.integers(1, 3))
    def limit_queue(self, queue: str, limit: int) -> None:
        self.model.concurrency[queue] = limit
        self.run(self.manager.queues[queue].change(concurrency=limit))
        self.step()

    @rule(seconds=st.sampled_from([1.0, 4.0, PERIOD + 1]))
    def wait(self, seconds: float) -> None:
        self.clock.moment += seconds
        # In place of the timer, which goes by the real time.
        self.run(self.poke())
        self.step()

    async def poke(self) -> None:
        self.manager.engine.dispatcher.puller.gate_moved("rare")

    @invariant()
    def nothing_waits_that_could_start(self) -> None:
        model = self.model
        if model.paused or len(model.running) >= model.limit:
            return
        for job in model.pending:
            assert not model.can_start(job, self.clock.moment, model.running), f"{job} is stalled"

    def count(self) -> None:
        """Gates and lanes count what is there; at a moment at which nothing is being moved."""
        engine = self.manager.engine
        lane, live = engine.lanes["async"], engine.dispatcher.live
        assert lane.reserved == 0
        assert lane.running + lane.waiting == len(live)
        in_memory = Counter(attempt.record.queue for attempt in live.values())
        begun = Counter(attempt.record.queue for attempt in live.values() if attempt.begun)
        for name, gate in engine.gates.items():
            assert gate.admitted == in_memory[name]
            assert gate.unstarted == in_memory[name] - begun[name]


Admission.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestAdmission = Admission.TestCase
