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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure over all rounds."""

    name: str
    unit: str
    values: tuple[float, ...]
    #: What the project holds itself to, if anything; the median counts.
    at_least: float | None = None
    at_most: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> str:
        """``>= 0.4`` or the like; empty if there is none."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return f"<= {self.at_most:g}" if self.at_most is not None else ""

    @property
    def is_met(self) -> bool:
        """Whether the median is on the right side of the target; true without one."""
        too_low = self.at_least is not None and self.median < self.at_least
        too_high = self.at_most is not None and self.median > self.at_most
        return not (too_low or too_high)

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        line = (
            f"  {self.name:<58} {_number(self.median):>10} {self.unit:<8} "
            f"[{_number(low)} .. {_number(high)}]"
        )
        if self.target:
            line += f"  target {self.target}: {'met' if self.is_met else 'MISSED'}"
        return line


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
            "figures": [
                {**asdict(figure), "median": figure.median, "met": figure.is_met}
                for figure in self.figures
            ],
            "notes": list(self.notes),
        }


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def in_turn(rounds: int, **measures: Callable[[], float]) -> dict[str, tuple[float, ...]]:
    """Each measure ``rounds`` times, A B A B ...; see `collect`."""
    return collect(rounds, lambda: {name: measure() for name, measure in measures.items()})


def collect(
    rounds: int, one_round: Callable[[], Mapping[str, float]], *, warm_up: bool = True
) -> dict[str, tuple[float, ...]]:
    """The figures of ``rounds`` rounds by name.

    One round more goes before and does not count (files, caches, clocks of the processor), unless
    there is only one anyway, for a quick look, or ``warm_up`` is false.
    """
    if warm_up and rounds > 1:
        one_round()
    results: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, value in one_round().items():
            results.setdefault(name, []).append(value)
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


def first_line(docstring: str | None) -> str:
    """The question of a benchmark: the first line of its module's docstring."""
    return (docstring or "").strip().partition("\n")[0]


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile; ``share`` from 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def machine() -> dict[str, str]:
    """Where and with what this was measured."""
    packages = (
        "fastapi",
        "starlette",
        "uvicorn",
        "uvloop",
        "httptools",
        "aiosqlite",
        "pydantic",
        "anyio",
    )
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
