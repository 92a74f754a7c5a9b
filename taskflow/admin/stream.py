"""One event stream: frames wait in it until its client takes them, and not too many of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taskflow.admin.stopping import abort, parting

#: Frames and bytes that wait for one client. Frames are shared by all clients.
MOST_FRAMES = 200
MOST_BYTES = 256 * 1024


def frame(event: str, data: Any, seq: str = "") -> bytes:
    """An event as it is sent."""
    # A line break in a text is `\n` in JSON, so that data is always one line.
    mark = f"id: {seq}\n" if seq else ""
    return b"event: %s\n%sdata: %s\n\n" % (event.encode(), mark.encode(), to_json(data))


HEARTBEAT = b":\n\n"
BYE = frame("bye", {})
RESYNC = frame("resync", {"reason": "the client was too slow, and something was left out"})


class Client:
    """What waits for one client. Whoever is too slow is told to fetch everything anew."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._news = asyncio.Event()
        #: Cuts its connection; tells whether the server wants it to end.
        self.cut: Callable[[], None] = lambda: None
        self.parting: Callable[[], bool] = lambda: False

    def offer(self, frame: bytes) -> None:
        """A frame to be sent; never waits."""
        full = len(self._frames) >= MOST_FRAMES or self._size + len(frame) > MOST_BYTES
        if full and self._frames:  # one that reads is sent a frame of any size
            self._frames.clear()
            self._size = 0
            frame = RESYNC
        self._frames.append(frame)
        self._size += len(frame)
        self._news.set()

    def end(self) -> None:
        """There will be nothing more than what waits."""
        self._ended = True
        self._news.set()

    async def take(self) -> bytes:
        """The next frame; empty at the end."""
        while not self._frames:
            if self._ended:
                return b""
            self._news.clear()
            await self._news.wait()
        frame = self._frames.popleft()
        self._size -= len(frame)
        return frame


class EventStream(Response):
    """Sends what its client is offered until either of them goes.

    ``come`` is called with its ``send`` first, ``leave`` at the end.
    """

    media_type = "text/event-stream"

    def __init__(
        self, client: Client, come: Callable[[Send], None], leave: Callable[[], None]
    ) -> None:
        # Proxies are asked not to hold events back.
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._client = client
        self._come = come
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = self._client
        client.cut = lambda: abort(send)
        self._come(send)
        listener = asyncio.create_task(_hang_up(receive, client), name="taskflow-listener")
        try:
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            client.parting = parting(send)
            while body := await client.take():
                await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            listener.cancel()
            self._leave()


async def _hang_up(receive: Receive, client: Client) -> None:
    """End the stream when its client goes."""
    with contextlib.suppress(OSError):
        while (await receive())["type"] != "http.disconnect":
            pass
    client.end()
