"""What goes on beside the tasks: the clock, the neighbours, the broom."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from taskflow.clock import Clock
from taskflow.puller import Puller
from taskflow.schedules.due import MOST_CAUGHT_UP
from taskflow.service import Service
from taskflow.states import TaskStatus
from taskflow.stores.base import Store, TakenOver

log = logging.getLogger(__name__)

#: An instance that died this often under the same task is not given it again.
MOST_INSTANCE_DEATHS = 10


class Timer(Service):
    """Makes tasks pending when their time has come.

    It looks at the store at least every `LOOK` seconds instead of sleeping until a moment, so that
    a wall clock that steps, or another instance that adds something, is noticed.
    """

    LOOK = 1.0
    MOST = 1000

    def __init__(
        self, store: Store, puller: Puller, clock: Clock, settle: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__("timer")
        self._store = store
        #: Returns when everything that was decided so far can be read from the store.
        self._settle = settle
        self._puller = puller
        self._clock = clock
        self._next = float("inf")

    def due_at(self, moment: float) -> None:
        """Something will be due then."""
        if moment < self._next:
            self._next = moment
            self.wake()

    async def turn(self) -> float:
        self._next = float("inf")
        await self._settle()
        due = await self._store.next_due()
        now = self._clock.now()
        if due is not None and due <= now:
            promoted = await self._store.promote(self.MOST, now)
            if promoted:
                self._puller.expect_all()
            if promoted == self.MOST:
                return 0.0
            due = await self._store.next_due()
        if due is not None:
            self._next = min(self._next, due)
        return min(max(self._next - self._clock.now(), 0.0), self.LOOK)


class Watch(Service):
    """Takes over what a dead instance left behind, and notices what the living do.

    ``noticed`` is awaited when another instance has written something.
    """

    LOOK = 0.5

    def __init__(
        self,
        store: Store,
        puller: Puller,
        clock: Clock,
        *,
        rerun: bool,
        noticed: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__("watch")
        self._store = store
        self._puller = puller
        self._clock = clock
        self._rerun = rerun
        self._noticed = noticed
        #: Whether something was written that could not be looked at yet.
        self._unseen = True

    async def turn(self) -> float:
        await self.take_over()
        self._unseen = await self._store.changed() or self._unseen
        if self._unseen:
            self._puller.expect_all()
            await self._noticed()
            self._unseen = False
        return self.LOOK

    async def take_over(self) -> TakenOver:
        """Free the tasks of dead instances; also done once before the first task runs."""
        taken = await self._store.take_over(
            rerun=self._rerun, max_crashes=MOST_INSTANCE_DEATHS, now=self._clock.now()
        )
        if taken.handed_back or taken.interrupted or taken.failed:
            log.warning(
                "took over from an instance that died: %d tasks go on, %d interrupted, %d failed",
                taken.handed_back,
                taken.interrupted,
                taken.failed,
            )
        if any((taken.handed_back, taken.interrupted, taken.failed, taken.others)):
            # Also for those that ended: somebody may have waited for their key.
            self._puller.expect_all()
        return taken


class Pruner(Service):
    """Deletes finished tasks and old firings when they are old enough, a slice at a time."""

    EVERY = 300.0
    SLICE = 500
    #: How long the firings of schedules are kept, longer than any clock is set back; of each
    #: schedule the latest always, more than are ever made up for at once.
    FIRINGS_AGE = 2 * 86_400.0
    FIRINGS_KEPT = 2 * MOST_CAUGHT_UP
    PAUSE = 0.02

    def __init__(
        self, store: Store, clock: Clock, *, retention_days: float, retention_failed_days: float
    ) -> None:
        super().__init__("pruner")
        self._store = store
        self._clock = clock
        self._ages = {
            TaskStatus.SUCCESS: retention_days * 86400,
            TaskStatus.CANCELLED: retention_days * 86400,
            TaskStatus.FAILED: retention_failed_days * 86400,
            TaskStatus.INTERRUPTED: retention_failed_days * 86400,
        }

    async def turn(self) -> float:
        now = self._clock.now()
        before = {status: now - age for status, age in self._ages.items()}
        deleted = await self._store.prune(before, self.SLICE)
        oldest = now - self.FIRINGS_AGE
        deleted += await self._store.prune_firings(oldest, self.FIRINGS_KEPT, self.SLICE)
        await self._store.news.expire(now)
        # Between two slices others want to write, too.
        return self.PAUSE if deleted else self.EVERY
