"""Carries items from any thread to one handler on the event loop, in batches.

Waking a loop from another thread costs a system call, so one wake-up serves everything that was
posted until the loop gets to it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Hands each posted item to ``handler`` on the thread of ``loop``, in order of arrival.

    An error of the handler goes to the loop's exception handler and harms no other item. Once the
    loop is closed, items are dropped: nobody is left to hear of them.
    """

    __slots__ = ("_awake", "_handler", "_items", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, handler: Callable[[T], None]) -> None:
        self._loop = loop
        self._handler = handler
        self._items: deque[T] = deque()
        #: A delivery is under way that has not yet begun to take items out.
        self._awake = False

    def post(self, item: T) -> None:
        """Deliver ``item`` soon; from any thread, the loop's own included."""
        # The order matters: an item is in the deque before the flag is read, and the flag is
        # cleared before items are taken out. So an item is seen by the delivery under way or
        # wakes another one. Two wake-ups instead of one are possible and harmless.
        self._items.append(item)
        if not self._awake:
            self._awake = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop is closed
                self._items.clear()

    def _deliver(self) -> None:
        self._awake = False
        items = self._items
        handler = self._handler
        # Only what is there now: fast producers must not keep the loop in here for ever.
        for _ in range(len(items)):
            try:
                handler(items.popleft())
            except Exception as error:
                self._loop.call_exception_handler(
                    {"message": f"handler {handler!r} of a mailbox failed", "exception": error}
                )
        if items and not self._awake:
            self._awake = True
            self._loop.call_soon(self._deliver)
