"""What a process may use is read from the affinity and from both generations of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from executors import available_cpus, available_memory


def kernel(root: Path, files: dict[str, str]) -> Path:
    """A tree with these files of the kernel."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.fixture
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.usefixtures("many_cpus")
@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 16),
        ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "max 100000"}, 16),
        ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "400000 100000"}, 4),
        ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "1000 100000"}, 1),
        # Inside a container the path is the host's, and the limit lies at the top.
        ({"proc/self/cgroup": "0::/../x", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
        (
            {
                "proc/self/cgroup": "0::/outer/inner",
                "sys/fs/cgroup/outer/cpu.max": "200000 100000",
                "sys/fs/cgroup/outer/inner/cpu.max": "800000 100000",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/app\n0::/",
                "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "500000",
                "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "100000",
            },
            5,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            16,
        ),
        ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "garbage"}, 16),
    ],
)
def test_a_quota_of_cpu_time_bounds_the_cpus(
    tmp_path: Path, files: dict[str, str], cpus: int
) -> None:
    assert available_cpus(kernel(tmp_path, files)) == cpus


def test_the_affinity_bounds_the_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)

    assert available_cpus(tmp_path) == 3


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/memory.max": "1048576"},
        {"proc/self/cgroup": "0::/app", "sys/fs/cgroup/memory.max": "1048576"},
        {
            "proc/self/cgroup": "4:memory:/app",
            "sys/fs/cgroup/memory/app/memory.limit_in_bytes": "1048576",
        },
    ],
)
def test_a_cgroup_bounds_the_memory(tmp_path: Path, files: dict[str, str]) -> None:
    assert available_memory(kernel(tmp_path, files)) == 1048576


def test_without_a_limit_the_memory_is_that_of_the_machine(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/memory.max": "max"}

    assert available_memory(kernel(tmp_path, files)) == psutil.virtual_memory().total


def test_this_very_process_has_something_to_run_on() -> None:
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)
    assert available_memory() > 0
