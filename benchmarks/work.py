"""The functions that are run as tasks: importable by name, in worker processes and after a restart.

Rule: nothing of taskflow is imported here, so that a plain worker process imports as much as ours.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time

#: How often `count` and `count_async` ran in this process.
done = 0
#: When `mark` ran first in this process, on the clock that all processes of the machine share.
first_mark: float | None = None


def count(number: int) -> None:
    """Nothing, counted. Several threads may count wrong together; the store does not."""
    global done
    done += 1


async def count_async(number: int) -> None:
    """Nothing, counted."""
    global done
    done += 1


def nothing(number: int) -> None:
    """Nothing at all."""


def now() -> float:
    """The time on the clock that all processes of the machine share, in seconds."""
    return time.monotonic()


async def now_async() -> float:
    """The same, on the event loop."""
    return time.monotonic()


def now_in_process() -> float:
    """The same, by a name of its own for a lane of its own."""
    return time.monotonic()


def burn(iterations: int) -> int:
    """Arithmetic that keeps one core busy."""
    value = 1
    for _ in range(iterations):
        value = (value * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    return value


def burn_alone(times: int, iterations: int) -> float:
    """Seconds that `burn` takes so many times here."""
    began = time.perf_counter()
    for _ in range(times):
        burn(iterations)
    return time.perf_counter() - began


def rest() -> None:
    """Keep a worker process long enough that its neighbour has to be started, too."""
    time.sleep(0.2)


def calibrate(seconds: float) -> int:
    """How many iterations of `burn` take so long here; the fastest of five looks."""
    iterations, fastest = 200_000, float("inf")
    burn(iterations)
    for _ in range(5):
        began = time.perf_counter()
        burn(iterations)
        fastest = min(fastest, time.perf_counter() - began)
    return max(1, round(iterations * seconds / fastest))


async def block_loop_slot() -> None:
    """Hold a slot of the async lane until the process ends."""
    await asyncio.Event().wait()


def block_thread() -> None:
    """Hold a thread until the process ends."""
    threading.Event().wait()


async def mark(number: int) -> None:
    """Note the time of the first call; where ``BENCH_HOLD`` is set, never come to an end."""
    global first_mark
    if "BENCH_HOLD" in os.environ:
        await asyncio.Event().wait()
    if first_mark is None:
        first_mark = time.monotonic()
