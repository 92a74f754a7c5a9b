"""The pulse of an instance: once a second, what has to be looked at regularly."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from executors import ProcessLane
from executors.base import Lane
from executors.sampler import Sampler
from taskflow.clock import Clock
from taskflow.meters import LaneMeter
from taskflow.service import Service
from taskflow.settings import Settings

#: Seconds in one slice of the figures of the last minute.
SLICE = 10.0
#: A brake is released this much below its mark, so that it does not flutter.
RELEASE = 0.95


class Vitals(Service):
    """Moves the figures of the lanes on, and keeps cpu tasks from overloading the machine."""

    EVERY = 1.0

    def __init__(
        self,
        settings: Settings,
        lanes: Mapping[str, Lane],
        meters: Mapping[str, LaneMeter],
        sampler: Sampler,
        rotate_lag: Callable[[], None],
        moved: Callable[[str], None],
        clock: Clock,
    ) -> None:
        super().__init__("vitals")
        self._lanes = lanes
        self._meters = meters
        self._sampler = sampler
        self._rotate_lag = rotate_lag
        self._moved = moved
        self._clock = clock
        self._memory_mark = settings.cpu_brake_memory
        self._load_mark = settings.cpu_brake_load
        self._rotated_at = clock.monotonic()

    async def turn(self) -> float:
        now = self._clock.monotonic()
        if now - self._rotated_at >= SLICE:
            self._rotated_at = now
            for meter in self._meters.values():
                meter.rotate(now)
            self._rotate_lag()
        cpu = self._lanes["cpu"]
        if isinstance(cpu, ProcessLane):
            cpu.recycle_idle()
        self._brake(cpu)
        for name in self._lanes:
            self._moved(name)  # a lane does not tell when it takes work again
        return self.EVERY

    def _brake(self, lane: Lane) -> None:
        sample = self._sampler.latest
        host = None if sample is None else sample.host
        if host is None:
            return
        if self._memory_mark is not None:
            reason = f"waiting for memory: over {self._memory_mark:g} % are in use"
            _hold(lane, reason, host.memory.percent, self._memory_mark)
        if self._load_mark is not None:
            reason = f"waiting for the load to go below {self._load_mark:g} per cpu"
            load = None if host.load is None else host.load[0] / host.cpus
            _hold(lane, reason, load, self._load_mark)


def _hold(lane: Lane, reason: str, value: float | None, mark: float) -> None:
    if value is None:
        return
    if value > mark:
        lane.brake(reason)
    elif value <= mark * RELEASE and reason in lane.brakes:
        lane.release_brake(reason)
