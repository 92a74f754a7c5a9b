"""The running half of a manager: everything that exists only between start and stop.

Started in order, stopped in reverse. A manager makes a new engine at each start, so that nothing of
an earlier run, or of an earlier event loop, can leak into the next.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import uuid
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from executors import EventLoopLane, ProcessLane, ThreadLane
from executors.base import Lane
from taskflow.clock import Clock
from taskflow.dispatcher import Dispatcher
from taskflow.outbox import Outbox
from taskflow.recorder import Recorder
from taskflow.registry import Registry
from taskflow.service import Service
from taskflow.services import Pruner, Timer, Watch
from taskflow.settings import Settings
from taskflow.stores.base import Store

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds beyond the grace period that writing the last records may take.
LAST_WRITES = 2.0


def make_lanes(settings: Settings, registry: Registry) -> dict[str, Lane]:
    """The three lanes, sized by the settings."""
    modules = {d.function.__module__ for d in registry if d.lane == "cpu"}
    return {
        "async": EventLoopLane("async", limit=settings.async_limit, room=settings.async_queue),
        "io": ThreadLane("io", limit=settings.io_workers, room=settings.io_queue),
        "cpu": ProcessLane(
            "cpu",
            limit=settings.cpu_workers,
            room=settings.cpu_queue,
            nice=settings.cpu_nice,
            preload=sorted(modules - {"__main__"}),
        ),
    }


class Engine:
    """Store, outbox, lanes, dispatcher and services of one run."""

    def __init__(
        self, settings: Settings, registry: Registry, store: Store, clock: Clock, *, rerun: bool
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.store = store
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.instance = f"{uuid.uuid4().hex[:12]}-{os.getpid()}"
        self.lanes: Mapping[str, Lane] = make_lanes(settings, registry)
        self.outbox = Outbox(
            store,
            clock,
            enqueue_timeout=settings.enqueue_timeout,
            eager_ends=settings.io_workers + settings.cpu_workers,
            on_refused=self._refused,
        )
        recorder = Recorder(
            instance=self.instance,
            outbox=self.outbox,
            clock=clock,
            draw=random.random,
            max_crashes=settings.max_crashes,
        )
        self.dispatcher = Dispatcher(
            instance=self.instance,
            registry=registry,
            store=store,
            outbox=self.outbox,
            recorder=recorder,
            lanes=self.lanes,
            clock=clock,
            max_result_bytes=settings.max_result_bytes,
            on_due=self._due,
        )
        self.timer = Timer(store, self.dispatcher.puller, clock, self.outbox.flush)
        self.watch = Watch(store, self.dispatcher.puller, clock, rerun=rerun)
        self.pruner = Pruner(
            store,
            clock,
            retention_days=settings.retention_days,
            retention_failed_days=settings.retention_failed_days,
        )
        self._services: tuple[Service, ...] = (self.timer, self.watch, self.pruner)
        self._drained = False
        self._closed = False
        self._guard: asyncio.Task[None] | None = None

    # The outbox is there before the dispatcher, and the dispatcher before the timer.

    def _refused(self, task_ids: frozenset[str]) -> None:
        self.dispatcher.refused(task_ids)

    def _due(self, moment: float) -> None:
        self.timer.due_at(moment)

    async def open(self) -> None:
        """Open the store and the lanes: tasks added from now on are stored and run."""
        try:
            await self.store.open(self.instance, self.clock.now())
        except BaseException:
            await self.store.close()
            raise
        self._guard = asyncio.create_task(self._watch_loop(), name="taskflow-guard")
        self.outbox.start()
        for lane in self.lanes.values():
            await lane.start()

    async def run(self) -> None:
        """Run what waits on disk, too: what is left from before, what is due, what others add."""
        await self.watch.take_over()
        await self.store.unpark(self.registry.names)
        self.dispatcher.puller.start()
        for service in self._services:
            service.start()
        if self.settings.gc_freeze:
            # A full collection walks every object of the app, tens of milliseconds in which no
            # request is answered. What is here by now stays; only what comes is worth a look.
            gc.collect()
            gc.freeze()
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
        for service in reversed(self._services):
            await service.stop()
        if self._warm is not None:
            self._warm.cancel()
            await asyncio.wait({self._warm})
        await self.dispatcher.stop(self.settings.shutdown_grace)

    async def close(self) -> None:
        """Write the last records and let go of the store; drains first if that was not done."""
        await self.drain()
        if self.settings.gc_freeze:
            gc.unfreeze()
        await self.outbox.close(LAST_WRITES)
        await self.store.close()
        self._closed = True
        if self._guard is not None:
            self._guard.cancel()
