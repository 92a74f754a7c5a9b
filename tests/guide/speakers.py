"""What tasks of `test_logs_and_progress` say: in a light module, so that workers can import it."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from pathlib import Path

from taskflow import get_task_context, progress, task_log
from taskflow.journal import MOST_LINES

PATIENCE = 30.0
log = logging.getLogger("shop.mail")

HOSTILE = "\x1b[2Jgone\x00\u202eevil\ud800"
SHOWN = r"\x1b[2Jgone\x00\u202eevil\ud800"


def wait_for(path: str) -> None:
    """Wait until somebody makes the file: works across processes."""
    until = time.monotonic() + PATIENCE
    while not Path(path).exists():
        assert time.monotonic() < until
        time.sleep(0.005)


def speak(gate: str) -> None:
    task_log("hello", level="warning", user=7)
    progress(1, 4, "first")
    wait_for(gate)


def speak_in_process(gate: str) -> None:
    speak(gate)


def talk() -> None:
    task_log("before the end")
    for number in range(500):
        progress(number, 1000)
    progress(500, 1000, "the last")


def segfault() -> None:
    talk()
    ctypes.string_at(0)


def be_killed() -> None:
    talk()
    os.kill(os.getpid(), signal.SIGKILL)


def ready() -> None: ...


def hang() -> None:
    talk()
    while True:
        pass


def flood() -> None:
    for number in range(MOST_LINES + 23):
        task_log(f"line {number}")


def flood_in_process() -> None:
    flood()


def write_much() -> None:
    for _ in range(300):
        task_log("ü" * 10_000)


def write_much_in_process() -> None:
    write_much()


def flood_and_crash() -> None:
    flood()
    ctypes.string_at(0)


def flood_and_die() -> None:
    flood()
    os._exit(1)


def say_hostile() -> None:
    task_log(HOSTILE, level="\x1b")
    logging.getLogger("\x1b").warning("%s", HOSTILE)
    progress(1, message=HOSTILE)
    raise ValueError(HOSTILE)


def say_hostile_in_process() -> None:
    say_hostile()


def use_logging() -> None:
    log.info("not wanted")
    log.warning("%d mails", 3)
    try:
        raise OSError("no route")
    except OSError:
        log.exception("not sent")


def use_logging_in_process() -> None:
    use_logging()


def use_print() -> None:
    print("one\ntwo")
    print("trouble", file=sys.stderr)
    print("rest", end="")


def use_print_in_process() -> None:
    use_print()


def run_fast(steps: int) -> None:
    for number in range(steps):
        progress(number, steps)


def run_fast_in_process(steps: int) -> None:
    run_fast(steps)


def use_context() -> tuple[str, int, bool]:
    context = get_task_context()
    assert context is not None
    context.log("from the context", "error")
    context.progress(1, 2, "half")
    context.raise_if_cancelled()
    return context.task_id, context.attempt, context.cancelled


def use_context_in_process() -> tuple[str, int, bool]:
    return use_context()
