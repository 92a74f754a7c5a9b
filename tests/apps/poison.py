"""Tasks that no app should ever have, in each lane, and harmless ones that run beside them.

``APP_FOLDER`` is where the file ``gate`` ends what would go on for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from fastapi import BackgroundTasks, FastAPI

from taskflow import TaskAdmin, TaskManager

FOLDER = Path(os.environ.get("APP_FOLDER", "."))
#: Seconds after which code that waits for the gate gives up.
PATIENCE = 120.0

task_manager = TaskManager()
app = FastAPI()
TaskAdmin(app, task_manager, auto_install=True)


def is_open() -> bool:
    return (FOLDER / "gate").exists()


def linger() -> None:
    until = time.monotonic() + PATIENCE
    while not is_open() and time.monotonic() < until:
        time.sleep(0.05)


# -- what ends a process -------------------------------------------------------------------------


def leave() -> NoReturn:
    os._exit(3)


def leave_in_silence() -> NoReturn:
    os._exit(0)


def read_address_zero() -> bytes:
    return ctypes.string_at(0)


def _send_myself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(PATIENCE)


def abort() -> None:
    _send_myself(signal.SIGABRT)


def kill() -> None:
    """As the kernel does when it is out of memory."""
    _send_myself(signal.SIGKILL)


def terminate() -> None:
    _send_myself(signal.SIGTERM)


def kill_the_group() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
    time.sleep(PATIENCE)


def close_every_file() -> None:
    os.closerange(0, 1000)


def fork_and_return() -> str:
    """Both processes come back from here; only one of them is the worker."""
    return "child" if os.fork() == 0 else "worker"


# -- what raises ---------------------------------------------------------------------------------


class HostileError(BaseException):
    """Not an Exception."""


class TwoArgumentsError(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right}")


class LockedError(Exception):
    """Does not pickle."""

    def __init__(self) -> None:
        super().__init__("locked", threading.Lock())


class StrRaisesError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class StrExitsError(Exception):
    def __str__(self) -> str:
        raise SystemExit(7)


def leave_in_order() -> NoReturn:
    sys.exit(3)


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


def raise_unpicklable() -> NoReturn:
    raise LockedError


def raise_str_raises() -> NoReturn:
    raise StrRaisesError


def raise_str_exits() -> NoReturn:
    raise StrExitsError


def raise_long() -> NoReturn:
    raise ValueError("x" * 10_000_000)


def raise_no_text() -> NoReturn:
    raise ValueError("half a \ud800 pair, a \0 and a \x1b[31m")


def raise_in_a_circle() -> NoReturn:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def recurse() -> int:
    return recurse() + 1


# -- what returns what will not do ---------------------------------------------------------------


class Trap:
    """Will not unpickle, and ends whoever tries."""

    def __reduce__(self) -> tuple[object, ...]:
        return leave_in_order, ()


def return_lambda() -> Callable[[], None]:
    return lambda: None


def return_trap() -> Trap:
    return Trap()


def return_much() -> str:
    return "x" * 100_000_000


def return_no_text() -> str:
    return "half a \ud800 pair and a \0"


def return_nests() -> list[Any]:
    nest: list[Any] = []
    for _ in range(100_000):
        nest = [nest]
    return nest


# -- what takes too much -------------------------------------------------------------------------


def leave_threads() -> None:
    for _ in range(200):
        threading.Thread(target=linger, daemon=True).start()


def flood_stdout() -> None:
    line = "x" * 1023 + "\n"
    for _ in range(5_000):
        print(line, end="")
    sys.stdout.flush()
    done = 0
    while done < 5_000_000:
        done += os.write(1, line.encode())


def take_memory() -> int:
    return len(bytearray(256 * 2**20))


# -- what does not end ---------------------------------------------------------------------------


def sleep_long() -> None:
    linger()


def spin() -> NoReturn:
    while True:
        pass


def hold_the_interpreter() -> int:
    """An endless loop in C that neither lets go of the lock nor looks for signals."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    return sum(range(10**15))


def backtrack_for_ever() -> object:
    return re.match(r"(a|aa)+$", "a" * 200 + "b")


def ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    linger()


def reset_every_handler() -> NoReturn:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
    spin()


async def swallow_cancellation() -> None:
    until = time.monotonic() + PATIENCE
    while not is_open() and time.monotonic() < until:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)


# -- tasks ---------------------------------------------------------------------------------------


@task_manager.task(lane="cpu")
def poison_a_process(kind: str) -> Any:
    return globals()[kind]()


@task_manager.task(lane="cpu", memory_mb=64)
def poison_a_small_process(kind: str) -> Any:
    return globals()[kind]()


@task_manager.task
def poison_a_thread(kind: str) -> Any:
    return globals()[kind]()


@task_manager.task
async def poison_the_loop(kind: str) -> Any:
    await asyncio.sleep(0)
    found = globals()[kind]()
    return await found if asyncio.iscoroutine(found) else found


@task_manager.task(retries=5)
async def beside_it_on_the_loop(number: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 2 * number


@task_manager.task(retries=5)
def beside_it_in_a_thread(number: int, seconds: float) -> int:
    time.sleep(seconds)
    return 2 * number


@task_manager.task(lane="cpu", retries=5)
def beside_it_in_a_process(number: int, seconds: float) -> int:
    time.sleep(seconds)
    return 2 * number


@task_manager.task(lane="cpu", retries=5)
def until_the_gate_opens(number: int) -> int:
    linger()
    return 2 * number


POISONED = {
    "async": poison_the_loop,
    "io": poison_a_thread,
    "cpu": poison_a_process,
    "small cpu": poison_a_small_process,
}
BESIDE = {
    "async": beside_it_on_the_loop,
    "io": beside_it_in_a_thread,
    "cpu": beside_it_in_a_process,
}


@app.post("/poison/{lane}/{kind}")
async def poison(
    lane: str, kind: str, background_tasks: BackgroundTasks, timeout: float | None = None
) -> str:
    task = task_manager.options(POISONED[lane], timeout=timeout)
    return str(background_tasks.add_task(task, kind))  # type: ignore[func-returns-value]


@app.post("/beside/{lane}")
async def beside(lane: str, background_tasks: BackgroundTasks, seconds: float = 0.02) -> list[str]:
    """Five harmless tasks."""
    return [
        str(background_tasks.add_task(BESIDE[lane], number, seconds))  # type: ignore[func-returns-value]
        for number in range(5)
    ]


@app.post("/steady")
async def steady(background_tasks: BackgroundTasks) -> str:
    """A task that runs until the gate opens."""
    return str(background_tasks.add_task(until_the_gate_opens, 21))  # type: ignore[func-returns-value]


@app.get("/ping")
async def ping() -> int:
    return os.getpid()
