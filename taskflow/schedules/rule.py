"""What every rule of a schedule can say, and how one is made from what users write."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from taskflow.errors import ScheduleError
from taskflow.schedules.cron import Cron
from taskflow.schedules.interval import Every
from taskflow.schedules.shown import shown
from taskflow.schedules.zones import Zone, zone


class Rule(Protocol):
    """An ascending row of slots: whole seconds since the epoch (UTC), from 1970 to 9999.

    No two slots are equal. Any number is a legal moment; a rule never raises once it is made.
    """

    @property
    def words(self) -> str:
        """The rule in plain English, without its zone: ``at 02:30 every day``."""
        ...

    @property
    def zone(self) -> Zone:
        """The zone whose clock the rule follows, or is shown in."""
        ...

    def after(self, moment: float) -> int | None:
        """The first slot strictly after ``moment``; None: never again."""
        ...

    def before(self, moment: float) -> int | None:
        """The last slot at or before ``moment``; None: none since 1970."""
        ...


def parse_rule(
    *,
    cron: str | None = None,
    every: float | timedelta | None = None,
    timezone: str | None = None,
    anchor: float = 0,
) -> Rule:
    """The rule of exactly one of ``cron`` and ``every``.

    ``cron`` is an expression of five fields, or six with the second last, on the clock of
    ``timezone`` (default UTC); see `Cron`. ``every`` is in seconds, counted from ``anchor``
    (seconds since the epoch); the zone is only for showing then. Raises `ScheduleError`.
    """
    if (cron is None) == (every is None):
        raise ScheduleError(
            f"cron={shown(cron)}, every={shown(every)}: give one of the two, for example "
            "cron='0 2 * * *' or every=300"
        )
    place = zone(timezone)
    if cron is not None:
        return Cron(cron, place)
    assert every is not None
    return Every(every, anchor, place)
