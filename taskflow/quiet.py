"""Waits until an instance has nothing left to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from taskflow.attempt import Attempt
from taskflow.clock import Clock
from taskflow.outbox import Outbox
from taskflow.puller import Puller
from taskflow.states import TIMED
from taskflow.stores.base import Store

#: Seconds between two looks, if nothing tells of a change.
LOOK = 0.1
#: A retry that is so many seconds overdue may have been taken by another instance.
OVERDUE = 2.0

#: So many retries are remembered before those that are overdue by so many seconds are dropped.
MOST_REMEMBERED = 10_000
LONG_OVERDUE = 60.0


class Quiet:
    """Knows whether an instance holds anything, the retries of its own tasks included."""

    def __init__(
        self, live: Mapping[str, Attempt], outbox: Outbox, store: Store, clock: Clock
    ) -> None:
        self._live = live
        self._outbox = outbox
        self._store = store
        self._clock = clock
        self._moved = asyncio.Event()
        #: Tasks that failed here and wait for their next attempt: id -> when.
        self.retrying: dict[str, float] = {}

    def remember(self, task_id: str, due: float) -> None:
        """A task failed here and will be tried again."""
        self.retrying[task_id] = due
        if len(self.retrying) > MOST_REMEMBERED:
            # Other instances have taken most of them; only `idle` would have noticed.
            overdue = self._clock.now() - LONG_OVERDUE
            self.retrying = {id_: when for id_, when in self.retrying.items() if when > overdue}

    def notice(self) -> None:
        """Something moved: whoever waits for quiet looks again."""
        self._moved.set()

    async def idle(self, puller: Puller) -> None:
        """Return when nothing waits or runs here, and all is written."""
        while True:
            self._moved.clear()
            await self._outbox.flush()
            if not self._live and not puller.busy and self._outbox.empty:
                if not await self._retries_left():
                    return
            elif not self._live and not puller.busy:
                continue
            await self._wait_a_little()

    async def _wait_a_little(self) -> None:
        try:
            async with asyncio.timeout(LOOK):
                await self._moved.wait()
        except TimeoutError:
            return

    async def _retries_left(self) -> bool:
        """Whether tasks that failed here still wait."""
        now = self._clock.now()
        for task_id, due in list(self.retrying.items()):
            if due < now - OVERDUE:
                record = await self._store.get(task_id)
                if record is None or record.status not in TIMED:
                    self.retrying.pop(task_id, None)
        return bool(self.retrying)
