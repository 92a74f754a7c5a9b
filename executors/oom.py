"""How often the kernel has ended a process because memory ran out, as far as it tells."""

from __future__ import annotations

from pathlib import Path

#: Where ``proc`` and ``sys`` are.
ROOT = Path("/")


def oom_kills(root: Path | None = None) -> int | None:
    """How many processes were killed for want of memory so far; None if that cannot be known.

    Those of this process's own cgroup where it is counted, else those of the whole machine.
    ``root`` is where ``proc`` and ``sys`` are (default `ROOT`).
    """
    root = ROOT if root is None else root
    groups = _groups(root)
    places = [
        ("sys/fs/cgroup", groups.get(""), "memory.events"),
        ("sys/fs/cgroup/memory", groups.get("memory"), "memory.oom_control"),
    ]
    for mount, group, name in places:
        if group is None:
            continue
        # Inside of a container the path is often one of the host; then the top is its own.
        for folder in (root / mount / group.strip("/"), root / mount):
            count = _count(folder / name)
            if count is not None:
                return count
    return _count(root / "proc/vmstat")


def _groups(root: Path) -> dict[str, str]:
    """The path of this process's cgroup by controller; "" is the unified hierarchy."""
    groups = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _count(path: Path) -> int | None:
    for line in _lines(path):
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.strip().isdigit():
            return int(value)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
