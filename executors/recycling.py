"""When a worker process has served long enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

_MIB = 1024 * 1024


class Served(Protocol):
    """What is to be known of a worker."""

    calls_done: int
    born: float

    def rss(self) -> int:
        """How much memory it holds, in bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Recycling:
    """A worker is due after ``after`` calls, at ``age`` seconds, above ``rss`` bytes; None: never.

    Raises `ValueError` for limits that are not above 0.
    """

    after: int | None = None
    age: float | None = None
    rss: int | None = None

    def __post_init__(self) -> None:
        for name in ("after", "age", "rss"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"recycle_{name} must be above 0 or None, not {value!r}")

    @property
    def never(self) -> bool:
        """Whether no worker is ever due."""
        return self.after is None and self.age is None and self.rss is None

    def why(self, worker: Served, now: float) -> str:
        """Why ``worker`` is due, "" if it is not; ``now`` is by the clock of its ``born``."""
        if self.after is not None and worker.calls_done >= self.after:
            return f"it ran {worker.calls_done} calls"
        if self.age is not None and now - worker.born >= self.age:
            return f"it is {now - worker.born:.0f} s old"
        if self.rss is not None and (rss := worker.rss()) > self.rss:
            return f"it holds {rss / _MIB:.0f} MiB of memory"
        return ""
