"""Whether the server under the app was asked to stop.

Servers let every response end before they tell the app that it stops; an event stream has no end of
its own. So whoever serves streams has to learn of the signal, without taking it from the server.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Knows of the signals of this process from `attach` on."""

    def __init__(self) -> None:
        self._told = False
        self._server: Any = None
        self._terminated: Any = None

    @property
    def asked(self) -> bool:
        """Whether the server is about to stop."""
        return (
            self._told
            or (self._server is not None and bool(self._server.should_exit))
            or (self._terminated is not None and bool(self._terminated.is_set()))
        )

    def tell(self) -> None:
        """The server is about to stop."""
        self._told = True

    def attach(self) -> None:
        """Find out how the server hears of signals; called on its event loop.

        uvicorn, also under gunicorn, notes the wish in itself, where it can be read. Of other
        servers the handler is called by one of ours.
        """
        owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if hasattr(owner, "should_exit"):
            self._server = owner
        elif threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._come_first(number)

    def look_behind(self, send: Any) -> None:
        """Find out the same from the ``send`` of a stream.

        The workers of hypercorn get no signal; they have an event.
        """
        if self._server is None and self._terminated is None:
            for owner in _owners(send):
                terminated = getattr(getattr(owner, "context", None), "terminated", None)
                if hasattr(terminated, "is_set"):
                    self._terminated = terminated

    def _come_first(self, number: signal.Signals) -> None:
        loop = asyncio.get_running_loop()
        # No public way leads to a handler that was given to a loop.
        handle = getattr(loop, "_signal_handlers", {}).get(number)
        if handle is not None:
            loop.add_signal_handler(number, partial(self._note_on_loop, handle))
            return
        handler = signal.getsignal(number)
        if callable(handler) and handler is not signal.default_int_handler:
            signal.signal(number, partial(self._note, handler))

    def _note_on_loop(self, handle: Any) -> None:
        self.tell()
        handle._run()

    def _note(self, handler: Any, number: int, frame: FrameType | None) -> None:
        self.tell()
        handler(number, frame)


def parting(send: Any) -> Callable[[], bool]:
    """Tells whether the server wants this connection to end; called once its response has begun.

    uvicorn says so to each when it stops, also where it is run by code and hears of no signal.
    """
    for owner in _owners(send):
        if getattr(owner, "keep_alive", None) is True:
            return lambda: not owner.keep_alive
    return lambda: False


def abort(send: Any) -> None:
    """Cut the connection behind an ASGI ``send``, if that can be found.

    A client that does not read keeps its connection, and so the server, from ending.
    """
    for owner in _owners(send):
        transport: Any = getattr(owner, "transport", None)
        if hasattr(transport, "abort"):
            transport.abort()
            return


def _owners(send: Any) -> Iterator[Any]:
    """The server's objects behind an ASGI ``send``.

    Theirs is a method of what knows the connection; middleware wraps it in functions of its own.
    """
    seen: list[Any] = [send]
    for step in seen:
        owner = getattr(step, "__self__", None)
        if owner is not None:
            yield owner
        cells = getattr(step, "__closure__", None) or ()
        inner = [cell.cell_contents for cell in cells if _is_filled(cell)]
        seen += [it for it in inner if callable(it) and it not in seen]
        if len(seen) > _DEEPEST:
            return


#: Functions that are looked through.
_DEEPEST = 100


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
