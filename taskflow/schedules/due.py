"""Which slots of a schedule are to be fired now. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from taskflow.schedules.rule import Rule
from taskflow.schedules.spec import CatchUp

#: So many missed runs are made up for at most, the latest ones.
MOST_CAUGHT_UP = 100
#: A slot that is so many seconds late was missed, where what was missed is skipped.
GRACE = 5.0


@dataclass(frozen=True, slots=True)
class Due:
    """What to fire, in order, and where to go on."""

    slots: tuple[int, ...]
    #: Every slot up to here is dealt with.
    position: float
    #: Whether slots were left out.
    dropped: bool = False


def due(rule: Rule, position: float, now: float, catch_up: CatchUp) -> Due:
    """The slots after ``position`` up to ``now`` that ``catch_up`` does not leave out."""
    latest = rule.before(now)
    if latest is None or latest <= position:
        return Due((), position)
    if catch_up == "all":
        slots, earlier = _latest(rule, position, latest)
        return Due(slots, latest, dropped=earlier)
    is_late = now - latest > GRACE
    if catch_up == "skip" and is_late:
        return Due((), latest, dropped=True)
    earlier_one = rule.before(latest - 1)
    return Due((latest,), latest, dropped=earlier_one is not None and earlier_one > position)


def _latest(rule: Rule, position: float, latest: int) -> tuple[tuple[int, ...], bool]:
    """The latest slots after ``position``, and whether there are more of them."""
    slots: list[int] = []
    slot: int | None = latest
    while slot is not None and slot > position and len(slots) < MOST_CAUGHT_UP:
        slots.append(slot)
        slot = rule.before(slot - 1)
    return tuple(reversed(slots)), slot is not None and slot > position
