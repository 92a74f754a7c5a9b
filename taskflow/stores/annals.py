"""What a store keeps for people to look back at: what was done by whom, and figures over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, frozen=True)
class Deed:
    """What somebody did, or tried to do, over the API. ``at`` in seconds since the epoch."""

    at: float
    #: None if the guard does not know who it was.
    user: str | None
    #: ``retry``, ``lane.patch``.
    action: str
    #: What it was done to, "" if that is in ``detail``.
    target: str
    #: What was sent along, as JSON, without secrets.
    detail: str | None
    #: The answer; below 400 it was obeyed.
    status: int


@dataclass(slots=True, frozen=True)
class DeedPage:
    """Deeds, newest first; ``next_cursor`` is None on the last page."""

    items: list[Deed]
    next_cursor: str | None


@dataclass(slots=True, frozen=True)
class Point:
    """Figures of one instance for ``step`` seconds from ``at`` on, a multiple of ``step``.

    ``figures`` is JSON. A point with step 0 says that the instance started at that moment.
    """

    step: int
    at: int
    instance: str
    figures: str


@dataclass(slots=True, frozen=True)
class StoreSize:
    """Bytes: of the database, of what is not yet copied into it, and free on its disk.

    None where nobody can tell.
    """

    database: int | None
    log: int | None
    free: int | None


@dataclass(slots=True, frozen=True)
class InstanceRow:
    """An instance that is registered; ``alive`` is as it was just now."""

    instance: str
    pid: int
    host: str
    started_at: float
    alive: bool


class Annals(Protocol):
    """The audit log and the history of figures, both bounded, and what is known of the store.

    Raises the errors of `taskflow.stores.base.Store`.
    """

    async def record(self, deed: Deed, *, keep: int, before: float) -> None:
        """Write ``deed``; only the last ``keep`` stay, and of these none from before ``before``."""
        ...

    async def deeds(self, limit: int, cursor: str | None) -> DeedPage:
        """A page, newest first; raises ValueError for a cursor that no page has given."""
        ...

    async def put_points(self, points: Sequence[Point], before: Mapping[int, float]) -> None:
        """Write points, in one transaction; one of the same step, moment and instance is replaced.

        Of each step in ``before``, points that are older are deleted.
        """
        ...

    async def points(
        self, step: int, since: float, limit: int, *, until: float | None = None
    ) -> list[Point]:
        """Points of one step, of all instances, newest first and ``limit`` at most.

        They begin at ``since`` or later, and not after ``until``; None for any time.
        """
        ...

    async def size(self) -> StoreSize:
        """How much room it takes, and has."""
        ...

    async def instances(self, limit: int) -> list[InstanceRow]:
        """The instances that are registered, the newest first."""
        ...
