"""What the sampler sees of processes and host, and what it survives."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from executors.sampler import Sample, Sampler

PATIENCE = 30.0
IDLE = "import time; time.sleep(600)"
BUSY = "while True: pass"


class Samples:
    """Runs samplers and hands out what they see, one sample after the other."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._seen: queue.Queue[Sample] = queue.Queue()

    def of(self, pids: Callable[[], list[int]] = list, **options: Path) -> Sampler:
        sampler = Sampler(0.05, pids, self._seen.put, **options)
        self._stack.callback(sampler.stop)
        sampler.start()
        return sampler

    def next(self) -> Sample:
        return self._seen.get(timeout=PATIENCE)

    def when(self, true: Callable[[Sample], object]) -> Sample:
        """The first sample of which this is true."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if true(sample := self.next()):
                return sample
        raise AssertionError(f"not seen in {PATIENCE} s: {true}")


@pytest.fixture
def samples() -> Iterator[Samples]:
    with ExitStack() as stack:
        yield Samples(stack)


@pytest.fixture
def spawn() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    with ExitStack() as stack:

        def start(code: str) -> subprocess.Popen[bytes]:
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", code]))
            stack.callback(process.kill)
            return process

        yield start


def refuse(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("no such luck")


# -- what it sees ----------------------------------------------------------------------------------


def test_this_process_is_described(samples: Samples) -> None:
    samples.of()

    app = samples.next().app

    assert app is not None
    assert app.pid == os.getpid()
    assert app.rss == pytest.approx(psutil.Process().memory_info().rss, rel=0.5)
    assert app.threads >= 2
    assert app.fds is not None and app.fds > 0
    assert app.age > 0


def test_a_share_of_the_cpu_is_known_only_from_the_second_look_on(
    samples: Samples, spawn: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    worker = spawn(IDLE)
    samples.of(lambda: [worker.pid])
    first = samples.next()
    second = samples.next()

    for sample, known in ((first, False), (second, True)):
        assert sample.app is not None and sample.host is not None
        percents = (
            sample.app.cpu_percent,
            sample.workers[worker.pid].cpu_percent,
            sample.host.cpu_percent,
        )
        assert [percent is not None for percent in percents] == [known] * 3


def test_a_worker_that_computes_is_told_from_one_that_waits(
    samples: Samples, spawn: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    busy, idle = spawn(BUSY), spawn(IDLE)
    samples.of(lambda: [busy.pid, idle.pid])

    def told(sample: Sample) -> bool:
        percents = [sample.workers[process.pid].cpu_percent or 0.0 for process in (busy, idle)]
        return percents[0] > 20 and percents[1] < 5

    workers = samples.when(told).workers
    assert workers.keys() == {busy.pid, idle.pid}
    assert all(worker.rss > 1_000_000 and worker.threads == 1 for worker in workers.values())
    assert workers[busy.pid].fds is None


def test_a_worker_grows_older(
    samples: Samples, spawn: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    worker = spawn(IDLE)
    samples.of(lambda: [worker.pid])

    first, second = (samples.next().workers[worker.pid] for _ in range(2))

    assert 0 <= first.age < second.age < PATIENCE


def test_a_worker_that_has_died_is_left_out_even_before_it_is_reaped(
    samples: Samples, spawn: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    worker, other = spawn(IDLE), spawn(IDLE)
    samples.of(lambda: [worker.pid, other.pid])
    samples.when(lambda sample: sample.workers.keys() == {worker.pid, other.pid})

    worker.kill()

    samples.when(lambda sample: sample.workers.keys() == {other.pid})
    worker.wait()
    assert samples.when(lambda _: True).workers.keys() == {other.pid}


def test_a_process_that_took_over_the_id_of_another_begins_anew(
    samples: Samples,
    spawn: Callable[[str], subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = spawn(IDLE)
    samples.of(lambda: [worker.pid])
    samples.when(lambda sample: sample.workers[worker.pid].cpu_percent is not None)

    # What psutil says of a process whose id belongs to another one by now.
    monkeypatch.setattr(psutil.Process, "is_running", lambda _: False)

    samples.when(lambda sample: sample.workers[worker.pid].cpu_percent is None)


def test_the_host_is_described_as_far_as_this_process_may_use_it(samples: Samples) -> None:
    samples.of()

    host = samples.when(lambda sample: sample.host and sample.host.cpu_percent is not None).host

    assert host is not None and host.cpu_percent is not None
    assert 1 <= host.cpus <= (os.cpu_count() or 1)
    assert 0 <= host.cpu_percent <= 100
    assert host.load is not None and len(host.load) == 3
    assert 0 < host.memory.used <= host.memory.limit


def test_under_a_quota_the_share_is_that_of_the_quota(samples: Samples, tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("50000 100000")

    def use(seconds: float) -> None:
        # Replaced as a whole: the sampler must never see half a file.
        (group / "new").write_text(f"usage_usec {seconds * 1e6:.0f}")
        (group / "new").replace(group / "cpu.stat")

    def percent(sample: Sample) -> float | None:
        assert sample.host is not None and sample.host.cpus == 1
        return sample.host.cpu_percent

    use(1000)
    samples.of(root=tmp_path)
    assert percent(samples.next()) is None
    assert percent(samples.next()) == 0.0
    use(2000)
    samples.when(lambda sample: percent(sample) == 100.0)
    use(0)  # this process was moved to another group
    samples.when(lambda sample: percent(sample) is None)


# -- what it survives ------------------------------------------------------------------------------


def test_what_psutil_cannot_tell_is_missing_and_logged_once(
    samples: Samples, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    samples.of()

    for _ in range(3):
        sample = samples.next()
        assert sample.host is None
        assert sample.app is not None

    (record,) = caplog.records
    assert "sampling failed for the host" in record.getMessage()
    assert "no such luck" in caplog.text


def test_a_process_that_may_not_be_looked_at_is_ordinary(
    samples: Samples, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def deny(process: psutil.Process) -> NoReturn:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "memory_info", deny)
    samples.of(lambda: [os.getppid()])

    sample = samples.next()

    assert (sample.app, dict(sample.workers)) == (None, {})
    assert not caplog.records


def test_a_list_of_processes_that_cannot_be_had_costs_only_the_workers(
    samples: Samples, caplog: pytest.LogCaptureFixture
) -> None:
    samples.of(refuse)

    sample = [samples.next() for _ in range(3)][-1]

    assert dict(sample.workers) == {}
    assert sample.app is not None
    assert len(caplog.records) == 1


def test_a_listener_that_raises_does_not_end_the_sampling(
    caplog: pytest.LogCaptureFixture,
) -> None:
    twice = threading.Semaphore(0)

    def fail(_: Sample) -> NoReturn:
        twice.release()
        raise RuntimeError("listener fell over")

    sampler = Sampler(0.01, on_sample=fail)
    sampler.start()
    try:
        assert twice.acquire(timeout=PATIENCE) and twice.acquire(timeout=PATIENCE)
    finally:
        sampler.stop()

    (record,) = caplog.records
    assert "on_sample" in record.getMessage()
    assert "listener fell over" in caplog.text


# -- its life --------------------------------------------------------------------------------------


def test_the_newest_sample_and_its_price_can_be_asked_for(samples: Samples) -> None:
    sampler = samples.of()

    first, second = samples.next(), samples.next()

    assert first.at < second.at
    assert sampler.latest is not None and sampler.latest.at >= second.at
    assert 0 < sampler.cost < PATIENCE


def test_a_sampler_can_be_stopped_twice_and_before_it_was_started() -> None:
    sampler = Sampler(600)
    sampler.stop()
    sampler.start()
    sampler.stop()
    sampler.stop()

    assert sampler.latest is None
    with pytest.raises(RuntimeError):
        sampler.start()


def test_a_listener_may_stop_the_sampler() -> None:
    done = threading.Event()

    def stop(_: Sample) -> None:
        sampler.stop()
        done.set()

    sampler = Sampler(600, on_sample=stop)
    sampler.start()

    assert done.wait(PATIENCE)


def test_a_program_ends_although_it_is_sampled() -> None:
    code = "from executors.sampler import Sampler; Sampler(600).start()"

    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)


@pytest.mark.parametrize("interval", [0, -1.0, float("nan")])
def test_an_interval_that_is_none_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match=f"more than 0 seconds, not {interval}"):
        Sampler(interval)
