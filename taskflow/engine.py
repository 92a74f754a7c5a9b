"""The running half of a manager: everything that exists only between start and stop.

Started in order, stopped in reverse. A manager makes a new engine at each start, so that nothing of
an earlier run, or of an earlier event loop, can leak into the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from executors import EventLoopLane, ProcessLane, ThreadLane
from executors.base import Lane
from executors.sampler import Sampler
from taskflow.attempt import Attempt
from taskflow.backlog import Backlog
from taskflow.capture import Capture
from taskflow.clock import Clock
from taskflow.controls import Controls
from taskflow.dispatcher import Dispatcher
from taskflow.factory import TaskFactory
from taskflow.feed import Feed
from taskflow.gate import Gate, QueueConfig
from taskflow.history import History, Sources
from taskflow.intake import Intake
from taskflow.meters import LaneMeter
from taskflow.outbox import Outbox
from taskflow.recorder import Recorder
from taskflow.redaction import Redactor
from taskflow.registry import Registry
from taskflow.scheduler import Scheduler
from taskflow.schedules.timetable import Timetable
from taskflow.service import Service
from taskflow.services import Pruner, Timer, Watch
from taskflow.settings import Settings
from taskflow.stalls import StallWatch
from taskflow.stores.base import Store
from taskflow.vitals import Vitals

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds beyond the grace period that writing the last records may take.
LAST_WRITES = 2.0


def new_instance() -> str:
    """A name for one user of a store that no other has, on any host."""
    return f"{uuid.uuid4().hex[:12]}-{os.getpid()}"


def make_lanes(
    settings: Settings, registry: Registry, warm_up: Sequence[str] = ()
) -> dict[str, Lane]:
    """The three lanes, sized by the settings; ``warm_up`` functions run in each worker process."""
    modules = {"taskflow.child", *(d.function.__module__ for d in registry if d.lane == "cpu")}
    recycle_mb = settings.cpu_recycle_mb
    return {
        "async": EventLoopLane("async", limit=settings.async_limit, room=settings.async_queue),
        "io": ThreadLane(
            "io",
            limit=settings.io_workers,
            room=settings.io_queue,
            max_stuck=settings.io_max_stuck,
        ),
        "cpu": ProcessLane(
            "cpu",
            limit=settings.cpu_workers,
            room=settings.cpu_queue,
            nice=settings.cpu_nice,
            preload=sorted(modules - {"__main__"}),
            warm_up=warm_up,
            recycle_after=settings.cpu_recycle_tasks,
            recycle_age=settings.cpu_recycle_age,
            recycle_rss=None if recycle_mb is None else recycle_mb * 2**20,
        ),
    }


class Engine:
    """Store, outbox, lanes, dispatcher and services of one run."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        store: Store,
        clock: Clock,
        *,
        rerun: bool,
        queues: Mapping[str, QueueConfig],
        warm_up: Sequence[str],
        timetable: Timetable,
        factory: TaskFactory,
        redactor: Redactor,
    ) -> None:
        self.settings = settings
        self.redactor = redactor
        self.registry = registry
        self.store = store
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.instance = new_instance()
        #: Seconds since the epoch.
        self.started_at = clock.now()
        self.lanes: Mapping[str, Lane] = make_lanes(settings, registry, warm_up)
        limits = {**queues, **{d.queue: d.limits for d in registry if d.limits is not None}}
        self.gates = {name: Gate(name, limits[name], clock.monotonic) for name in limits}
        self.meters = {name: LaneMeter(clock.monotonic()) for name in self.lanes}
        self._drained = False
        self._closed = False
        self._guard: asyncio.Task[None] | None = None
        self._make_path(limits)
        self._make_services(rerun=rerun)
        self.scheduler = Scheduler(
            store=store,
            timetable=timetable,
            registry=registry,
            factory=factory,
            backlog=self.backlog,
            puller=self.dispatcher.puller,
            clock=clock,
            on_due=self._due,
        )

    def _make_path(self, limits: Mapping[str, QueueConfig]) -> None:
        """Everything a task passes through."""
        settings, store, clock = self.settings, self.store, self.clock
        self.backlog = Backlog(store, clock, self._counted)
        self.intake = Intake(
            overflow=settings.overflow,
            max_backlog=settings.max_backlog,
            lanes=self.lanes,
            gates=self.gates,
            backlog=self.backlog,
            meters=self.meters,
            clock=clock,
        )
        self.outbox = Outbox(
            store,
            clock,
            enqueue_timeout=settings.enqueue_timeout,
            eager_ends=settings.io_workers + settings.cpu_workers,
            on_refused=self._refused,
        )
        self.feed = Feed(self.loop, self.redactor.text)
        self.capture = Capture(logging=settings.capture_logging, prints=settings.capture_print)
        recorder = Recorder(
            instance=self.instance,
            outbox=self.outbox,
            clock=clock,
            draw=random.random,
            max_crashes=settings.max_crashes,
            meters=self.meters,
            feed=self.feed,
            capture=self.capture,
            redactor=self.redactor,
        )
        self.dispatcher = Dispatcher(
            instance=self.instance,
            registry=self.registry,
            store=store,
            outbox=self.outbox,
            recorder=recorder,
            lanes=self.lanes,
            gates=self.gates,
            backlog=self.backlog,
            clock=clock,
            max_result_bytes=settings.max_result_bytes,
            on_due=self._due,
            on_room=self.intake.notice,
        )
        self.controls = Controls(
            store=store,
            clock=clock,
            lanes=self.lanes,
            gates=self.gates,
            queues=limits,
            guard=self.dispatcher.guard,
            moved=self.dispatcher.puller.room_in,
        )

    def _make_services(self, *, rerun: bool) -> None:
        """Everything that goes on beside the tasks."""
        settings, store, clock = self.settings, self.store, self.clock
        puller = self.dispatcher.puller
        self.timer = Timer(store, puller, clock, self.outbox.flush)
        self.watch = Watch(store, puller, clock, rerun=rerun, noticed=self._noticed)
        self.pruner = Pruner(
            store,
            clock,
            retention_days=settings.retention_days,
            retention_failed_days=settings.retention_failed_days,
        )
        self.sampler = Sampler(settings.sample_interval, self._worker_pids)
        self.stalls = StallWatch(
            settings.loop_stall_ms / 1000, self.lanes, self.dispatcher.journals, self.redactor
        )
        self.vitals = Vitals(
            settings,
            self.lanes,
            self.meters,
            self.sampler,
            rotate_lag=self._rotate,
            moved=puller.room_in,
            clock=clock,
        )
        self.history = History(
            store.annals,
            clock,
            Sources(
                lanes=self.lanes,
                meters=self.meters,
                sampler=self.sampler,
                lag=lambda: self.stalls.lag,
                waiting=self.intake.waiting,
                added=lambda: self.outbox.tally.added + self.scheduler.added,
                in_doubt=lambda: self.outbox.trouble is not None,
            ),
            instance=self.instance,
            written=self.outbox.clear_trouble,
        )

    @property
    def services(self) -> tuple[Service, ...]:
        """What goes on beside the tasks, in the order in which it starts."""
        history = (self.history,) if self.settings.history else ()
        usual = (self.timer, self.watch, self.pruner, self.backlog, self.vitals, self.scheduler)
        return (*history, *usual)

    def _rotate(self) -> None:
        """Begin a new slice of everything that is told of the last minute."""
        self.stalls.rotate()
        self.outbox.tally.latency.rotate()

    # The outbox is there before the dispatcher, and the dispatcher before the timer.

    def _refused(self, task_ids: frozenset[str]) -> None:
        self.dispatcher.refused(task_ids)

    def _due(self, moment: float) -> None:
        self.timer.due_at(moment)

    def wake_scheduler(self) -> None:
        """Code has declared another schedule; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is over; the next start will see it
            self.loop.call_soon_threadsafe(self.scheduler.wake)

    def _counted(self) -> None:
        self.intake.notice()

    async def _noticed(self) -> None:
        """Another instance has written something: it may be a wish."""
        await self.controls.load()
        await self.dispatcher.canceller.obey_requests()
        await self.scheduler.notice()

    def _worker_pids(self) -> list[int]:
        """The worker processes; asked from the sampler's thread."""
        lane = self.lanes["cpu"]
        return [worker.pid for worker in lane.workers()] if isinstance(lane, ProcessLane) else []

    def oldest_waiting(self, lane: str) -> float | None:
        """Since when the longest waiting task of a lane could have run; seconds since the epoch.

        On disk as it was counted last, in memory among the first of each priority.
        """
        moments = [self.backlog.oldest_of_lane(lane)]
        moments += (
            max(call.record.created_at, call.record.run_at or 0.0)
            for call in self.lanes[lane].heads()
            if isinstance(call, Attempt)
        )
        return min((moment for moment in moments if moment is not None), default=None)

    async def submit(self, attempts: Sequence[Attempt]) -> None:
        """Store and start new tasks; raises `QueueFullError` if there is not room for all."""
        self.intake.check([attempt.record for attempt in attempts])
        await self.dispatcher.submit(attempts)

    async def open(self) -> None:
        """Open the store and the lanes: tasks added from now on are stored and run."""
        try:
            await self.store.open(self.instance, self.clock.now())
        except BaseException:
            await self.store.close()
            raise
        self._guard = asyncio.create_task(self._watch_loop(), name="taskflow-guard")
        try:
            self.capture.install()
            self.outbox.start()
            for lane in self.lanes.values():
                await lane.start()
            # Before the first task: what somebody paused stays paused.
            await self.controls.load()
            self.sampler.start()
        except BaseException:
            await self.close()
            raise

    async def run(self) -> None:
        """Run what waits on disk, too: what is left from before, what is due, what others add."""
        await self.watch.take_over()
        await self.store.unpark(self.registry.names)
        await self.backlog.turn()
        self.dispatcher.puller.start()
        for service in self.services:
            service.start()
        if self.settings.gc_freeze:
            # A full collection walks every object of the app, tens of milliseconds in which no
            # request is answered. What is here by now stays; only what comes is worth a look.
            gc.collect()
            gc.freeze()
        self.stalls.start()  # not before that collection, which is one
        if any(definition.lane == "cpu" for definition in self.registry):
            self._warm = asyncio.create_task(self._warm_up(), name="taskflow-warm-up")

    _warm: asyncio.Task[None] | None = None

    async def _warm_up(self) -> None:
        """Start the worker processes before the first task needs one."""
        lane = self.lanes["cpu"]
        assert isinstance(lane, ProcessLane)
        try:
            await lane.warm()
        except Exception:
            log.exception("the worker processes of the cpu lane could not be started ahead")

    async def _watch_loop(self) -> None:
        """Let go if the loop ends without `close`, as under a test client without lifespan.

        What such a loop leaves behind is then taken over like that of any other dead instance.
        """
        try:
            await asyncio.Event().wait()
        finally:
            if not self._closed:
                self.capture.remove()
                self.stalls.stop()
                self.sampler.stop()
                for lane in self.lanes.values():
                    lane.abandon()
                self.store.abandon()

    async def on_its_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, done on the engine's own event loop from whichever this is."""
        if asyncio.get_running_loop() is self.loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    async def settle(self) -> None:
        """Wait, but not for long, until what happened so far can be read from the store."""
        try:
            async with asyncio.timeout(0.5):
                await self.outbox.flush()
        except TimeoutError:
            return  # the store is slow or away: readers see what was committed last

    async def drain(self) -> None:
        """Stop the services, let running tasks end within the grace period, hand back the rest.

        Idempotent.
        """
        if self._drained:
            return
        self._drained = True
        for service in reversed(self.services):
            await service.stop()
        self.intake.close()
        if self._warm is not None:
            self._warm.cancel()
            await asyncio.wait({self._warm})
        await self.dispatcher.stop(self.settings.shutdown_grace)

    async def close(self) -> None:
        """Write the last records and let go of the store; drains first if that was not done."""
        await self.drain()
        self.stalls.stop()
        self.sampler.stop()
        if self.settings.gc_freeze:
            gc.unfreeze()
        await self.outbox.close(LAST_WRITES)
        await self.store.close()
        self.capture.remove()
        self.feed.close()
        self._closed = True
        if self._guard is not None:
            self._guard.cancel()
