"""What one queue lets through. Pure.

A task is *admitted* when it is taken into memory: it waits in its lane then, or runs. A gate
admits as many as may run at once and not one more, so that whatever a queue holds back waits on
disk, where it takes no slot and no place in a waiting room from anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from taskflow.errors import SettingsError
from taskflow.rate import RateLog, parse_rate

#: More than any lane can hold.
_MANY = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """The limits of one queue; each holds in every instance by itself.

    ``concurrency``: how many of its tasks run at a time. ``max_size``: how many may be pending,
    more are refused with `QueueFullError`. ``rate``: how many start in any stretch of time,
    ``"10/s"``, ``"100/min"``, ``"5/10s"``. None means no limit.

    Raises `SettingsError` for a value that cannot work.
    """

    concurrency: int | None = None
    max_size: int | None = None
    rate: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("max_size", 0)):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value < _MANY:
                raise SettingsError(
                    f"{name}={value!r}: give a whole number from {least} on, or None for no limit"
                )
        if self.rate is not None:
            try:
                parse_rate(self.rate)
            except ValueError as error:
                raise SettingsError(str(error)) from None

    def changed(self, changes: Mapping[str, object]) -> QueueConfig:
        """This with ``changes``; raises `SettingsError` for unknown names and wrong values."""
        names = {field.name for field in fields(self)}
        for name in changes:
            if name not in names:
                raise SettingsError(f"{name}: a queue has {', '.join(sorted(names))}")
        values: dict[str, object] = {name: getattr(self, name) for name in names}
        return QueueConfig(**{**values, **changes})  # type: ignore[arg-type]  # checked above


def check_queues(queues: object) -> dict[str, QueueConfig]:
    """``queues=`` of a manager; raises `SettingsError` for what it cannot be."""
    if not isinstance(queues, Mapping):
        raise SettingsError(f"queues={queues!r:.60}: give a dict of QueueConfig by name")
    for name, config in queues.items():
        if not isinstance(name, str) or not isinstance(config, QueueConfig):
            raise SettingsError(
                f"queues={{{name!r:.60}: {config!r:.60}}}: give QueueConfig(...) by the name of "
                "the queue"
            )
    return dict(queues)


class Gate:
    """The count of what one queue has in memory, held against its limits.

    ``clock`` gives seconds that only go forward.
    """

    __slots__ = (
        "_clock",
        "_rate",
        "_unstarted",
        "admitted",
        "config",
        "name",
        "paused",
        "reserved",
        "unstarted",
    )

    def __init__(self, name: str, config: QueueConfig, clock: Callable[[], float]) -> None:
        self.name = name
        self._clock = clock
        self.paused = False
        #: Tasks in memory, and those of them that have not started.
        self.admitted = 0
        self.unstarted = 0
        #: The same by priority.
        self._unstarted: Counter[int] = Counter()
        #: Places kept for tasks that are being fetched.
        self.reserved = 0
        self._rate: RateLog | None = None
        self.change(config)

    def change(self, config: QueueConfig) -> None:
        """Other limits from now on."""
        self.config = config
        rate = None if config.rate is None else parse_rate(config.rate)
        if rate is None:
            self._rate = None
        elif self._rate is None:
            self._rate = RateLog(rate)
        else:
            self._rate.change(rate)

    @property
    def places(self) -> int:
        """How many more tasks may be admitted now."""
        if self.paused:
            return 0
        concurrency = self.config.concurrency
        places = _MANY if concurrency is None else concurrency - self.admitted - self.reserved
        if places > 0 and self._rate is not None:
            # Whoever has not started will, and then counts.
            places = min(places, self._rate.free(self._clock()) - self.unstarted - self.reserved)
        return max(places, 0)

    @property
    def overfull(self) -> int:
        """How many admitted tasks must not start: the limits have become narrower since."""
        if self.paused:
            return self.unstarted
        surplus = 0
        if self.config.concurrency is not None:
            surplus = self.admitted - self.config.concurrency
        if self._rate is not None:
            surplus = max(surplus, self.unstarted - self._rate.free(self._clock()))
        return min(self.unstarted, surplus)

    @property
    def opens_at(self) -> float | None:
        """When the rate will admit one more; None if something else is in the way."""
        if self._rate is None or self.paused:
            return None
        if self.config.concurrency is not None and self.admitted >= self.config.concurrency:
            return None
        return self._rate.free_at(self._clock(), self.unstarted + 1)

    def gives_way_to(self, priority: int) -> bool:
        """Whether a less important task than this is admitted and has not started."""
        return not self.paused and self.unstarted > 0 and min(self._unstarted) < priority

    def admit(self, priority: int) -> None:
        """A task is taken into memory."""
        self.admitted += 1
        self.unstarted += 1
        self._unstarted[priority] += 1

    def start(self, priority: int) -> None:
        """An admitted task starts."""
        self._has_moved_on(priority)
        if self._rate is not None:
            self._rate.note(self._clock())

    def leave(self, priority: int, *, started: bool) -> None:
        """An admitted task is in memory no longer."""
        self.admitted -= 1
        if not started:
            self._has_moved_on(priority)

    def _has_moved_on(self, priority: int) -> None:
        self.unstarted -= 1
        self._unstarted[priority] -= 1
        if not self._unstarted[priority]:
            del self._unstarted[priority]
