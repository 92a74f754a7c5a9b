"""Framed messages between a worker process and the loop of its parent, over a socket pair.

A frame is a header (one byte that says what it is, then the length) and a body. Carrying calls
and answers like this, on the loop itself, takes a fifth of the time that a pool's own queues and
threads take for it; it also leaves room for what a worker wants to say while it works.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable

_HEADER = struct.Struct("!cQ")
_CHUNK = 256 * 1024
#: So many messages are taken at a time, then the rest of the loop has its turn.
_FRAMES_A_TURN = 100
#: The kernel takes a message up to this size whole or not at all, in bytes.
_WHOLE = 16 * 1024

#: A number at the start of a body.
NUMBER = struct.Struct("!Q")

#: From the parent: a packed call.
CALL = b"C"
#: From the parent: how many bytes of memory the call may take (`NUMBER`), then the packed call.
LIMITED_CALL = b"L"
#: From the worker: it is up; the body is a pickled tuple of what could not be preloaded.
GREETING = b"G"
#: From the worker: the running call says something: which call it is (`NUMBER`), then the data.
MESSAGE = b"M"
#: From the worker, before an answer: why it should be replaced, as UTF-8.
DUE = b"D"
#: From the worker: the call returned None.
NOTHING = b"N"
#: From the worker: the pickled value that the call returned.
VALUE = b"V"
#: From the worker: a pickled tuple of the three texts of a `Failure`.
FAILURE = b"F"


class Channel:
    """The parent's end. Never blocks; everything happens on the thread of ``loop``.

    ``on_frame`` is given the kind and the body of each message, ``on_end`` is called once when
    the other end is gone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        on_frame: Callable[[bytes, memoryview], None],
        on_end: Callable[[], None],
    ) -> None:
        end.settimeout(0)
        self._loop = loop
        self._socket = end
        self._on_frame = on_frame
        self._on_end = on_end
        self._received = bytearray()
        self._unsent: memoryview | None = None
        self._closed = False
        #: Whole messages have been received that are not delivered yet.
        self._behind = False
        loop.add_reader(end.fileno(), self._readable)

    def send(self, kind: bytes, body: bytes) -> None:
        """Send a message; raises OSError if the other end is known to be gone.

        The message before must have been answered.
        """
        data = _HEADER.pack(kind, len(body)) + body
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._loop.add_writer(self._socket.fileno(), self._writable)

    def drain(self) -> None:
        """Deliver all that the other end had sent before it died."""
        self._take_all_frames()
        while not self._closed and self._receive():
            self._take_all_frames()

    def close(self) -> None:
        """Let go of the socket. Idempotent."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()

    def _writable(self) -> None:
        unsent = self._unsent
        assert unsent is not None
        try:
            self._unsent = unsent[self._socket.send(unsent) :]
        except BlockingIOError:
            return
        except OSError:  # the reading side hears of it
            self._unsent = None
        if not self._unsent:
            self._unsent = None
            self._loop.remove_writer(self._socket.fileno())

    def _readable(self) -> None:
        if not self._behind:
            self._receive()

    def _receive(self) -> bool:
        """Take what is there; False if there is nothing (more)."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.close()
            self._on_end()
            return False
        received = self._received
        if not received and len(data) >= _HEADER.size:
            # Nearly always: one whole message in one piece.
            kind, size = _HEADER.unpack_from(data)
            if len(data) == _HEADER.size + size:
                self._on_frame(kind, memoryview(data)[_HEADER.size :])
                return True
        received += data
        self._take_frames()
        if self._behind:
            self._loop.call_soon(self._catch_up)
        return True

    def _catch_up(self) -> None:
        if self._behind:
            self._take_frames()
        if self._behind:
            self._loop.call_soon(self._catch_up)

    def _take_all_frames(self) -> None:
        while self._behind:
            self._take_frames()

    def _take_frames(self) -> None:
        """Deliver some of the whole messages; those that are left wait for the next turn."""
        received = self._received
        self._behind = False
        for _ in range(_FRAMES_A_TURN):
            if len(received) < _HEADER.size:
                return
            kind, size = _HEADER.unpack_from(received)
            end = _HEADER.size + size
            if len(received) < end:
                return
            body = memoryview(bytes(memoryview(received)[_HEADER.size : end]))
            del received[:end]
            self._on_frame(kind, body)
        self._behind = True


class WorkerEnd:
    """The worker's end: blocking. One thread receives, any thread may send."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(None)
        self._socket = end
        self._reader = end.makefile("rb")
        self._lock = threading.Lock()
        #: A long message is being sent, or was cut short by what a signal handler raised.
        self._torn = False

    def receive(self) -> tuple[bytes, bytes] | None:
        """The kind and the body of the next message, None when the parent is gone."""
        header = self._reader.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        kind, size = _HEADER.unpack(header)
        body = self._reader.read(size)
        return (kind, body) if len(body) == size else None

    def send(self, kind: bytes, body: bytes = b"") -> None:
        """Send a message; it is on its way when this returns.

        Raises OSError when the parent is gone, and when a message before was cut short: the parent
        would take what follows for the rest of it.
        """
        data = _HEADER.pack(kind, len(body)) + body
        with self._lock:
            if self._torn:
                raise ConnectionAbortedError("a message before was cut short by a signal handler")
            self._torn = len(data) > _WHOLE
            self._socket.sendall(data)
            self._torn = False


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends: the parent's, and the one to be inherited by the worker."""
    return socket.socketpair()
