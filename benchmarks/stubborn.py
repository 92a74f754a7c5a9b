"""Functions for worker processes that end only when somebody ends them."""

from __future__ import annotations

import signal
import time
from typing import NoReturn


def spin() -> NoReturn:
    """An endless loop in Python."""
    while True:
        pass


def hold_the_interpreter() -> int:
    """An endless loop in C that neither lets go of the interpreter lock nor looks for signals."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    return sum(range(10**15))


def tell_the_time() -> float:
    """By the monotonic clock, which all processes share."""
    return time.monotonic()
