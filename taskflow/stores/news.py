"""What a store tells the dashboards of all instances: which tasks changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from taskflow.record import TaskRecord


@dataclass(frozen=True, slots=True)
class Position:
    """How far somebody has looked. Good in every instance on the store."""

    #: How often somebody has begun to look: what went on before is not known.
    epoch: int
    #: The numbers of the last change, the last new task and the last line of a log.
    change: int
    task: int
    line: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.change}.{self.task}.{self.line}"

    @classmethod
    def read(cls, text: str) -> Position | None:
        """What `str` made of one; None for anything else."""
        parts = text.split(".")
        if len(parts) != 4 or not all(it.isascii() and it.isdigit() for it in parts):
            return None
        numbers = [int(it) for it in parts if len(it) < 19]
        return cls(*numbers) if len(numbers) == 4 else None


@dataclass(frozen=True, slots=True)
class Delta:
    """What happened between two positions."""

    position: Position
    #: As they are now, without arguments, results and stacks.
    tasks: list[TaskRecord]
    #: Ids of tasks that were deleted.
    gone: list[str]
    #: Ids of tasks whose log grew.
    grown: frozenset[str]
    #: So many further tasks changed, and are left out.
    more: int


class News(Protocol):
    """Which tasks changed, whoever changed them; kept only while somebody looks."""

    async def watch(self, until: float, now: float) -> Position:
        """Somebody looks until then; where the news are now. To be repeated before that time."""

    async def unwatch(self, until: float) -> None:
        """Nobody looks any more, unless somebody said later than ``until``."""

    async def expire(self, now: float) -> None:
        """End what somebody who died left behind."""

    async def since(self, position: Position, limit: int) -> Delta | None:
        """What happened since then, at most ``limit`` tasks; None if that is not known any more."""
