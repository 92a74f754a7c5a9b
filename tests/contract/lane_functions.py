"""What the lane tests run: at the top level of a light module, so that workers can import it."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

#: Seconds after which code that waits for a test gives up.
PATIENCE = 60.0
#: A file of this name beside a gate opens it too: the test is over.
OVER = "over"

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


def add(left: int, right: int = 0) -> int:
    return left + right


def fail(text: str) -> NoReturn:
    raise ConnectionResetError(text)


def hold(gate: str) -> str:
    """Say that it runs, and return once the file ``gate`` is there."""
    path = Path(gate)
    path.with_suffix(".held").touch()
    deadline = time.monotonic() + PATIENCE
    while not _is_open(path):
        if time.monotonic() > deadline:
            raise TimeoutError(gate)
        time.sleep(0.002)
    return path.stem


def note(path: str, text: str) -> None:
    """Append one line, whole even if others write at the same time."""
    with Path(path).open("a") as file:
        file.write(text + "\n")


def overlap(path: str) -> None:
    note(path, "+")
    time.sleep(0.005)
    note(path, "-")


def tell_colour() -> str:
    return colour.get()


def paint(name: str) -> None:
    colour.set(name)


def where() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


# -- the same for the event loop -------------------------------------------------------------------


def on_loop(function: Callable[..., object]) -> Callable[..., Awaitable[object]]:
    """A coroutine function that does what ``function`` does, without blocking the loop."""
    special: dict[object, Callable[..., Awaitable[object]]] = {hold: _hold, overlap: _overlap}
    if function in special:
        return special[function]

    @functools.wraps(function)
    async def coroutine(*args: object, **kwargs: object) -> object:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    return coroutine


async def _hold(gate: str) -> str:
    path = Path(gate)
    path.with_suffix(".held").touch()
    deadline = time.monotonic() + PATIENCE
    while not _is_open(path):
        if time.monotonic() > deadline:
            raise TimeoutError(gate)
        await asyncio.sleep(0.002)
    return path.stem


async def _overlap(path: str) -> None:
    note(path, "+")
    await asyncio.sleep(0.005)
    note(path, "-")


def _is_open(gate: Path) -> bool:
    return gate.exists() or gate.with_name(OVER).exists()


async def in_a_loop_of_its_own(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


# -- poison ----------------------------------------------------------------------------------------


class HostileError(BaseException):
    """Not an Exception."""


class TwoArgumentsError(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right}")


class StrRaisesError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class StrExitsError(Exception):
    def __str__(self) -> str:
        raise SystemExit(7)


class WillNotUnpickle:
    def __reduce__(self) -> tuple[object, ...]:
        return refuse, ()


def refuse() -> NoReturn:
    raise SystemExit("not in your process")


def raise_system_exit() -> NoReturn:
    raise SystemExit(3)


def raise_keyboard_interrupt() -> NoReturn:
    raise KeyboardInterrupt


def raise_generator_exit() -> NoReturn:
    raise GeneratorExit


def raise_cancelled() -> NoReturn:
    raise asyncio.CancelledError("by myself")


def raise_hostile() -> NoReturn:
    raise HostileError("boo")


def raise_two_arguments() -> NoReturn:
    raise TwoArgumentsError("one", "two")


def raise_str_raises() -> NoReturn:
    raise StrRaisesError


def raise_str_exits() -> NoReturn:
    raise StrExitsError


def raise_in_a_circle() -> NoReturn:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def raise_long() -> NoReturn:
    raise ValueError("x" * 10_000_000)


def recurse() -> int:
    return recurse() + 1


def return_lambda() -> Callable[[], None]:
    return lambda: None


def return_trap() -> WillNotUnpickle:
    return WillNotUnpickle()


def return_bytes(count: int) -> bytes:
    return bytes(count)


def leave(code: int) -> NoReturn:
    os._exit(code)


def kill_myself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(PATIENCE)


def kill_my_group() -> None:
    assert os.getpgrp() == os.getpid(), "this would kill whoever runs the tests"
    os.killpg(os.getpgrp(), signal.SIGKILL)
    time.sleep(PATIENCE)


def read_address_zero() -> bytes:
    return ctypes.string_at(0)


def close_every_file() -> None:
    os.closerange(0, 1000)


def fork_and_return() -> str:
    """Both processes come back from here; only one of them is the worker."""
    return "child" if os.fork() == 0 else "worker"


# -- code that does not want to end ----------------------------------------------------------------


def spin(started: str) -> NoReturn:
    Path(started).touch()
    while True:
        pass


def ignore_sigterm(started: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(started).touch()
    time.sleep(PATIENCE)


def tidy_up_on_sigterm(started: str, tidied: str) -> None:
    def leave_in_order(number: int, frame: object) -> NoReturn:
        Path(tidied).touch()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave_in_order)
    Path(started).touch()
    time.sleep(PATIENCE)


def start_a_child(pid_file: str) -> None:
    """Leave a grandchild behind that would live for long, and wait with it."""
    pid = os.fork()
    if pid == 0:
        time.sleep(PATIENCE)
        os._exit(0)
    Path(pid_file).with_suffix(".part").write_text(str(pid))
    Path(pid_file).with_suffix(".part").rename(pid_file)
    time.sleep(PATIENCE)


async def swallow_cancellation(gate: str) -> str:
    path = Path(gate)
    path.with_suffix(".held").touch()
    while not _is_open(path):
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue
    return "went on"


def look_at_me(flag: Callable[[], bool], seen: str) -> None:
    """A thread that ends early because it looks at the flag of its call."""
    Path(seen).with_suffix(".held").touch()
    deadline = time.monotonic() + PATIENCE
    while not flag() and time.monotonic() < deadline:
        time.sleep(0.002)
    if flag():
        Path(seen).touch()


def is_loaded(module: str) -> str:
    return "loaded" if module in sys.modules else "not loaded"


def hold_and_tell(pid_file: str, gate: str) -> str:
    """Write down in which process it runs, then hold."""
    Path(pid_file).with_suffix(".part").write_text(str(os.getpid()))
    Path(pid_file).with_suffix(".part").rename(pid_file)
    return hold(gate)


def answer_and_die() -> str:
    """The process ends a moment after its answer was sent."""
    threading.Timer(0.05, os._exit, (3,)).start()
    return "last words"
