"""The next runs of a rule as people read them: local time, and what a clock change did to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from taskflow.schedules.cron import Cron
from taskflow.schedules.rule import Rule
from taskflow.schedules.zones import DAY, Zone

#: Times that a note names one by one.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Run:
    """One run to come."""

    #: Seconds since the epoch.
    slot: int
    #: Local time with its offset from UTC, in ISO 8601.
    local: str
    #: What a clock change did to this run; "" almost always.
    note: str


def runs(rule: Rule, after: float, count: int) -> list[Run]:
    """The first ``count`` runs after ``after``, fewer if there are no more."""
    found: list[Run] = []
    moment = after
    while len(found) < count:
        slot = rule.after(moment)
        if slot is None:
            break
        moment = slot
        found.append(Run(slot, rule.zone.local(slot).isoformat(), note(rule, slot)))
    return found


def note(rule: Rule, slot: int) -> str:
    """What a clock change did to the run at ``slot``; "" if nothing."""
    if not isinstance(rule, Cron):
        return ""
    wall = slot + rule.zone.offset(slot)
    if not rule.fields.interval:
        skipped = list(_skipped(rule, slot))
        if skipped:
            return _moved(skipped, wall if rule.walls.next(wall) == wall else None)
    pass_ = _which_pass(rule.zone, slot, wall)
    return f"{pass_} of two {_clock(wall)}" if pass_ else ""


def _skipped(rule: Cron, slot: int) -> Iterator[int]:
    """The walls of ``rule`` in the gap that ends at ``slot``, if one does."""
    wall = rule.zone.latest(slot - 1) + 1
    end = slot + rule.zone.offset(slot)
    while True:
        found = rule.walls.next(wall)
        if found is None or found >= end:
            return
        yield found
        wall = found + 1


def _moved(skipped: list[int], meets: int | None) -> str:
    """A gap may hold thousands of times of one rule: some are named."""
    names = [_clock(wall) for wall in skipped[:_NAMED]]
    if len(skipped) > _NAMED:
        names.append(f"{len(skipped) - _NAMED} more")
    text = "in the gap: moved from " + ", ".join(names)
    return text if meets is None else f"{text}; one run with {_clock(meets)}"


def _which_pass(zone: Zone, slot: int, wall: int) -> str:
    if zone.latest(slot - 1) >= wall:
        return "second"
    # The end of this stretch and of the next few: the wall may come again in two days at most.
    _, end, _ = zone.stretch(slot)
    while end <= slot + 2 * DAY:
        start, end, offset = zone.stretch(end)
        if start <= wall - offset < end:
            return "first"
    return ""


def _clock(wall: int) -> str:
    hours, seconds = divmod(wall % DAY, 3_600)
    minutes, seconds = divmod(seconds, 60)
    return f"{hours:02}:{minutes:02}" + (f":{seconds:02}" if seconds else "")
