"""What a schedule is asked to do: checked when it is written down, stored as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Literal, get_args

from taskflow.clock import as_seconds
from taskflow.errors import ScheduleError
from taskflow.schedules.rule import Rule, parse_rule
from taskflow.schedules.shown import shown

CatchUp = Literal["latest", "all", "skip"]
Overlap = Literal["skip", "queue", "allow"]

#: A day; more is another schedule.
MOST_JITTER = 86_400.0
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSpec:
    """The rule of a schedule, and how it is kept.

    Exactly one of ``cron`` and ``every`` (seconds), see `taskflow.schedules.rule.parse_rule`.
    ``catch_up``: what becomes of runs that were missed while no instance could start them: of all
    only the latest, all (the 100 latest at most), or none. ``overlap``: what becomes of a run whose
    predecessor is not over: it is skipped, it waits, or both run. ``jitter``: a run starts up to so
    many seconds after its time, drawn per run. ``run_on_startup``: also when the app starts.

    Raises `ScheduleError` for what cannot work.
    """

    cron: str | None = None
    every: int | None = None
    timezone: str | None = None
    catch_up: CatchUp = "latest"
    overlap: Overlap = "skip"
    jitter: float = 0.0
    run_on_startup: bool = False
    #: The arguments of the task, as they are stored.
    args: str = ""

    def __post_init__(self) -> None:
        # Rules say themselves what is wrong with them.
        self.rule(0)
        for name, known in (("catch_up", get_args(CatchUp)), ("overlap", get_args(Overlap))):
            if getattr(self, name) not in known:
                words = ", ".join(map(repr, known))
                raise ScheduleError(f"{name}={shown(getattr(self, name))}: give one of {words}")
        if not isinstance(self.run_on_startup, bool):
            raise ScheduleError(f"run_on_startup={shown(self.run_on_startup)}: give True or False")
        if not isinstance(self.args, str):
            raise ScheduleError(f"args={shown(self.args)}: not as arguments are stored")
        object.__setattr__(self, "jitter", _jitter(self.jitter))
        every: object = self.every
        if isinstance(every, timedelta | float):
            object.__setattr__(self, "every", int(as_seconds(every)))
        if self.every is not None and self.overlap == "skip" and self.jitter >= self.every:
            raise ScheduleError(
                f"jitter={self.jitter:g} with every={self.every} and overlap='skip': a run that "
                "waits would leave out the next ones; give less jitter, or overlap='allow'"
            )

    def rule(self, anchor: int) -> Rule:
        """Its rule; intervals count from ``anchor``, in seconds since the epoch."""
        return parse_rule(cron=self.cron, every=self.every, timezone=self.timezone, anchor=anchor)

    def changed(self, changes: Mapping[str, Any]) -> ScheduleSpec:
        """This with ``changes``; a new rule replaces the old one, whichever kind it was."""
        names = {field.name for field in fields(self)}
        for name in changes:
            if name not in names:
                raise ScheduleError(f"{name}: a schedule has {', '.join(sorted(names))}")
        given = dict(changes)
        if given.get("cron") is not None:
            given.setdefault("every", None)
        elif given.get("every") is not None:
            given.setdefault("cron", None)
        return dataclasses.replace(self, **given)

    def dump(self) -> str:
        """As JSON: whatever is not the default."""
        values = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }
        return json.dumps(values, sort_keys=True)

    @classmethod
    def load(cls, declared: str) -> ScheduleSpec:
        """What `dump` gave; raises `ScheduleError` for anything else."""
        return cls(**_object(declared))

    def with_stored(self, changes: str) -> ScheduleSpec:
        """This with changes as they are stored; raises `ScheduleError`."""
        return self.changed(_object(changes))

    def has_rule_of(self, other: ScheduleSpec) -> bool:
        """Whether both follow the same rule, whatever else they say."""
        mine = self.cron, self.every, self.timezone
        return mine == (other.cron, other.every, other.timezone)


def make_spec(*, overlap: Overlap | None = None, **options: Any) -> ScheduleSpec:
    """As users write it: ``every`` and ``jitter`` in seconds or as a timedelta.

    Runs that are all to be made up for must not be left out because of each other: they wait,
    unless ``overlap`` says something else.
    """
    usual: Overlap = "queue" if options.get("catch_up") == "all" else "skip"
    return ScheduleSpec(overlap=usual if overlap is None else overlap, **options)


def _object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ScheduleError(f"stored as {text!r:.60}: {error!s:.100}") from None
    names = {field.name for field in fields(ScheduleSpec)}
    if not isinstance(values, dict) or not values.keys() <= names:
        raise ScheduleError(f"stored as {text!r:.60}: another version of the app wrote that")
    return values


def _jitter(value: object) -> float:
    if not isinstance(value, bool) and isinstance(value, int | float | timedelta):
        seconds = value if isinstance(value, int) else as_seconds(value)
        if 0 <= seconds <= MOST_JITTER and math.isfinite(seconds):
            return float(seconds)
    raise ScheduleError(
        f"jitter={shown(value)}: give 0 to {MOST_JITTER:g} seconds, or such a timedelta"
    )


def is_name(name: object) -> bool:
    """Whether a schedule may be called so."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()


def check_name(name: object) -> str:
    """The name of a schedule, if it is one; raises `ScheduleError`."""
    if not isinstance(name, str) or not is_name(name):
        raise ScheduleError(f"name={shown(name)}: give 1 to {LONGEST_NAME} printable characters")
    return name
