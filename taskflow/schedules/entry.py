"""A stored schedule as one instance sees it."""

from __future__ import annotations

import hashlib
from typing import Literal

from taskflow.definition import TaskDefinition
from taskflow.errors import ScheduleError
from taskflow.schedules.rows import ScheduleRow
from taskflow.schedules.rule import Rule
from taskflow.schedules.spec import ScheduleSpec

#: Whether an instance fires a schedule, and if not, why; the last that is so.
Standing = Literal["active", "failing", "paused", "invalid", "orphaned", "unknown function"]


class Entry:
    """One row, its rule, and how far it has been dealt with.

    ``problem`` says why this instance does not fire it, None if it does: it may be paused, not be
    declared here any more, or ask for what this instance does not know. ``standing`` is the same
    as one of a few words. ``declared`` is what this instance's own code says: during a deploy each
    instance keeps to its code, whoever has written the row.
    """

    __slots__ = (
        "declared",
        "definition",
        "next",
        "position",
        "problem",
        "row",
        "rule",
        "spec",
        "standing",
        "trouble",
    )

    def __init__(
        self,
        row: ScheduleRow,
        definition: TaskDefinition | None,
        now: float,
        declared: ScheduleSpec | None,
    ) -> None:
        self.row = row
        self.declared = declared
        self.definition = definition
        orphaned = declared is None and row.origin == "code"
        self.spec: ScheduleSpec | None = None
        self.rule: Rule | None = None
        self.problem: str | None = None
        #: Why its task could not be made when it was tried last.
        self.trouble: str | None = None
        self.standing: Standing = "active"
        if row.paused_at is not None:
            self.standing, self.problem = "paused", "paused"
        try:
            self.spec = self._spec()
            self.rule = self.spec.rule(row.anchor)
        except (ScheduleError, TypeError) as error:
            self.standing, self.problem = "invalid", f"cannot be used: {error}"
        if definition is None:
            self.standing = "unknown function"
            self.problem = f"this instance does not know its function {row.func_name!r}"
        elif orphaned:
            self.standing = "orphaned"
            self.problem = "orphaned: the code does not declare it any more"
        # A clock that was ahead when this was written must not hold it up.
        self.position = min(row.cursor, now)
        self.next: int | None = None
        self.advance(self.position)

    def is_of(
        self,
        row: ScheduleRow,
        definition: TaskDefinition | None,
        declared: ScheduleSpec | None,
    ) -> bool:
        """Whether a new entry of these would be the same but for how far it is."""
        return (
            row.version == self.row.version
            and definition is self.definition
            and declared is self.declared
        )

    def _spec(self) -> ScheduleSpec:
        declared = self.declared or ScheduleSpec.load(self.row.declared)
        return declared if self.row.changes is None else declared.with_stored(self.row.changes)

    def fail(self, problem: str | None) -> None:
        """Its task cannot be made at the moment; None: it can again."""
        if problem is not None:
            self.standing = "failing"
        elif self.standing == "failing":
            self.standing = "active"
        self.trouble = problem

    def advance(self, position: float) -> None:
        """Every slot up to ``position`` is dealt with."""
        self.position = position
        fires = self.problem is None and self.rule is not None
        self.next = self.rule.after(position) if fires and self.rule is not None else None

    def starts_at(self, slot: int) -> float:
        """When the task of a slot may start: the same in every instance, whatever the jitter."""
        assert self.spec is not None
        if not self.spec.jitter:
            return float(slot)
        digest = hashlib.blake2b(f"{self.row.name}\0{slot}".encode(), digest_size=8).digest()
        return slot + int.from_bytes(digest) / 2**64 * self.spec.jitter
