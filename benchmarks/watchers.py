"""Clients of the event stream: sockets that read, or only could."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

PATIENCE = 30.0


class Watchers:
    """Open streams. A thread reads those of ``readers``; the others are left alone."""

    def __init__(self, url: str, readers: int, idlers: int) -> None:
        self._url = url
        self._selector = selectors.DefaultSelector()
        self.sockets = [self._connect() for _ in range(readers + idlers)]
        for one in self.sockets[:readers]:
            self._selector.register(one, selectors.EVENT_READ)
        #: Bytes that were read.
        self.received = 0
        self._over = False
        self._thread = threading.Thread(target=self._read, name="watchers")
        self._thread.start()

    def _connect(self) -> socket.socket:
        where = urlsplit(self._url)
        one = socket.create_connection((where.hostname, where.port), PATIENCE)
        one.sendall(f"GET /tasks/events HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode("ascii"))
        begin = one.recv(12)
        if begin != b"HTTP/1.1 200":
            raise RuntimeError(f"a stream was answered with {begin!r}")
        return one

    def _read(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(0.1):
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # it is a socket
                if not data:
                    self._selector.unregister(key.fileobj)
                self.received += len(data)

    def close(self) -> None:
        """Hang up."""
        self._over = True
        self._thread.join()
        for one in self.sockets:
            one.close()


@contextmanager
def watching(url: str, readers: int, idlers: int = 0) -> Iterator[Watchers]:
    """So many streams are open."""
    watchers = Watchers(url, readers, idlers)
    try:
        yield watchers
    finally:
        watchers.close()
