"""A thread that woke up late knows whether code of its own process was to blame."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from executors.oversleep import Sleep
from tests.apps.holding import hold_the_interpreter


def slept_beside_native_code() -> Sleep:
    thread = threading.Thread(target=hold_the_interpreter, args=(0.8,))
    sleep = Sleep(least_lost=0.05)
    thread.start()
    sleep(0.05)
    thread.join()
    return sleep


def test_a_sleep_that_nobody_disturbs_ends_when_it_is_due() -> None:
    sleep = Sleep(least_lost=5.0)
    began = sleep.now

    for _ in range(3):
        before = sleep.now
        sleep(0.01)
        assert sleep.due == pytest.approx(before + 0.01)
        assert sleep.now >= sleep.due

    assert (sleep.held, sleep.lost) == (0.0, 0.0)
    assert sleep.now - began >= 0.03


def test_native_code_that_keeps_the_interpreter_to_itself_is_to_blame() -> None:
    sleep = slept_beside_native_code()

    assert sleep.held == sleep.now - sleep.due > 0.1
    assert sleep.lost == 0.0


def test_threads_that_wait_for_their_turn_blame_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getswitchinterval", lambda: 100.0)

    sleep = slept_beside_native_code()

    assert (sleep.held, sleep.lost) == (0.0, 0.0)


def test_what_the_thread_did_between_its_sleeps_is_no_delay() -> None:
    sleep = Sleep(least_lost=0.1)

    used = time.thread_time()
    hold_the_interpreter(0.3)
    used = time.thread_time() - used
    sleep(0.01)

    assert sleep.due >= sleep.began + used
    assert sleep.held == 0.0


def test_what_the_thread_used_itself_is_not_taken_for_that_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sleep = Sleep(least_lost=0.1)
    hold_the_interpreter(0.3)
    oversleep = time.sleep

    monkeypatch.setattr(time, "sleep", lambda _: oversleep(0.3))
    sleep(0.01)

    assert sleep.held == 0.0
    assert sleep.lost >= 0.1


def test_a_process_that_was_busy_until_it_was_stopped_lost_the_time_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sleep = Sleep(least_lost=0.1)
    oversleep = time.sleep

    def burn(seconds: float) -> None:
        while time.thread_time() < seconds:
            pass

    def be_busy_then_stop(seconds: float) -> None:
        other = threading.Thread(target=burn, args=(seconds,))
        other.start()
        other.join()
        oversleep(0.9)

    monkeypatch.setattr(time, "sleep", be_busy_then_stop)
    sleep(0.1)

    assert sleep.held == 0.0
    assert sleep.lost >= 0.8


STOPPED = """
import sys
from executors.oversleep import Sleep
from tests.apps.holding import hold_the_interpreter
sleep = Sleep(least_lost=0.1)
print("ready", flush=True)
while sleep.lost < 0.1:
    sleep(0.05)
    assert sleep.held == 0.0
print(sleep.lost, flush=True)
"""


def test_a_process_that_was_stopped_by_a_signal_lost_the_time() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()

        process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        process.send_signal(signal.SIGCONT)

        assert 0.1 <= float(process.stdout.readline()) < 30
