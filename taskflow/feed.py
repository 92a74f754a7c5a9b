"""News of tasks for whoever listens in this process: lines, progress, changes of status.

Rule: nobody waits for a listener. One that is too slow loses the oldest news, and is told how much.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from executors.mailbox import Mailbox


@dataclass(frozen=True, slots=True)
class LineWritten:
    """A task wrote a line into its log. ``at`` is in seconds since the epoch."""

    task_id: str
    attempt: int
    at: float
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """A task said how far it is; ``total`` is None while nobody knows."""

    task_id: str
    done: float
    total: float | None
    message: str


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """A task started, or its attempt ended. ``at`` is in seconds since the epoch."""

    task_id: str
    func_name: str
    lane: str
    queue: str
    status: str
    attempt: int
    at: float
    error: str | None


@dataclass(frozen=True, slots=True)
class Missed:
    """The subscriber was too slow: ``count`` events before the next one were dropped."""

    count: int


Event = LineWritten | Progressed | TaskChanged


class Feed:
    """Hands events to subscribers, on the thread of ``loop``, in the order they were published.

    ``hide`` takes secrets out of their texts: who listens usually sends them on, to a browser.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, hide: Callable[[str], str] | None = None
    ) -> None:
        self.loop = loop
        self._hide = hide
        #: Who listens. Always the same list: while it is empty, events need not even be made.
        self.subscribers: list[Subscription] = []
        self.closed = False
        self._mailbox = Mailbox(loop, self._deliver)

    def publish(self, event: Event) -> None:
        """Tell every subscriber; from any thread."""
        if self.subscribers:
            # Through the mailbox from the loop's own thread, too: lines that a thread wrote before
            # are still in there, and an end must not overtake them.
            self._mailbox.post(event)

    def subscribe(self, limit: int = 1000) -> Subscription:
        """Events from ``async with`` on; at most ``limit`` of them wait for the subscriber.

        Raises ValueError if ``limit`` is not at least 1.
        """
        return Subscription(self, limit)

    def close(self) -> None:
        """There will be no more events: subscribers come to an end once they took what is there."""
        self.closed = True
        if self.subscribers:
            self._mailbox.post(None)

    def _deliver(self, event: Event | None) -> None:
        if event is not None and self._hide is not None and self.subscribers:
            event = _without_secrets(event, self._hide)
        for subscriber in self.subscribers:
            subscriber.take(event)


def _without_secrets(event: Event, hide: Callable[[str], str]) -> Event:
    if isinstance(event, TaskChanged):
        return event if event.error is None else replace(event, error=hide(event.error))
    shown = hide(event.message)
    return event if shown == event.message else replace(event, message=shown)


class Subscription:
    """``async with feed.subscribe() as events: async for event in events: ...``."""

    def __init__(self, feed: Feed, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit={limit}: a subscriber needs room for at least 1 event")
        self._feed = feed
        self._limit = limit
        self._events: deque[Event] = deque()
        self._missed = 0
        self._ended = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        if asyncio.get_running_loop() is not self._feed.loop:
            raise RuntimeError(
                "events are handed out on the event loop that the manager runs on: subscribe there"
            )
        self._ended = self._feed.closed
        self._feed.subscribers.append(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._feed.subscribers.remove(self)
        self._events.clear()
        self._end()

    def take(self, event: Event | None) -> None:
        """An event to be handed out, None for the end. On the loop's thread."""
        if event is None:
            self._end()
            return
        if len(self._events) == self._limit:
            self._events.popleft()
            self._missed += 1
        self._events.append(event)
        self._news.set()

    def _end(self) -> None:
        self._ended = True
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event | Missed:
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return Missed(missed)
        return self._events.popleft()
