"""What this process may use of the machine: affinity and cgroup limits included."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

_ROOT = Path("/")


def available_cpus(root: Path = _ROOT) -> int:
    """How many CPUs this process may keep busy, at least 1; a cgroup quota is rounded up.

    ``root`` is where ``proc`` and ``sys`` are, for tests.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    for quota in (_cpu_quota_v2(root), _cpu_quota_v1(root)):
        if quota is not None:
            count = min(count, math.ceil(quota))
    return max(1, count)


def available_memory(root: Path = _ROOT) -> int:
    """How many bytes of memory this process may use: those of the machine, or its cgroup's."""
    limits = [int(psutil.virtual_memory().total)]
    for folder in _folders(root, "", "sys/fs/cgroup"):
        limits += _numbers(folder / "memory.max")[:1]
    for folder in _folders(root, "memory", "sys/fs/cgroup/memory"):
        limits += _numbers(folder / "memory.limit_in_bytes")[:1]
    return min(limit for limit in limits if limit > 0)


def _cpu_quota_v2(root: Path) -> float | None:
    quotas = []
    for folder in _folders(root, "", "sys/fs/cgroup"):
        numbers = _numbers(folder / "cpu.max")
        if len(numbers) == 2 and numbers[1] > 0:
            quotas.append(numbers[0] / numbers[1])
    return min(quotas, default=None)


def _cpu_quota_v1(root: Path) -> float | None:
    quotas = []
    for mount in ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"):
        for folder in _folders(root, "cpu", mount):
            quota = _numbers(folder / "cpu.cfs_quota_us")
            period = _numbers(folder / "cpu.cfs_period_us")
            if quota and period and quota[0] > 0 and period[0] > 0:
                quotas.append(quota[0] / period[0])
    return min(quotas, default=None)


def _folders(root: Path, controller: str, mount: str) -> list[Path]:
    """The folder of this process's group under ``mount`` and all those above it.

    The limits of every one of them hold. Inside a container the path that the kernel tells is
    often one of the host, of which only the top is to be seen here: missing ones are harmless.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    group = "/"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            group = path
    top = root / mount
    folder = top / group.strip("/")
    return [path for path in (folder, *folder.parents) if path.is_relative_to(top)]


def _numbers(path: Path) -> list[int]:
    """The numbers in a file of the kernel; none where it is missing or says ``max``."""
    try:
        words = path.read_text().split()
    except OSError:
        return []
    return [int(word) for word in words] if all(_is_number(word) for word in words) else []


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdigit()
