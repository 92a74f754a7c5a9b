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
from weakref import WeakSet

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


#: Who wants to hear of signals; one of ours calls the handlers that were there before.
_listening: WeakSet[Stop] = WeakSet()
_before: dict[int, Callable[[int, FrameType | None], Any]] = {}
_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


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
        """Find out how the server hears of signals; called on its event loop. Idempotent.

        uvicorn, also under gunicorn, notes the wish in itself, where it can be read. Of other
        servers the handler is called by one of ours.
        """
        owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if hasattr(owner, "should_exit"):
            self._server = owner
        elif threading.current_thread() is threading.main_thread():
            _listening.add(self)
            for number in _SIGNALS:
                _come_first(number)
            _loops.add(asyncio.get_running_loop())

    def look_behind(self, send: Any) -> None:
        """Find out the same from the ``send`` of a stream.

        The workers of hypercorn get no signal; they have an event.
        """
        if self._server is None and self._terminated is None:
            for owner in _owners(send):
                terminated = getattr(getattr(owner, "context", None), "terminated", None)
                if hasattr(terminated, "is_set"):
                    self._terminated = terminated


def _come_first(number: signal.Signals) -> None:
    """Hear of a signal before whoever hears of it now."""
    loop = asyncio.get_running_loop()
    # No public way leads to a handler that was given to a loop.
    handle = getattr(loop, "_signal_handlers", {}).get(number)
    if handle is not None:
        if loop not in _loops:
            loop.add_signal_handler(number, partial(_tell_on_loop, handle))
        return
    handler = signal.getsignal(number)
    if callable(handler) and handler is not signal.default_int_handler and number not in _before:
        _before[number] = handler
        signal.signal(number, _tell)


def _tell_on_loop(handle: Any) -> None:
    for stop in tuple(_listening):
        stop.tell()
    handle._run()


def _tell(number: int, frame: FrameType | None) -> None:
    for stop in tuple(_listening):
        stop.tell()
    _before[number](number, frame)


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
