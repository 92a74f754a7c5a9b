"""What a process may use is read from the affinity and from both generations of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from executors import available_cpus, available_memory
from executors.limits import CpuAllowance, MemoryUsage, cpu_allowance, memory_usage


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


# -- how much of it is used ------------------------------------------------------------------------

MIB = 1024 * 1024


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 1000 MiB of which 600 can be had."""
    memory = psutil.virtual_memory()._replace(total=1000 * MIB, available=600 * MIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


def group(folder: str, **numbers: int) -> dict[str, str]:
    """Files of a cgroup of version 2: its limit, what it holds, and cached files therein (MiB)."""
    where = f"sys/fs/cgroup/{folder}"
    return {
        f"{where}/memory.max": str(numbers["limit"] * MIB),
        f"{where}/memory.current": str(numbers["current"] * MIB),
        f"{where}/memory.stat": f"anon 1\ninactive_file {numbers['cached'] * MIB}\nslab 7",
    }


@pytest.mark.usefixtures("host")
def test_without_a_limit_the_memory_in_use_is_that_of_the_machine(tmp_path: Path) -> None:
    usage = memory_usage(tmp_path)

    assert usage == MemoryUsage(1000 * MIB, 400 * MIB, 600 * MIB)
    assert usage.percent == pytest.approx(40.0)


@pytest.mark.usefixtures("host")
def test_cached_files_of_a_cgroup_are_not_counted_as_used(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/app", **group("app", limit=200, current=150, cached=50)}

    usage = memory_usage(kernel(tmp_path, files))

    assert usage == MemoryUsage(200 * MIB, 100 * MIB, 100 * MIB)
    assert usage.percent == pytest.approx(50.0)


@pytest.mark.usefixtures("host")
def test_a_cgroup_of_version_one_tells_the_same(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/app\n0::/",
        "sys/fs/cgroup/memory/app/memory.limit_in_bytes": str(200 * MIB),
        "sys/fs/cgroup/memory/app/memory.usage_in_bytes": str(150 * MIB),
        "sys/fs/cgroup/memory/app/memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * MIB}",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**63 - 4096),
        "sys/fs/cgroup/memory/memory.usage_in_bytes": str(900 * MIB),
    }

    assert memory_usage(kernel(tmp_path, files)) == MemoryUsage(200 * MIB, 100 * MIB, 100 * MIB)


@pytest.mark.usefixtures("host")
def test_a_group_further_up_that_is_short_leaves_less_to_be_had(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/outer/inner",
        **group("outer/inner", limit=200, current=50, cached=0),
        **group("outer", limit=500, current=490, cached=0),
    }

    usage = memory_usage(kernel(tmp_path, files))

    assert usage == MemoryUsage(200 * MIB, 50 * MIB, 10 * MIB)
    assert usage.percent == pytest.approx(95.0)


@pytest.mark.usefixtures("host")
def test_a_machine_that_is_short_leaves_less_than_the_limit_of_a_cgroup(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/app", **group("app", limit=900, current=100, cached=0)}

    assert memory_usage(kernel(tmp_path, files)) == MemoryUsage(900 * MIB, 100 * MIB, 600 * MIB)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("limit", [0, 5000])
def test_a_limit_that_bounds_nothing_is_none(tmp_path: Path, limit: int) -> None:
    files = {"proc/self/cgroup": "0::/app", **group("app", limit=limit, current=100, cached=0)}

    assert memory_usage(kernel(tmp_path, files)).limit == 1000 * MIB


@pytest.mark.usefixtures("host")
def test_a_cgroup_that_does_not_tell_its_use_is_judged_by_the_machine(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/memory.max": str(500 * MIB)}

    usage = memory_usage(kernel(tmp_path, files))

    assert usage == MemoryUsage(500 * MIB, 400 * MIB, 600 * MIB)
    assert usage.percent == 0.0


@pytest.mark.usefixtures("many_cpus")
@pytest.mark.parametrize(
    ("files", "allowance"),
    [
        ({}, CpuAllowance(16)),
        (
            {
                "proc/self/cgroup": "0::/app",
                "sys/fs/cgroup/app/cpu.max": "150000 100000",
                "sys/fs/cgroup/app/cpu.stat": "usage_usec 2500000\nuser_usec 1",
                "sys/fs/cgroup/cpu.max": "800000 100000",
                "sys/fs/cgroup/cpu.stat": "usage_usec 9000000\nuser_usec 1",
            },
            CpuAllowance(2, 1.5, 2.5),
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/app",
                "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/app/cpuacct.usage": "1500000000",
            },
            CpuAllowance(1, 0.5, 1.5),
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/app\n2:cpuacct:/app",
                "sys/fs/cgroup/cpu/app/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/app/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpuacct/app/cpuacct.usage": "1500000000",
            },
            CpuAllowance(2, 2.0, 1.5),
        ),
        (
            {"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "50000 100000"},
            CpuAllowance(1, 0.5, None),
        ),
    ],
)
def test_the_group_with_the_lowest_quota_tells_how_much_cpu_time_it_has_used(
    tmp_path: Path, files: dict[str, str], allowance: CpuAllowance
) -> None:
    assert cpu_allowance(kernel(tmp_path, files)) == allowance


def test_this_very_process_uses_some_of_its_memory() -> None:
    usage = memory_usage()

    assert 0 < usage.used < usage.limit == available_memory()
    assert 0.0 < usage.percent < 100.0
