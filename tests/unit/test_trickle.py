"""Progress on its way out of a worker process: soon, not too often, the newest never lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from taskflow.clock import SystemClock
from taskflow.messages import LastWord, Message, Progress, decode
from taskflow.trickle import BURST, Trickle, take_last_word

PATIENCE = 30.0


class StoppedClock:
    """Time passes only when a test says so."""

    time = 100.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Home:
    """Where it is sent to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.came = threading.Condition()

    def send(self, data: bytes) -> None:
        message = decode(data)
        assert message is not None
        with self.came:
            self.messages.append(message)
            self.came.notify_all()

    def wait_for(self, message: Message) -> None:
        with self.came:
            assert self.came.wait_for(lambda: message in self.messages, PATIENCE)

    @property
    def steps(self) -> list[float]:
        return [m.done for m in self.messages if isinstance(m, Progress)]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def step(number: int) -> Progress:
    return Progress(number, None, "")


def test_a_few_steps_are_sent_at_once() -> None:
    home = Home()
    trickle = Trickle(home.send, StoppedClock(), threading.RLock())

    for number in range(BURST):
        trickle.put(step(number))

    assert home.steps == list(range(BURST))
    trickle.close()


def test_of_many_steps_the_newest_follows_by_itself(temporary: Path) -> None:
    home = Home()
    trickle = Trickle(home.send, StoppedClock(), threading.RLock())

    for number in range(1000):
        trickle.put(step(number))

    home.wait_for(step(999))
    assert len(home.steps) < 100
    trickle.close()
    assert list(temporary.iterdir()) == []


def test_what_is_kept_back_is_sent_at_the_end_and_nothing_after_it() -> None:
    home, clock = Home(), StoppedClock()
    trickle = Trickle(home.send, clock, threading.RLock())
    for number in range(BURST + 5):
        trickle.put(step(number))

    trickle.close()
    clock.time += 10
    trickle.put(step(77))

    assert home.steps[-1] == BURST + 4
    assert 77 not in home.steps


def test_steps_that_come_slowly_are_all_sent_at_once() -> None:
    home, clock = Home(), StoppedClock()
    trickle = Trickle(home.send, clock, threading.RLock())

    for number in range(500):
        clock.time += 0.026
        trickle.put(step(number))

    assert home.steps == list(range(500))
    trickle.close()


def test_its_thread_is_gone_when_it_is_closed() -> None:
    trickle = Trickle(Home().send, StoppedClock(), threading.RLock())
    for number in range(BURST + 5):
        trickle.put(step(number))
    assert "taskflow-progress" in {thread.name for thread in threading.enumerate()}

    trickle.close()

    assert "taskflow-progress" not in {thread.name for thread in threading.enumerate()}


def test_without_a_place_for_files_all_but_the_last_word_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    home = Home()
    trickle = Trickle(home.send, SystemClock(), threading.RLock())

    for number in range(BURST + 5):
        trickle.put(step(number))

    home.wait_for(step(BURST + 4))
    trickle.close()


KILLED = """
import os, sys, tempfile, threading
from taskflow.clock import SystemClock
from taskflow.messages import Progress
from taskflow.trickle import Trickle

tempfile.tempdir = sys.argv[1]

def send(data):
    os.write(1, data + b"\\n")

trickle = Trickle(send, SystemClock(), threading.RLock())
for number in range(1000, -1, -1):
    trickle.put(Progress(number, None, "x" * number if number < 200 else ""))
os.kill(os.getpid(), 9)
"""


def test_the_newest_step_outlives_a_process_that_is_killed(temporary: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(temporary)], stdout=subprocess.PIPE, check=False
    )

    assert done.returncode == -signal.SIGKILL
    told = [decode(line) for line in done.stdout.splitlines()]
    (file,) = [message.path for message in told if isinstance(message, LastWord)]
    assert take_last_word(file) == step(0)
    assert list(temporary.iterdir()) == []
    assert take_last_word(file) is None


def test_a_file_that_holds_nonsense_is_no_last_word(tmp_path: Path) -> None:
    file = tmp_path / "nonsense"
    file.write_bytes(b"\xff" * 100_000)

    assert take_last_word(str(file)) is None
    assert not file.exists()


def test_many_steps_cost_little() -> None:
    # A step a pass of a tight loop: generous, but far below one message each.
    sent: list[bytes] = []
    trickle = Trickle(sent.append, SystemClock(), threading.RLock())
    began = time.monotonic()

    for number in range(50_000):
        trickle.put(step(number))

    elapsed = time.monotonic() - began
    trickle.close()
    assert len(sent) <= BURST + 3 + elapsed / 0.025 * 1.5
