"""What this process may use of the machine, and how much of that is used.

Affinity and the limits of cgroups are included, of both versions.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class CpuAllowance:
    """How much CPU time this process may use.

    ``cpus`` is what `available_cpus` says. ``quota`` is the lowest quota of its cgroups, in CPUs,
    1.5 for example, None without one. ``used`` is the CPU time that the group with this quota has
    used since it exists, in seconds, None without a quota or where the kernel does not tell.
    """

    cpus: int
    quota: float | None = None
    used: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Bytes of memory: those of the cgroup with the lowest limit, or of the machine without one.

    ``used`` leaves out what the kernel gives back when it is short, such as cached files.
    ``available`` is what can still be had, and that may be less than the rest of the limit: a
    group further up, or the machine itself, may be short.
    """

    limit: int
    used: int
    available: int

    @property
    def percent(self) -> float:
        """How much of the limit cannot be had any more."""
        return 100.0 * (1.0 - min(self.available, self.limit) / self.limit)


def available_cpus(root: Path = _ROOT) -> int:
    """How many CPUs this process may keep busy, at least 1; a cgroup quota is rounded up.

    ``root`` is where ``proc`` and ``sys`` are, for tests.
    """
    return _count_cpus(list(_cpu_quotas(root)))


def cpu_allowance(root: Path = _ROOT) -> CpuAllowance:
    """How much CPU time this process may use, and how much its cgroup has used."""
    quotas = list(_cpu_quotas(root))
    cpus = _count_cpus(quotas)
    if not quotas:
        return CpuAllowance(cpus)
    quota, folder = min(quotas)
    microseconds = _fields(folder / "cpu.stat").get("usage_usec")
    if microseconds is not None:
        return CpuAllowance(cpus, quota, microseconds / 1e6)
    for place in (folder, *_folders(root, "cpuacct", "sys/fs/cgroup/cpuacct")[:1]):
        if nanoseconds := _numbers(place / "cpuacct.usage"):
            return CpuAllowance(cpus, quota, nanoseconds[0] / 1e9)
    return CpuAllowance(cpus, quota)


def _count_cpus(quotas: list[tuple[float, Path]]) -> int:
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(quota) for quota, _ in quotas)]))


def available_memory(root: Path = _ROOT) -> int:
    """How many bytes of memory this process may use: those of the machine, or its cgroup's."""
    total = int(psutil.virtual_memory().total)
    return min((limit for limit, _ in _memory_groups(root, total)), default=total)


def memory_usage(root: Path = _ROOT) -> MemoryUsage:
    """How much of the memory that this process may use is in use, by whomever."""
    host = psutil.virtual_memory()
    limit, used, available = host.total, host.total - host.available, host.available
    for group_limit, group_used in _memory_groups(root, host.total):
        if group_used is not None:
            available = min(available, max(0, group_limit - group_used))
        if group_limit < limit:
            # Without a figure of the group's own, all that the machine uses is the best guess.
            limit, used = group_limit, used if group_used is None else group_used
    return MemoryUsage(limit, min(used, limit), available)


def _memory_groups(root: Path, total: int) -> Iterator[tuple[int, int | None]]:
    """Limit and use of every group this process is in that has less than the machine."""
    for controller, mount, limit_file, used_file, cache in (
        ("", "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        (
            "memory",
            "sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        for folder in _folders(root, controller, mount):
            limit = _numbers(folder / limit_file)
            if limit and 0 < limit[0] < total:
                used = _numbers(folder / used_file)
                cached = _fields(folder / "memory.stat").get(cache, 0)
                yield limit[0], max(0, used[0] - cached) if used else None


def _cpu_quotas(root: Path) -> Iterator[tuple[float, Path]]:
    """How many CPUs each group this process is in may keep busy, and the group's folder."""
    for folder in _folders(root, "", "sys/fs/cgroup"):
        numbers = _numbers(folder / "cpu.max")
        if len(numbers) == 2 and numbers[1] > 0:
            yield numbers[0] / numbers[1], folder
    for mount in ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"):
        for folder in _folders(root, "cpu", mount):
            quota = _numbers(folder / "cpu.cfs_quota_us")
            if quota and quota[0] > 0:
                period = _numbers(folder / "cpu.cfs_period_us")
                if period and period[0] > 0:
                    yield quota[0] / period[0], folder


def _folders(root: Path, controller: str, mount: str) -> tuple[Path, ...]:
    """The folder of this process's group under ``mount`` and all those above it.

    The limits of every one of them hold. Inside a container the path that the kernel tells is
    often one of the host, of which only the top is to be seen here: missing ones are harmless.
    """
    return _folders_of(_read(root / "proc/self/cgroup"), controller, root / mount)


@functools.lru_cache(maxsize=32)
def _folders_of(groups: str, controller: str, top: Path) -> tuple[Path, ...]:
    group = "/"
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            group = path
    folder = top / group.strip("/")
    return tuple(path for path in (folder, *folder.parents) if path.is_relative_to(top))


def _read(path: Path) -> str:
    """A file of the kernel, as cheaply as it can be read; empty where it is missing."""
    try:
        with path.open("rb", buffering=0) as file:
            return (file.read() or b"").decode(errors="replace")
    except OSError:
        return ""


def _numbers(path: Path) -> list[int]:
    """The numbers in a file of the kernel; none where it is missing or says ``max``."""
    words = _read(path).split()
    return [int(word) for word in words] if all(_is_number(word) for word in words) else []


def _fields(path: Path) -> dict[str, int]:
    """The lines of a file of the kernel that are a name and a number; none where it is missing."""
    pairs = (line.split() for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and _is_number(pair[1])}


def _is_number(word: str) -> bool:
    return word.lstrip("-").isdigit()
