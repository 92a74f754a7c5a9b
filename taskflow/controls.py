"""Limits that people change while the app runs: applied at once, kept in the store.

What is kept wins over settings and code until it is taken back, after a restart as well, and
reaches the other instances on the store within a second.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from executors.base import Lane
from taskflow.clock import Clock
from taskflow.errors import SettingsError
from taskflow.gate import Gate, QueueConfig
from taskflow.settings import MOST_SLOTS
from taskflow.stores.base import Store

log = logging.getLogger(__name__)

Kind = Literal["lane", "queue"]
Values = dict[str, Any]


class Controls:
    """The changes that are in force, and how to make more."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        lanes: Mapping[str, Lane],
        gates: Mapping[str, Gate],
        queues: Mapping[str, QueueConfig],
        guard: Callable[[Gate], None],
        moved: Callable[[str], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._lanes = lanes
        self._gates = gates
        self._guard = guard
        #: Told the name of a lane that may have more room now.
        self._moved = moved
        #: As configured: what holds again when a change is taken back.
        self._limits = {name: lane.limit for name, lane in lanes.items()}
        self._queues = dict(queues)
        self._in_force: dict[tuple[str, str], str] = {}
        self._values: dict[tuple[str, str], Values] = {}
        #: A change is what is in force with something else in it: one after the other.
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        """Apply what the store says and this instance does not know yet."""
        async with self._turn:
            await self._load()

    async def _load(self) -> None:
        stored = await self._store.controls()
        for place in stored.keys() | self._in_force.keys():
            text = stored.get(place)
            if text == self._in_force.get(place):
                continue
            try:
                values = json.loads(text) if text else {}
                self._check(*place, values)
                self._apply(*place, values)
            except Exception as error:  # another version may know other words
                log.warning("the stored limits of %s %r cannot be used: %r", *place, error)
                values = {}
            self._keep(place, text, values)

    def _keep(self, place: tuple[str, str], text: str | None, values: Values) -> None:
        if text is None:
            self._in_force.pop(place, None)
            self._values.pop(place, None)
        else:
            self._in_force[place] = text
            self._values[place] = values

    async def change(self, kind: Kind, name: str, changes: Values) -> None:
        """Change some values of a lane or a queue; one that is None is as configured again.

        Raises `SettingsError` for a value that cannot work.
        """
        async with self._turn:
            await self._change(kind, name, changes)

    async def _change(self, kind: Kind, name: str, changes: Values) -> None:
        values = self.values(kind, name)
        values.update(changes)
        values = {key: value for key, value in values.items() if value is not None}
        if not values.get("paused"):
            values.pop("paused", None)
        self._check(kind, name, values)
        text = json.dumps(values, sort_keys=True) if values else None
        await self._store.set_control(kind, name, text, self._clock.now())
        self._apply(kind, name, values)
        self._keep((kind, name), text, values)

    def values(self, kind: Kind, name: str) -> Values:
        """What was changed of this lane or queue."""
        return dict(self._values.get((kind, name), {}))

    def configured(self, queue: str) -> QueueConfig:
        """The limits of a queue without any change at run time."""
        return self._queues.get(queue, QueueConfig())

    def configure(self, queue: str, config: QueueConfig) -> None:
        """Code gives limits to a queue while the app runs."""
        self._queues[queue] = config
        self._apply("queue", queue, self.values("queue", queue))

    def _check(self, kind: str, name: str, values: Values) -> None:
        if not isinstance(values, dict):
            raise SettingsError(f"{values!r:.60}: give an object")
        if not isinstance(values.get("paused", False), bool):
            raise SettingsError(f"paused={values['paused']!r}: give true or false")
        rest = {key: value for key, value in values.items() if key != "paused"}
        if kind == "queue":
            self.configured(name).changed(rest)
            return
        limit = rest.pop("limit", 1)
        most = MOST_SLOTS[name]
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
            raise SettingsError(f"limit={limit!r}: lane {name!r} takes 1 to {most}, or null")
        for key in rest:
            raise SettingsError(f"{key}: of a lane, limit and paused can be changed")

    def _apply(self, kind: str, name: str, values: Values) -> None:
        paused = bool(values.get("paused"))
        rest = {key: value for key, value in values.items() if key != "paused"}
        if kind == "lane" and name in self._lanes:
            lane = self._lanes[name]
            limit = int(rest.get("limit", self._limits[name]))
            if limit != lane.limit:
                lane.resize(limit)
            if paused:
                lane.pause()
            else:
                lane.resume()
            self._moved(name)
        elif kind == "queue":
            config = self.configured(name).changed(rest)
            gate = self._gates.get(name) or Gate(name, config, self._clock.monotonic)
            gate.change(config)
            gate.paused = paused
            self._guard(gate)


class LaneControl:
    """One lane, and what can be done to it while it runs. Changes are kept in the store."""

    def __init__(self, lane: Lane, controls: Controls) -> None:
        self._lane = lane
        self._controls = controls
        self.name = lane.name

    @property
    def limit(self) -> int:
        """How many tasks run at a time."""
        return self._lane.limit

    @property
    def running(self) -> int:
        """How many run now."""
        return self._lane.running

    @property
    def waiting(self) -> int:
        """How many wait in memory."""
        return self._lane.waiting

    @property
    def paused(self) -> bool:
        """Whether somebody paused it."""
        return "paused" in self._lane.brakes

    async def resize(self, limit: int | None) -> None:
        """Change the number of slots; None for that of the settings. What runs goes on.

        Raises `SettingsError` for a number out of range.
        """
        await self._controls.change("lane", self.name, {"limit": limit})

    async def pause(self) -> None:
        """Start nothing more until `resume`, also after a restart; what runs goes on."""
        await self._controls.change("lane", self.name, {"paused": True})

    async def resume(self) -> None:
        """Undo `pause`."""
        await self._controls.change("lane", self.name, {"paused": None})

    def __repr__(self) -> str:
        return f"<LaneControl {self.name} {self.running}/{self.limit}>"


class QueueControl:
    """One queue, and what can be done to it while tasks run. Changes are kept in the store."""

    def __init__(self, name: str, gates: Mapping[str, Gate], controls: Controls) -> None:
        self.name = name
        self._gates = gates
        self._controls = controls

    @property
    def config(self) -> QueueConfig:
        """The limits in force in this instance."""
        gate = self._gates.get(self.name)
        return QueueConfig() if gate is None else gate.config

    @property
    def paused(self) -> bool:
        """Whether somebody paused it."""
        gate = self._gates.get(self.name)
        return gate is not None and gate.paused

    async def change(self, **limits: Any) -> None:
        """Change ``concurrency``, ``max_size`` or ``rate``; None for what the code says.

        Raises `SettingsError` for other names and wrong values.
        """
        await self._controls.change("queue", self.name, limits)

    async def pause(self) -> None:
        """Start nothing more of it until `resume`, also after a restart; what runs goes on."""
        await self._controls.change("queue", self.name, {"paused": True})

    async def resume(self) -> None:
        """Undo `pause`."""
        await self._controls.change("queue", self.name, {"paused": None})

    def __repr__(self) -> str:
        return f"<QueueControl {self.name}>"


class LaneControls(Mapping[str, LaneControl]):
    """The lanes of an instance by name."""

    def __init__(self, lanes: Mapping[str, Lane], controls: Controls) -> None:
        self._controls = {name: LaneControl(lane, controls) for name, lane in lanes.items()}

    def __getitem__(self, name: str) -> LaneControl:
        try:
            return self._controls[name]
        except KeyError:
            raise KeyError(f"{name!r}: the lanes are {', '.join(self._controls)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._controls)

    def __len__(self) -> int:
        return len(self._controls)


class QueueControls(Mapping[str, QueueControl]):
    """The queues that have limits, by name; any other name works, too, and has none yet."""

    def __init__(self, gates: Mapping[str, Gate], controls: Controls) -> None:
        self._gates = gates
        self._controls = controls

    def __getitem__(self, name: str) -> QueueControl:
        return QueueControl(name, self._gates, self._controls)

    def __contains__(self, name: object) -> bool:
        return name in self._gates

    def __iter__(self) -> Iterator[str]:
        return iter(self._gates)

    def __len__(self) -> int:
        return len(self._gates)
