"""What the tasks of `test_timeouts` do, in a light module that worker processes import."""

from __future__ import annotations

import os
import signal
import sys
import time

from tests.guide.crew import wait_for

#: The processes in which the model was loaded.
loaded: list[int] = []


def hang(gate: str) -> None:
    wait_for(gate)


def hang_in_process(gate: str) -> None:
    hang(gate)


def spin() -> None:
    while True:
        pass


def leave(code: int) -> None:
    sys.exit(code)


def leave_in_process(code: int) -> None:
    sys.exit(code)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def survive(number: int) -> int:
    time.sleep(0.01)
    return number


def take(megabytes: int) -> int:
    return len(bytearray(megabytes * 2**20))


def load_model() -> None:
    loaded.append(os.getpid())


def fail_to_load() -> None:
    raise OSError("no model")


def look_at_model() -> tuple[int, list[int]]:
    return os.getpid(), loaded
