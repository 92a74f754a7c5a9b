"""Cancels a task wherever it is: on disk, in a lane of this instance, in another instance."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from executors.base import Lane
from taskflow.attempt import Attempt
from taskflow.clock import Clock
from taskflow.endings import Endings
from taskflow.outbox import Outbox
from taskflow.states import FINAL, TaskStatus
from taskflow.stores.base import Store

log = logging.getLogger(__name__)

#: Seconds between two looks at whether a task that is being cancelled is still here.
LOOK = 0.1


class Canceller:
    """Cancels for one instance.

    Rule: whoever is told ``cancelled`` will never see the task succeed. A task that runs elsewhere
    gets a request in the store; the instance that holds it looks for those twice a second, and
    whoever takes the task over honours it, too.
    """

    def __init__(
        self,
        *,
        live: Mapping[str, Attempt],
        lanes: Mapping[str, Lane],
        store: Store,
        outbox: Outbox,
        endings: Endings,
        clock: Clock,
        forget: Callable[[str], None],
    ) -> None:
        self._live = live
        self._lanes = lanes
        self._store = store
        self._outbox = outbox
        self._endings = endings
        self._clock = clock
        self._forget = forget
        self._obeying: set[asyncio.Task[object]] = set()
        #: Tasks that are being cancelled, and by how many people.
        self._unwanted: dict[str, int] = {}

    def is_unwanted(self, task_id: str) -> bool:
        """Whether the task is being cancelled at this moment: it must not start."""
        return task_id in self._unwanted

    async def cancel(self, task_id: str, patience: float = 0.0) -> TaskStatus | None:
        """Cancel a task; its status afterwards, None if unknown.

        One that runs in another instance ends when that has heard of it: up to ``patience`` seconds
        are spent on waiting for it. A task that runs here has ended on return.
        """
        ended = self._endings.when_final(task_id)
        self._unwanted[task_id] = self._unwanted.get(task_id, 0) + 1
        try:
            if task_id not in self._live:
                # What was decided here must be in its row before the row is judged by; and a task
                # that the store has to confirm is live only then.
                await self._outbox.flush()
            attempt = self._live.get(task_id)
            if attempt is not None:
                attempt.revoked = True
                if not self._lanes[attempt.record.lane].cancel(attempt):
                    attempt.cancelled = True  # not committed yet: ends when it would enter the lane
                while not ended.done() and self._live.get(task_id) is attempt:
                    await asyncio.wait({ended}, timeout=LOOK)
            # Whatever happens to it here meanwhile, it will not be let into a lane.
            status = None if ended.done() else await self._cancel_elsewhere(task_id, patience)
            if not ended.done():
                return status
            await self._outbox.flush()
            return ended.result().status
        finally:
            ended.cancel()
            self._unwanted[task_id] -= 1
            if not self._unwanted[task_id]:
                del self._unwanted[task_id]

    async def _cancel_elsewhere(self, task_id: str, patience: float) -> TaskStatus | None:
        await self._outbox.flush()
        status = await self._store.request_cancel(task_id, self._clock.now())
        if status is TaskStatus.CANCELLED:
            self._forget(task_id)
        deadline = self._clock.monotonic() + patience
        while status is not None and status not in FINAL and self._clock.monotonic() < deadline:
            await asyncio.sleep(LOOK)
            record = await self._store.get(task_id)
            status = None if record is None else record.status
        return status

    def forget(self, task_ids: Iterable[str]) -> None:
        """They were cancelled in the store, all at once."""
        for task_id in task_ids:
            self._forget(task_id)

    async def obey_requests(self) -> None:
        """Cancel what other instances want cancelled here."""
        for task_id in await self._store.cancel_requests():
            if task_id not in self._unwanted:
                # Side by side, and nobody waits: code may take seconds to end.
                obeying = asyncio.ensure_future(self.cancel(task_id))
                self._obeying.add(obeying)
                obeying.add_done_callback(self._obeyed)

    def _obeyed(self, obeying: asyncio.Task[object]) -> None:
        self._obeying.discard(obeying)
        if not obeying.cancelled() and (error := obeying.exception()) is not None:
            log.warning("a cancel that another instance asked for is tried again: %s", error)
