"""The one in a process that looks at the store for all who watch, and tells them what changed.

While nobody watches it does not run, and nothing is written down for it anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from taskflow.admin.present import present
from taskflow.admin.stopping import Stop
from taskflow.admin.stream import BYE, HEARTBEAT, RESYNC, Client, frame
from taskflow.engine import Engine
from taskflow.errors import StoreError
from taskflow.stores.news import Delta, Position

log = logging.getLogger(__name__)

#: Seconds between two looks at the store: at most so often a task on a screen changes.
TICK = 0.1
#: Seconds between two boards, between two heartbeats, and between two words to the store.
BOARD = 1.0
HEARTBEAT_EVERY = 15.0
RENEW = 10.0
#: Seconds for which the store writes news down without hearing that somebody still looks ...
WATCHED = 60.0
#: ... and for which this one waits for somebody to come back.
LINGER = 30.0
#: Tasks told of in one event.
MOST_TASKS = 200
#: Streams of one process.
MOST_STREAMS = 1000
#: Seconds that a client has to take its last frame.
LAST = 0.2
#: Characters of an error that are told, and that are looked at for secrets.
LONGEST_ERROR = 300
LOOKED_AT = 4 * LONGEST_ERROR
#: Left out of the tasks in an event: long, and nothing that a list shows.
_LEFT_OUT = {"logs", "stacktrace", "result_error"}

#: Makes the data of a board: the same that a route answers.
Board = Callable[[], Awaitable[Any]]


class Broadcaster:
    """Tells every client the same. ``boards`` are sent as events of their names, every second.

    ``hide`` takes secrets out of data. Belongs to one engine, and to its event loop.
    """

    def __init__(
        self, engine: Engine, boards: Mapping[str, Board], hide: Callable[[Any], Any], stop: Stop
    ) -> None:
        self.engine = engine
        self._boards = boards
        self._hide = hide
        self.stop = stop
        self._news = engine.store.news
        self._monotonic = engine.clock.monotonic
        self._clients: set[Client] = set()
        self._beginning = asyncio.Lock()
        self._runner: asyncio.Task[None] | None = None
        self._position: Position | None = None
        self._until = 0.0
        self._renew_at = self._board_at = self._beat_at = self._left_at = 0.0
        self._sent: dict[str, bytes] = {}
        self._ending = False
        self._renewing: asyncio.Task[None] | None = None
        #: What those who come back were told lately.
        self._returns: dict[Position, asyncio.Task[tuple[Position, bytes] | None]] = {}

    @property
    def full(self) -> bool:
        """Whether there are as many streams as there may be."""
        return len(self._clients) >= MOST_STREAMS

    @property
    def over(self) -> bool:
        """Whether the server or the tasks were asked to stop."""
        return self.stop.asked or self.engine.feed.closed

    async def join(self, last_event_id: str) -> Client:
        """A new client, which goes on after that event if that is possible."""
        client = Client()
        async with self._beginning:  # many come at once when an app is back
            await self._begin()
        missed = await self._missed(Position.read(last_event_id))
        # From here on nothing is awaited: it hears of everything after the position it is told.
        self._clients.add(client)
        seq = str((self._position if missed is None else missed[0]) or "")
        hello = {"instance": self.engine.instance, "seq": seq, "resumed": missed is not None}
        client.offer(frame("hello", hello, seq))
        if missed is not None and missed[1]:
            client.offer(missed[1])
        for board in self._sent.values():
            client.offer(board)
        if self._ending or self.over:
            _dismiss(client)
        return client

    def leave(self, client: Client) -> None:
        """This client is gone."""
        self._clients.discard(client)
        self._left_at = self._monotonic()

    async def _begin(self) -> None:
        if self._runner is not None and self._ending:
            await asyncio.wait({self._runner})
        if self._runner is None or self._runner.done():
            self.stop.attach()
            self._ending = False
            self._position = None
            self._left_at = self._monotonic()
            await self._renew()
            self._runner = asyncio.create_task(self._run(), name="taskflow-broadcast")

    async def _missed(self, last: Position | None) -> tuple[Position, bytes] | None:
        """Where somebody is who was at ``last``, and what he is to be told; None if unknown.

        Looked up once for all who come back from the same place, as they do after a restart.
        """
        if last is None:
            return None
        if last not in self._returns:
            self._returns[last] = asyncio.create_task(self._look_back(last))
        return await asyncio.shield(self._returns[last])

    async def _look_back(self, last: Position) -> tuple[Position, bytes] | None:
        try:
            delta = await self._news.since(last, MOST_TASKS)
        except StoreError:
            return None
        if delta is None:
            return None
        return delta.position, self._frame(delta) if delta.position != last else b""

    # -- the loop ----------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not self.over:
                now = self._monotonic()
                if not self._clients and now - self._left_at > LINGER:
                    with contextlib.suppress(StoreError):  # then it ends by itself
                        await self._news.unwatch(self._until)
                    return
                try:
                    await self._turn(now)
                except StoreError as error:
                    log.debug("no news, the store does not answer: %s", error)
                except Exception:
                    log.exception("the broadcaster failed and will go on")
                await asyncio.sleep(TICK)
        finally:
            await self._end()

    async def _turn(self, now: float) -> None:
        if any(client.parting() for client in self._clients):
            self.stop.tell()
            return
        self._returns = {last: it for last, it in self._returns.items() if not it.done()}
        if now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_EVERY
            self._tell(HEARTBEAT)
        if now >= self._board_at:
            self._board_at = now + BOARD
            await self._send_boards()
        if now >= self._renew_at and (self._renewing is None or self._renewing.done()):
            # Nobody waits for it: it is a write, and the store may be locked for long.
            self._renewing = asyncio.create_task(self._renew(), name="taskflow-watch")
        if self._position is not None:
            await self._send_news(self._position)

    async def _send_news(self, position: Position) -> None:
        delta = await self._news.since(position, MOST_TASKS)
        if delta is None:  # somebody else said that nobody looks
            self._position, self._renew_at = None, 0.0
        elif delta.position != position:
            self._position = delta.position
            try:
                told = self._frame(delta)
            except Exception:
                log.exception("what changed could not be told")
                told = RESYNC
            self._tell(told)

    async def _renew(self) -> None:
        now = self.engine.clock.now()
        self._until = now + WATCHED
        try:
            position = await self._news.watch(self._until, now)
        except StoreError:
            self._renew_at = self._monotonic() + BOARD
            return
        self._renew_at = self._monotonic() + RENEW
        if self._position is None:
            self._position = position
            self._tell(RESYNC)

    async def _send_boards(self) -> None:
        if not self._clients:
            return
        for name, make in self._boards.items():
            made = frame(name, self._hide(await make()))
            if made != self._sent.get(name):
                self._sent[name] = made
                self._tell(made)

    def _frame(self, delta: Delta) -> bytes:
        now = self.engine.clock.now()
        tasks: list[dict[str, Any]] = []
        for record in delta.tasks:
            task = present(record, now).model_dump(mode="json", exclude=_LEFT_OUT)
            if record.task_id in delta.grown:
                task["logs"] = True
            if task["error"] is not None:
                task["error"] = task["error"][:LOOKED_AT]
            tasks.append(task)
        told = {record.task_id for record in delta.tasks}
        tasks += [{"task_id": it, "logs": True} for it in sorted(delta.grown - told)]
        tasks += [{"task_id": it, "gone": True} for it in delta.gone]
        shown = self._hide({"tasks": tasks, "more": delta.more})
        for task in shown["tasks"]:
            # Only now: a secret that is cut in two is not known as one.
            if task.get("error"):
                task["error"] = task["error"][:LONGEST_ERROR]
        return frame("tasks", shown, str(delta.position))

    def _tell(self, frame: bytes) -> None:
        for client in self._clients:
            client.offer(frame)

    async def _end(self) -> None:
        """Let every client go; one that does not read is cut off."""
        self._ending = True
        if self._renewing is not None:
            self._renewing.cancel()
        for client in self._clients:
            _dismiss(client)
        if self._clients:
            await asyncio.sleep(LAST)
        for client in tuple(self._clients):
            client.cut()


def _dismiss(client: Client) -> None:
    client.offer(BYE)
    client.end()
