"""What every benchmark shares: rounds in turn, medians and ratios, the machine, the report.

Absolute figures differ from minute to minute on a shared machine; so a benchmark measures itself
and its reference in turn, and the ratio of each pair is what to look at.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure over all rounds."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        return (
            f"  {self.name:<58} {_number(self.median):>10} {self.unit:<10} "
            f"[{_number(low)} .. {_number(high)}]"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found out."""

    question: str
    figures: tuple[Figure, ...]
    #: Anything a reader must know to believe the figures.
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        lines = [self.question, *(str(figure) for figure in self.figures)]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        return {
            "question": self.question,
            "figures": [{**asdict(f), "median": f.median} for f in self.figures],
            "notes": list(self.notes),
        }


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def in_turn(rounds: int, **measures: Callable[[], float]) -> dict[str, tuple[float, ...]]:
    """Each measure ``rounds`` times, A B A B ..., after one round that does not count."""
    results: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            value = measure()
            if number:
                results[name].append(value)
    return {name: tuple(values) for name, values in results.items()}


def ratios(ours: tuple[float, ...], theirs: tuple[float, ...]) -> tuple[float, ...]:
    """Ours to theirs, pair by pair."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on disk (not in memory: an fsync must cost what it costs)."""
    with tempfile.TemporaryDirectory(prefix="taskflow-bench-", dir=Path.cwd()) as name:
        yield Path(name)


def check_all_done(done: int, wanted: int) -> None:
    """A benchmark that did not do all its work has no figure."""
    if done != wanted:
        raise AssertionError(f"{done} of {wanted} tasks were done: the figure would be worthless")


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile; ``share`` from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def machine() -> dict[str, str]:
    """Where and with what this was measured."""
    packages = ("fastapi", "starlette", "uvicorn", "uvloop", "aiosqlite", "pydantic", "anyio")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpus": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        **versions,
    }
