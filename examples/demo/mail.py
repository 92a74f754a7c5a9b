"""A real SMTP server on this machine that keeps nothing and refuses every fifth message."""

from __future__ import annotations

import asyncio
import itertools
import threading

from aiosmtpd.smtp import SMTP, Envelope, Session


class _Handler:
    """Counts messages; SMTP's own words decide what happens to one."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    async def handle_DATA(  # noqa: N802 - aiosmtpd looks for this name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if next(self._numbers) % 5 == 0:
            return "451 4.3.0 the mailbox is busy, try again later"
        return "250 2.0.0 accepted"


class MailSink:
    """The server, on a thread and an event loop of its own and on a free port."""

    def __init__(self) -> None:
        self.port = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    async def start(self) -> None:
        """Serve; ``port`` is known afterwards."""
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(ready)), name="demo-mail", daemon=True
        )
        self._thread.start()
        self.port = await ready

    async def stop(self) -> None:
        """Stop serving and end the thread."""
        if self._thread is not None and self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            await asyncio.to_thread(self._thread.join)

    async def _serve(self, ready: asyncio.Future[int]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        handler = _Handler()
        server = await self._loop.create_server(
            lambda: SMTP(handler, hostname="demo.invalid", loop=self._loop), "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        ready.get_loop().call_soon_threadsafe(ready.set_result, port)
        await self._stopping.wait()
        server.close()


sink = MailSink()
