"""Looks at processes and host with psutil now and then, in a thread of its own.

Reading ``/proc`` takes milliseconds once there are some workers: too long for the event loop.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from executors.limits import CpuAllowance, MemoryUsage, cpu_allowance, memory_usage

T = TypeVar("T")

log = logging.getLogger("executors")

#: Seconds `Sampler.stop` waits for the look under way.
_STOP_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """What one process used. ``cpu_percent`` is of one core, None at the first look.

    ``rss`` is in bytes, ``age`` in seconds. ``fds`` is the number of open files, which only this
    process is asked for, and not every system tells.
    """

    pid: int
    cpu_percent: float | None
    rss: int
    threads: int
    age: float
    fds: int | None = None


@dataclass(frozen=True, slots=True)
class HostSample:
    """What is used of what this process may use.

    ``cpu_percent`` (0 to 100) is of the cgroup's quota, or of all the ``cpus`` it may run on; None
    at the first look. ``load`` is the machine's load average over 1, 5 and 15 minutes, None where
    there is none.
    """

    cpus: int
    cpu_percent: float | None
    load: tuple[float, float, float] | None
    memory: MemoryUsage


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. ``at`` is in seconds since the epoch; ``workers`` is by process id.

    What could not be found out this time is None; a worker that has just gone is left out.
    """

    at: float
    app: ProcessSample | None
    workers: Mapping[int, ProcessSample]
    host: HostSample | None


class Sampler:
    """Takes a `Sample` each ``interval`` seconds, and hands it to ``on_sample``.

    ``pids`` names the processes to look at beside this one. Both are called on the sampler's
    thread, which survives any error of theirs and of psutil; each kind is logged once. ``root`` is
    where the kernel's files about limits are, for tests.
    """

    def __init__(
        self,
        interval: float,
        pids: Callable[[], Iterable[int]] = tuple,
        on_sample: Callable[[Sample], None] | None = None,
        *,
        root: Path = Path("/"),
    ) -> None:
        if not interval > 0:
            raise ValueError(f"interval must be more than 0 seconds, not {interval}")
        self.interval = interval
        #: The newest sample, None before the first.
        self.latest: Sample | None = None
        #: CPU time the thread has used so far, in seconds.
        self.cost = 0.0
        self._pids = pids
        self._on_sample = on_sample
        self._gauges: dict[int, _ProcessGauge] = {}
        self._host = _HostGauge(root)
        self._told: set[str] = set()
        self._over = threading.Event()
        # A daemon: it must not keep a program alive that ends without `stop`.
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        """Look now, and from now on. Raises `RuntimeError` the second time."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. Idempotent; returns within 2 seconds."""
        self._over.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_STOP_PATIENCE)

    def _run(self) -> None:
        while not self._over.is_set():
            self._look()
            self.cost = time.thread_time()
            self._over.wait(self.interval)

    def _look(self) -> None:
        own = os.getpid()
        pids = self._try("the worker processes", lambda: set(self._pids()), set[int]())
        self._gauges = {pid: gauge for pid, gauge in self._gauges.items() if pid in {own, *pids}}
        app = self._try("this process", partial(self._read, own, count_fds=True), None)
        workers = {}
        for pid in pids:
            worker = self._try("a worker process", partial(self._read, pid), None)
            if worker is not None:
                workers[pid] = worker
        host = self._try("the host", self._host.read, None)
        sample = Sample(time.time(), app, workers, host)
        self.latest = sample
        if self._on_sample is not None:
            self._try("on_sample", partial(self._on_sample, sample), None)

    def _read(self, pid: int, *, count_fds: bool = False) -> ProcessSample | None:
        try:
            gauge = self._gauges.get(pid)
            if gauge is None or not gauge.same_process:
                gauge = self._gauges[pid] = _ProcessGauge(pid)
            return gauge.read(count_fds=count_fds)
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # a zombie is no such process either
            self._gauges.pop(pid, None)
            return None

    def _try(self, what: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except Exception:
            if what not in self._told:
                self._told.add(what)
                log.warning("sampling failed for %s; this is told once", what, exc_info=True)
            return otherwise


class _ProcessGauge:
    """One process, told from a later one with the same id by when it was created."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        # The age comes from the wall clock once; from then on no clock that is set changes it.
        self._born = time.monotonic() - max(0.0, time.time() - self._process.create_time())
        self._looked_before = False

    @property
    def same_process(self) -> bool:
        return self._process.is_running()

    def read(self, *, count_fds: bool) -> ProcessSample | None:
        process = self._process
        # Not in `oneshot`, where CPU times are those of an earlier call. The first percentage
        # covers no time at all.
        percent = process.cpu_percent()
        rss = process.memory_info().rss
        if not rss:  # a process that holds no memory has ended, and waits for its parent
            return None
        threads = process.num_threads()
        fds = process.num_fds() if count_fds and hasattr(process, "num_fds") else None
        known, self._looked_before = self._looked_before, True
        age = time.monotonic() - self._born
        return ProcessSample(process.pid, percent if known else None, rss, threads, age, fds)


class _HostGauge:
    """The machine, or as much of it as this process may use."""

    def __init__(self, root: Path) -> None:
        self._root = root
        #: CPU seconds the cgroup had used at the last look, and when that was.
        self._used: tuple[float, float] | None = None
        self._looked_before = False

    def read(self) -> HostSample:
        allowance = cpu_allowance(self._root)
        if allowance.quota is not None and allowance.used is not None:
            percent = self._of_quota(allowance.quota, allowance.used)
        else:
            percent = self._of_cpus(allowance)
        return HostSample(allowance.cpus, percent, _load(), memory_usage(self._root))

    def _of_quota(self, quota: float, used: float) -> float | None:
        now = time.monotonic()
        before, self._used = self._used, (used, now)
        if before is None or used < before[0] or now <= before[1]:
            return None
        return min(100.0, 100.0 * (used - before[0]) / ((now - before[1]) * quota))

    def _of_cpus(self, allowance: CpuAllowance) -> float | None:
        # psutil compares with the last call of this thread; the first covers no time at all.
        percents = psutil.cpu_percent(percpu=True)
        known, self._looked_before = self._looked_before, True
        if hasattr(os, "sched_getaffinity"):
            mine = os.sched_getaffinity(0)
            if max(mine) < len(percents):  # else some are offline, and numbers are no indices
                percents = [percents[cpu] for cpu in mine]
        return sum(percents) / len(percents) if known else None


def _load() -> tuple[float, float, float] | None:
    try:
        return psutil.getloadavg()
    except OSError:
        return None
