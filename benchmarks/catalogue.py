"""Which benchmarks there are: every module ``bench_*`` of this package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import benchmarks
from benchmarks.harness import Report, first_line

PREFIX = "bench_"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark: its ``run`` takes ``rounds`` and sizes; ``tiny`` are the smallest of these."""

    name: str
    question: str
    run: Callable[..., Report]
    tiny: Mapping[str, Any]


def names() -> list[str]:
    """The names of all benchmarks, in alphabetical order."""
    found = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name.removeprefix(PREFIX) for name in found if name.startswith(PREFIX))


def load(name: str) -> Benchmark:
    """The benchmark of this name, which must be one of `names`."""
    module = importlib.import_module(f"benchmarks.{PREFIX}{name}")
    return Benchmark(name, first_line(module.__doc__), module.run, module.TINY)
