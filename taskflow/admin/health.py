"""Whether this instance is alive, ready for requests, and well.

Rule: an answer is fit for anybody, since the route may be opened. It is made of fixed words,
numbers, and names of lanes and services; the errors behind it are in `/metrics` and in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from taskflow.admin.figures import Shared
from taskflow.engine import Engine
from taskflow.errors import StoreError

#: A service that failed so often in a row does not just have a bad moment.
MANY_FAILURES = 3
#: Looks at the processes that may be missed, and the seconds that are no delay whatever they are.
MISSED_LOOKS = 5
LEAST_STALE = 10.0
#: Seconds that asking the store may take: whoever probes does not wait long, either.
PATIENCE = 0.5
#: Seconds for which its answer is good.
FRESH = 1.0
#: Without these an instance is not ready.
NEEDED = frozenset({"engine", "store"})


class Check(BaseModel):
    """One thing that was looked at; ``detail`` says what is wrong, null if nothing is."""

    name: str
    ok: bool
    detail: str | None


class Health(BaseModel):
    """``live``: the event loop answers. ``ready``: tasks can be added, and run."""

    status: Literal["ok", "degraded", "down"]
    live: bool
    ready: bool
    checks: list[Check]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What is known of an instance; moments and durations in seconds."""

    running: bool = True
    stopping: bool = False
    #: Whether the store takes writes, and whether the last write to it failed.
    writable: bool = True
    last_write_failed: bool = False
    #: Services with the number of their failures in a row.
    failures: tuple[tuple[str, int], ...] = ()
    #: Lanes that take no work.
    refusing: tuple[str, ...] = ()
    #: How late the loop was, and what counts as a stall; None and 0 if nobody knows.
    lag: float | None = None
    stall: float = 0.0
    #: How old the last look at the processes is, None before the first; and how often one is due.
    sample_age: float | None = None
    sample_interval: float = 1.0


#: That the process answers at all says it.
ALIVE = Health(status="ok", live=True, ready=True, checks=[])


def judge(signs: Signs) -> Health:
    """What ``signs`` mean. Pure."""
    checks = [
        Check(name=name, ok=detail is None, detail=detail) for name, detail in _look_at(signs)
    ]
    bad = {check.name for check in checks if not check.ok}
    ready = not bad & NEEDED
    status: Literal["ok", "degraded", "down"] = "down"
    if ready:
        status = "degraded" if bad else "ok"
    return Health(status=status, live=True, ready=ready, checks=checks)


def _look_at(signs: Signs) -> Iterator[tuple[str, str | None]]:
    yield "engine", _engine(signs)
    yield "store", None if signs.writable else "it takes no writes"
    failed = signs.last_write_failed and signs.writable
    yield "last write", "it failed, and there was none since" if failed else None
    failing = [f"{name} ({n} times)" for name, n in signs.failures if n >= MANY_FAILURES]
    yield "services", f"fail in a row: {', '.join(failing)}" if failing else None
    refusing = ", ".join(signs.refusing)
    yield "lanes", f"take no work: {refusing}" if refusing else None
    late = signs.stall > 0 and signs.lag is not None and signs.lag > signs.stall
    lag = f"1 in 100 answers was {signs.lag:.3f} s late or more" if late else None
    yield "loop", lag
    old = signs.sample_age is not None and signs.sample_age > max(
        LEAST_STALE, MISSED_LOOKS * signs.sample_interval
    )
    yield "sampler", f"last looked {signs.sample_age:.0f} s ago" if old else None


def _engine(signs: Signs) -> str | None:
    if not signs.running:
        return "no tasks run here now"
    return "it stops" if signs.stopping else None


class Doctor:
    """Looks at one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writable = Shared(self._probe, engine.clock.monotonic, keep=FRESH)

    async def look(self) -> Signs:
        """How it is now; asks the store only if the last write to it failed."""
        engine = self.engine
        trouble = engine.outbox.trouble is not None
        sample = engine.sampler.latest
        return Signs(
            stopping=engine.dispatcher.stopping,
            writable=not trouble or await self._is_writable(),
            last_write_failed=trouble,
            failures=tuple((service.name, service.failures) for service in engine.services),
            refusing=tuple(name for name, lane in engine.lanes.items() if lane.refusing),
            lag=engine.stalls.lag.recent.quantile(0.99),
            stall=engine.stalls.threshold,
            sample_age=None if sample is None else engine.clock.now() - sample.at,
            sample_interval=engine.sampler.interval,
        )

    async def _is_writable(self) -> bool:
        # What waits to be written is tried again and again: the answer is known already.
        if not self.engine.outbox.empty:
            return False
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._writable.get()
        except TimeoutError:
            return False

    async def _probe(self) -> bool:
        # Nothing else would find out that the store is back: an instance that is not ready gets
        # no requests, so that it may have nothing to write. There is no task without an id, but
        # looking for it takes the lock that every write takes.
        try:
            await self.engine.store.cancel("", self.engine.clock.now())
        except StoreError:
            return False
        return True
