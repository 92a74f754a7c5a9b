"""What the lane tests run: at the top level of a light module, so that workers can import it."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import faulthandler
import functools
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from executors.channel import MESSAGE, NUMBER
from executors.worker import _State, tell

#: Seconds after which code that waits for a test gives up; a test of many rounds takes longer.
PATIENCE = 60.0 * int(os.environ.get("ROUNDS", "1"))
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


def pid() -> int:
    return os.getpid()


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


def raise_unpicklable() -> NoReturn:
    raise LockedError


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


def crash_in_a_crowd(threads: int) -> None:
    gate = threading.Event()

    def linger() -> None:
        gate.wait()

    for _ in range(threads):
        threading.Thread(target=linger, daemon=True).start()
    time.sleep(0.1)
    read_address_zero()


def crash_in_a_deep_crowd(threads: int) -> None:
    gate = threading.Event()

    def a_function_with_a_rather_long_name(depth: int) -> None:
        if depth:
            a_function_with_a_rather_long_name(depth - 1)
        gate.wait()

    for _ in range(threads):
        threading.Thread(target=a_function_with_a_rather_long_name, args=(90,), daemon=True).start()
    time.sleep(0.3)
    read_address_zero()


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


# -- saying something while it runs ----------------------------------------------------------------


def say(*texts: str) -> str:
    for text in texts:
        tell(text.encode())
    return "said"


def say_many(count: int) -> int:
    for number in range(count):
        tell(b"%d" % number)
    return count


def say_and_leave(text: str) -> NoReturn:
    tell(text.encode())
    os._exit(3)


def say_many_and_leave(count: int) -> NoReturn:
    say_many(count)
    os._exit(3)


def say_as_another_call(text: str) -> None:
    """What a thread does that was interrupted amidst `tell` when its call ended."""
    assert _State.end is not None
    _State.end.send(MESSAGE, NUMBER.pack(_State.running - 1) + text.encode())


def say_and_hold(text: str, gate: str) -> str:
    tell(text.encode())
    return hold(gate)


def say_from_threads(threads: int, count: int, size: int) -> None:
    """Each thread says its name and a number, over and over, filled up to so many bytes."""

    def talk(name: int) -> None:
        for number in range(count):
            tell((b"%d %d " % (name, number)).ljust(size, b"."))

    crowd = [threading.Thread(target=talk, args=(name,)) for name in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()


def say_in_a_fork(text: str) -> str:
    pid = os.fork()
    if pid == 0:
        tell(text.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return "said"


def crash_in_a_fork() -> None:
    pid = os.fork()
    if pid == 0:
        os.close(2)  # nobody needs to see it
        os.kill(os.getpid(), signal.SIGSEGV)
        os._exit(0)
    os.waitpid(pid, 0)


def tidy_up_and_tell(started: str, tidied: str) -> None:
    tell(b"begun")
    try:
        tidy_up_on_sigterm(started, tidied)
    finally:
        tell(b"tidied up")


def say_too_late(gate: str) -> None:
    """Leave a thread behind that says something as soon as the gate is open, and go on doing so."""

    def talk() -> None:
        while not _is_open(Path(gate)):
            time.sleep(0.001)
        while not Path(gate).with_name(OVER).exists():
            tell(b"late")
            time.sleep(0.001)

    threading.Thread(target=talk, daemon=True).start()


def say_with_an_alarm(rounds: int) -> int:
    """Say much, while a signal handler raises again and again; how often it did."""

    class AlarmError(Exception):
        pass

    def ring(number: int, frame: object) -> NoReturn:
        raise AlarmError

    rung = 0
    signal.signal(signal.SIGALRM, ring)
    try:
        for number in range(rounds):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005)
                while True:
                    tell(b"%d" % number)
            except AlarmError:
                rung += 1
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    return rung


def say_with_an_early_alarm(size: int) -> None:
    """Say something long, and be interrupted by an exception."""

    def ring(number: int, frame: object) -> NoReturn:
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    tell(bytes(size))


# -- what a call leaves behind ---------------------------------------------------------------------

_hoard: list[bytearray] = []
_warm_ups: list[str] = []


def leave_threads(count: int, gate: str) -> int:
    """Leave threads behind that end when the gate is opened; only the first looks for that."""
    is_open = threading.Event()

    def look() -> None:
        deadline = time.monotonic() + PATIENCE
        while not _is_open(Path(gate)) and time.monotonic() < deadline:
            time.sleep(0.02)
        is_open.set()

    for number in range(count):
        target = is_open.wait if number else look
        threading.Thread(target=target, name=f"left-{number}", daemon=True).start()
    return os.getpid()


def start_a_timer_and_cancel_it() -> int:
    timer = threading.Timer(PATIENCE, print)
    timer.start()
    timer.cancel()
    return os.getpid()


def change_folder(folder: str) -> int:
    os.chdir(folder)
    return os.getpid()


def change_umask(mask: int) -> int:
    os.umask(mask)
    return os.getpid()


def set_an_alarm(seconds: float) -> int:
    signal.setitimer(signal.ITIMER_REAL, seconds)
    return os.getpid()


def surroundings() -> tuple[int, str, int]:
    """The process, its folder and its umask."""
    mask = os.umask(0o077)
    os.umask(mask)
    return os.getpid(), str(Path.cwd()), mask


def keep_memory(count: int) -> int:
    """Make the process larger for good."""
    _hoard.append(bytearray(b"x") * count)
    return os.getpid()


def keep_memory_on_signal(number: int, count: int) -> int:
    """Have the process grow when it is sent the signal, though no call runs then."""
    signal.signal(number, lambda *_: _hoard.append(bytearray(b"x") * count))
    return os.getpid()


def take_memory(count: int) -> int:
    return len(bytearray(count))


def take_memory_in_a_result(count: int) -> bytes:
    return b"x" * count


def take_memory_and_die(count: int) -> None:
    """As native code may, that does not look whether it got what it asked for."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.memset(libc.malloc(count), 1, count)


def memory_limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_DATA)


def warm_up() -> None:
    _warm_ups.append("warm")
    threading.Thread(target=threading.Event().wait, name="stays", daemon=True).start()


async def warm_up_slowly() -> None:
    await asyncio.sleep(0)
    _warm_ups.append("slowly")


def warm_up_badly() -> NoReturn:
    raise SystemExit("no")


def warm_up_to_death() -> NoReturn:
    os._exit(7)


def warm_ups() -> list[str]:
    return _warm_ups


# -- code that nothing but a signal can end --------------------------------------------------------


def hold_the_interpreter(started: str) -> int:
    """An endless loop in C that neither lets go of the lock nor looks for signals.

    SIGTERM has a handler in Python, which therefore is never run.
    """
    signal.signal(signal.SIGTERM, lambda *_: None)
    Path(started).touch()
    return sum(range(10**15))


def backtrack_for_ever(started: str) -> object:
    """A regular expression that takes longer than anybody will wait."""
    Path(started).touch()
    return re.match(r"(a|aa)+$", "a" * 200 + "b")


def lock_up(started: str) -> None:
    """Wait for what never comes."""
    Path(started).touch()
    threading.Event().wait()


def reset_every_handler_and_spin(started: str) -> NoReturn:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_DFL)
        except OSError:
            pass
    faulthandler.disable()
    spin(started)


def flood_stdout(count: int) -> int:
    """Print ``count`` bytes, by all the ways there are."""
    line = "x" * 1023 + "\n"
    for _ in range(count // 2 // 1024):
        print(line, end="")
    sys.stdout.flush()
    os.write(1, b"\n")
    done = 0
    while done < count // 2:
        done += os.write(1, line.encode())
    return count
