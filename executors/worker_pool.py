"""The worker processes of a lane: how many there are, which are idle, which are to be replaced.

Rule: a worker that is due serves on until another one is up in its place, and they are replaced
one at a time, so that neither slots nor memory run short for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from executors.base import log
from executors.keeper import Keeper
from executors.mailbox import Mailbox
from executors.process_slot import Died, News, Ready, Setup, Slot, WorkerInfo
from executors.recycling import Recycling

#: Seconds a worker may take to start and to load what it is told to.
START_PATIENCE = 120.0
#: How often in a row a worker may fail to start before a call is given up for it.
START_TRIES = 3
#: Seconds after which it is tried again all the same, when nobody asks for one.
_START_AGAIN = 10.0


class WorkerPool:
    """Starts workers as they are needed and keeps them; everything on the loop's thread.

    ``hear`` is told what a worker says, `Ready` excepted, ``on_idle`` that one has come up, and
    ``on_death`` that one is gone: it is out of the pool and buried then, and `supply` is due.
    """

    def __init__(
        self,
        name: str,
        limit: int,
        setup: Setup,
        recycling: Recycling,
        *,
        spare: bool,
        hear: Callable[[Slot, News], None],
        on_idle: Callable[[], None],
        on_death: Callable[[Slot, Died], None],
    ) -> None:
        self.name = name
        self.limit = limit
        self._setup = setup
        self._recycling = recycling
        self._recycles = not recycling.never
        self._spare = spare
        self._hear_lane = hear
        self._on_idle = on_idle
        self._tell_death = on_death
        self._loop: asyncio.AbstractEventLoop
        self._open = False
        self._keeper: Keeper | None = None
        self._keeper_gone = asyncio.Event()
        #: Every worker whose process is not known to be dead, in order of starting.
        self.slots: dict[Slot, None] = {}
        #: Those that can take a call; the last is the next. Those that are due stand first.
        self.idle: list[Slot] = []
        #: How many workers have been needed at a time, up to the limit; as many are kept.
        self._wanted = 0
        self.failed_starts = 0
        self._start_again_at = 0.0
        #: What was told of workers that could not load something: once is enough.
        self._told: set[str] = set()
        self._changed = asyncio.Event()

    # -- how many ----------------------------------------------------------------------------

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start workers on ``loop`` from now on, when they are needed."""
        self._loop = loop
        self._open = True

    async def warm(self) -> None:
        """Start every worker now and wait until they are up, or have failed to come up."""
        self._wanted = self.limit
        self.supply()
        while self._up < self.limit and self._up < len(self.slots):
            self._changed.clear()
            await self._changed.wait()

    def infos(self) -> list[WorkerInfo]:
        """The workers that are up, oldest first."""
        return [slot.info() for slot in self.slots if slot.ready]

    def resize(self, limit: int, missing: int) -> None:
        """Keep workers for ``limit`` calls at a time; ``missing`` calls have none yet."""
        self.limit = limit
        self._wanted = min(self._wanted, limit)
        self._trim()
        self.supply(missing)

    @property
    def _up(self) -> int:
        return sum(slot.ready for slot in self.slots)

    def supply(self, missing: int = 0) -> None:
        """Start as many workers as are needed, ``missing`` calls without one included.

        Once these are up, one more is started to be the spare, or to take the place of one that
        is due.
        """
        if not self._open:
            return
        if self.failed_starts >= START_TRIES:
            # Whatever keeps workers from starting must not keep this process busy: one for each
            # call that asks for it.
            if missing and self._up == len(self.slots):
                self._start()
            return
        busy = sum(slot.call is not None for slot in self.slots)
        self._wanted = max(self._wanted, min(self.limit, busy + missing))
        while len(self.slots) < self._wanted and self._start():
            pass
        if len(self.slots) == self._wanted == self._up:
            spare = self._spare and self._wanted == self.limit
            if spare or any(slot.due for slot in self.slots):
                self._start()

    def _start(self) -> bool:
        """Start a worker; False if this process cannot even try."""
        setup = self._setup
        if self.failed_starts >= START_TRIES - 1 and not setup.bare:
            log.warning("a worker of lane %r starts without preload and warm-up", self.name)
            setup = replace(setup, preload=(), warm_up=())
        try:
            if self._keeper is None:
                mailbox = Mailbox[tuple[Slot, Died]](self._loop, self._on_death)
                self._keeper = Keeper(self.name, mailbox.post, self._on_keeper_gone)
            slot = Slot(setup, self._loop, self._hear)
        except OSError as error:  # out of file descriptors
            log.warning("lane %r cannot start a worker: %s", self.name, error)
            self._count_failed_start()
            return False
        slot.timer = self._loop.call_later(START_PATIENCE, slot.kill)
        self.slots[slot] = None
        self._keeper.launch(slot)
        return True

    def _count_failed_start(self) -> None:
        self.failed_starts += 1
        self._start_again_at = self._loop.time() + _START_AGAIN

    def _trim(self) -> None:
        """Let go of idle workers: those whose place is taken, and those that are too many."""
        while (slot := self._dispensable()) is not None:
            self.idle.remove(slot)
            del self.slots[slot]
            if slot.due:
                log.info("worker %d of lane %r was replaced: %s", slot.pid, self.name, slot.due)
            slot.kill()

    def _dispensable(self) -> Slot | None:
        due = [slot for slot in self.slots if slot.due]
        if due and self._up > self._wanted and self.idle and self.idle[0].due:
            return self.idle[0]
        most = self.limit + (1 if self._spare or due else 0)
        return self.idle[0] if self.idle and len(self.slots) > most else None

    # -- one of them -------------------------------------------------------------------------

    def put_back(self, slot: Slot) -> None:
        """The call of ``slot`` has ended: it may run another, if it is still to be trusted."""
        if slot.death is not None:
            return
        if self._recycles and not slot.due:
            slot.due = self._recycling.why(slot, self._loop.time())
        if slot.due:
            self.idle.insert(0, slot)
        else:
            self.idle.append(slot)
        if slot.due or len(self.slots) > self.limit + self._spare:
            self._trim()
            self.supply()

    def recycle_idle(self) -> None:
        """Replace idle workers that are due, and try again to start what could not be started."""
        if self.failed_starts >= START_TRIES and self._loop.time() >= self._start_again_at:
            self.failed_starts = 0
        if self._recycles:
            now = self._loop.time()
            for slot in self.idle:
                slot.due = slot.due or self._recycling.why(slot, now)
            self.idle.sort(key=lambda slot: not slot.due)
        self._trim()
        self.supply()

    def _hear(self, slot: Slot, news: News) -> None:
        if isinstance(news, Ready):
            self._on_ready(slot, news)
        else:
            self._hear_lane(slot, news)

    def _on_ready(self, slot: Slot, news: Ready) -> None:
        slot.disarm()
        slot.ready = True
        self.failed_starts = 0
        for text in news.trouble:
            if text not in self._told:
                self._told.add(text)
                log.warning("a worker of lane %r could not %s", self.name, text)
        self._changed.set()
        self.idle.append(slot)
        self._on_idle()
        self._trim()
        self.supply()

    def _on_death(self, item: tuple[Slot, Died]) -> None:
        slot, news = item
        self.slots.pop(slot, None)
        if slot in self.idle:
            self.idle.remove(slot)
        slot.bury(news.reason)  # which may bring a last answer
        slot.disarm()
        self._changed.set()
        if not slot.ready:
            self._count_failed_start()
        if self._open and slot.call is None and (slot.stacks or not slot.ready):
            when = "idle" if slot.ready else "starting"
            text = f"{news.reason}\n{slot.stacks}".strip()
            log.warning("a worker of lane %r died while %s: %s", self.name, when, text)
        self._tell_death(slot, news)

    # -- ending ------------------------------------------------------------------------------

    def close(self) -> None:
        """Kill every worker. Idempotent."""
        self._open = False
        if self._keeper is not None:
            self._keeper.close()
        for slot in self.slots:
            slot.disarm()
            slot.kill()

    async def wait_closed(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until no process is left; whether that came true."""
        if self._keeper is None:
            return True
        try:
            await asyncio.wait_for(self._keeper_gone.wait(), timeout)
        except TimeoutError:
            return False
        return True

    def _on_keeper_gone(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._keeper_gone.set)
        except RuntimeError:
            pass  # the loop is closed, nobody waits
