"""The schedules that the code declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from taskflow.errors import ScheduleError
from taskflow.schedules.spec import ScheduleSpec, check_name


@dataclass(frozen=True, slots=True)
class Declared:
    """One of them."""

    name: str
    func_name: str
    spec: ScheduleSpec


class Timetable:
    """What ``@task_manager.schedule`` has declared so far."""

    def __init__(self) -> None:
        self._declared: dict[str, Declared] = {}

    def declare(self, name: str, func_name: str, spec: ScheduleSpec) -> None:
        """Add a schedule; raises `ScheduleError` for a name that is taken."""
        check_name(name)
        known = self._declared.get(name)
        if known is not None:
            raise ScheduleError(
                f"schedule {name!r} is declared already, for {known.func_name}: give one of the "
                "two another name with schedule(name=...)"
            )
        self._declared[name] = Declared(name, func_name, spec)

    def get(self, name: str) -> Declared | None:
        """What the code says about this schedule; None if it does not declare it."""
        return self._declared.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._declared

    def __iter__(self) -> Iterator[Declared]:
        return iter(tuple(self._declared.values()))

    def __len__(self) -> int:
        return len(self._declared)
