"""Fires schedules: each slot becomes one task, whichever instance comes first."""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskflow.backlog import Backlog
from taskflow.clock import Clock, as_datetime
from taskflow.factory import TaskFactory
from taskflow.puller import Puller
from taskflow.record import TaskRecord
from taskflow.registry import Registry
from taskflow.schedules.due import due
from taskflow.schedules.entry import Entry
from taskflow.schedules.rows import Fired, Firing, Kind, ScheduleRow
from taskflow.schedules.timetable import Timetable
from taskflow.service import Service
from taskflow.states import TaskStatus
from taskflow.stores.base import Store

log = logging.getLogger(__name__)

#: Schedules that are looked at without letting anything else run in between, and written in one
#: transaction.
SLICE = 50
#: Seconds until a schedule is tried again whose task could not be made.
RETRY = 30.0
#: An instance that is so many seconds late was held up: others may have gone on.
LATE = 10.0
#: A wall clock that falls behind by so many seconds was set back.
STEP = 1.0
#: Schedules that one line of the log names.
MOST_NAMED = 5
#: Instances that start within so many seconds of each other are one deployment.
DEPLOYMENT = 60.0


@dataclass(slots=True)
class Plan:
    """What is to be fired of one schedule, and how far that deals with it."""

    entry: Entry
    firings: list[Firing]
    position: float
    #: Whether slots were missed that are not made up for.
    dropped: bool = False


class Scheduler(Service):
    """Looks at the clock at least once a second, and fires whatever is due.

    It never sleeps until a moment: a wall clock that was set is noticed by then. Nothing it decides
    needs agreement: all instances fire, and the store lets the first one.
    """

    LOOK = 1.0
    MOST_PAUSE = 1.0

    def __init__(
        self,
        *,
        store: Store,
        timetable: Timetable,
        registry: Registry,
        factory: TaskFactory,
        backlog: Backlog,
        puller: Puller,
        clock: Clock,
        on_due: Callable[[float], None],
    ) -> None:
        super().__init__("scheduler")
        self._store = store
        self.timetable = timetable
        self._registry = registry
        self._factory = factory
        self._backlog = backlog
        self._puller = puller
        self._clock = clock
        self._on_due = on_due
        self.entries: dict[str, Entry] = {}
        #: How many tasks it has added.
        self.added = 0
        self._heap: list[tuple[float, str]] = []
        #: How many of the declared schedules the store knows.
        self._told = -1
        self._stamp: object = None
        self._stale = True
        self._started = False
        #: When this instance has first looked at the clock: the slot of runs at the start.
        self._born: float | None = None
        self._read_at = clock.now(), clock.monotonic()

    async def turn(self) -> float:
        recovered = self.failures > 0
        await self._declare()
        if self._stale:
            await self._load()
        now = self._clock.now()
        if self._was_set_back(now):
            log.warning("the wall clock was set back: schedules go on from what it says now")
            for number, entry in enumerate(self.entries.values(), 1):
                entry.advance(min(entry.position, now))
                if number % SLICE == 0:
                    await asyncio.sleep(0)
            self._rebuild()
        elif self._heap and self._heap[0][0] < now - LATE:
            await self._learn(now)
        if not self._started:
            await self._start_up(now)
            self._started = True
        await self._fire_due(now)
        if recovered:
            self._puller.expect_all()  # what failed may have been written all the same
        if self._stale:
            return 0.0
        next_ = self._heap[0][0] if self._heap else float("inf")
        return min(max(next_ - self._clock.now(), 0.0), self.LOOK)

    async def reload(self) -> None:
        """Schedules have changed: look at all of them again, and return when that is done."""
        self._stale = True
        await self.look()

    def entry(self, row: ScheduleRow) -> Entry:
        """A stored schedule as this instance sees it now."""
        declared = self.timetable.get(row.name)
        func_name = row.func_name if declared is None else declared.func_name
        definition = self._registry.find("", func_name)
        spec = None if declared is None else declared.spec
        known = self.entries.get(row.name)
        if known is not None and known.is_of(row, definition, spec):
            known.row = row
            return known
        return Entry(row, definition, self._clock.now(), spec)

    async def notice(self) -> None:
        """Another instance has written something; it may be about schedules."""
        if await self._store.schedules_stamp() != self._stamp:
            self._stale = True
            self.wake()

    # -- what there is -----------------------------------------------------------------------

    async def _declare(self) -> None:
        """Tell the store what the code declares, also while the app runs."""
        declared = list(self.timetable)
        if len(declared) == self._told:
            return
        rows = [(one.name, one.func_name, one.spec.dump()) for one in declared]
        await self._store.declare_schedules(rows, self._clock.now())
        self._told = len(declared)
        self._stale = True

    async def _load(self) -> None:
        self._stale = False
        try:
            self._stamp = await self._store.schedules_stamp()
            rows = await self._store.schedules()
        except BaseException:
            self._stale = True
            raise
        entries: dict[str, Entry] = {}
        for number, row in enumerate(rows, 1):
            entries[row.name] = self.entry(row)
            if number % SLICE == 0:
                await asyncio.sleep(0)
        self.entries = entries
        if any(one.name not in entries for one in self.timetable):
            # Somebody whose code does not declare it has removed it.
            self._told = -1
            self._stale = True
        self._rebuild()

    async def _learn(self, now: float) -> None:
        """See what others have fired while this instance did not look for a while."""
        for row in await self._store.schedules():
            entry = self.entries.get(row.name)
            if entry is not None and entry.position < row.cursor <= now:
                entry.advance(row.cursor)
        self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [
            (entry.next, name) for name, entry in self.entries.items() if entry.next is not None
        ]
        heapq.heapify(self._heap)

    def _was_set_back(self, now: float) -> bool:
        wall, monotonic = self._read_at
        self._read_at = now, self._clock.monotonic()
        return now - wall < self._read_at[1] - monotonic - STEP

    # -- what is due -------------------------------------------------------------------------

    async def _fire_due(self, now: float) -> None:
        names: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            names.append(heapq.heappop(self._heap)[1])
        again = dict.fromkeys(names, 0.0)
        dropped: list[str] = []
        try:
            for start in range(0, len(names), SLICE):
                plans: list[Plan] = []
                for name in names[start : start + SLICE]:
                    plan = self._plan(self.entries[name], now)
                    if plan is None:
                        again[name] = now + RETRY
                    else:
                        plans.append(plan)
                await self._fire(plans)
                dropped += [plan.entry.row.name for plan in plans if plan.dropped]
        finally:
            _tell_of_missed(dropped)
            for name in names:
                slot = self.entries[name].next
                if slot is not None:
                    heapq.heappush(self._heap, (max(slot, again[name]), name))

    def _plan(self, entry: Entry, now: float) -> Plan | None:
        """What is to be fired of one schedule; None if its task cannot be made."""
        assert entry.rule is not None
        assert entry.spec is not None
        found = due(entry.rule, entry.position, now, entry.spec.catch_up)
        try:
            firings = [self.firing(entry, Kind.SLOT, slot, now) for slot in found.slots]
        except Exception as error:  # a key of users may raise anything
            _tell_of_failure(entry, error)
            return None
        entry.fail(None)
        return Plan(entry, firings, found.position, dropped=found.dropped)

    async def _start_up(self, now: float) -> None:
        """Fire what is to run when the app starts; a repetition is the same wish."""
        born = self._born = self._born or now
        plans: list[Plan] = []
        for entry in self.entries.values():
            if entry.problem is None and entry.spec is not None and entry.spec.run_on_startup:
                try:
                    one = self.firing(entry, Kind.START, int(born), born, since=born - DEPLOYMENT)
                except Exception as error:  # see `_plan`
                    _tell_of_failure(entry, error)
                else:
                    plans.append(Plan(entry, [one], entry.position))
        for start in range(0, len(plans), SLICE):
            await self._fire(plans[start : start + SLICE])

    def firing(
        self, entry: Entry, kind: Kind, slot: int, now: float, *, since: float | None = None
    ) -> Firing:
        """The wish to start the task of a schedule."""
        assert entry.spec is not None
        assert entry.definition is not None
        record = self._factory.scheduled(entry.definition, entry.spec.args, now)
        tags = {"schedule": entry.row.name}
        if kind is Kind.SLOT:
            tags["slot"] = as_datetime(slot).isoformat()
            starts_at = entry.starts_at(slot)
            if starts_at > now:
                record.run_at = starts_at
                record.status = TaskStatus.SCHEDULED
        record.tags = json.dumps(tags)
        if entry.spec.overlap == "queue" and record.concurrency_key is None:
            record.concurrency_key = f"schedule:{entry.row.name}"
        return Firing(
            schedule=entry.row.name,
            version=entry.row.version,
            kind=kind,
            slot=slot,
            at=now,
            record=record,
            skips_overlap=entry.spec.overlap == "skip" and kind is not Kind.HAND,
            since=since,
        )

    # -- firing ------------------------------------------------------------------------------

    async def _fire(self, plans: Sequence[Plan]) -> None:
        firings = [firing for plan in plans for firing in plan.firings]
        answers = iter(await self._store.fire(firings) if firings else ())
        for plan in plans:
            results = [next(answers) for _ in plan.firings]
            for firing, result in zip(plan.firings, results, strict=True):
                self.fired(firing, result)
            if Fired.CHANGED in results or Fired.PAUSED in results:
                self._stale = True  # somebody changed it just now: look at it again
            elif plan.position > plan.entry.position:
                plan.entry.advance(plan.position)

    def fired(self, firing: Firing, result: Fired) -> None:
        """The store has answered."""
        if result is Fired.FIRED:
            self.added += 1
            self._expect(firing.record)
        elif result is Fired.OVERLAPS:
            log.info("schedule %r: its last task is not over, a run is left out", firing.schedule)

    def _expect(self, record: TaskRecord) -> None:
        if record.status is TaskStatus.SCHEDULED:
            self._on_due(record.run_at or 0.0)
        else:
            self._backlog.moved(record.lane, record.queue, 1)
            self._puller.expect(record.lane, record.queue, record.priority)


def _tell_of_failure(entry: Entry, error: Exception) -> None:
    problem = f"its task cannot be made: {type(error).__name__}: {error}"
    if entry.trouble != problem:
        log.warning("schedule %r: %s", entry.row.name, problem)
    entry.fail(problem)


def _tell_of_missed(names: Sequence[str]) -> None:
    if names:
        log.warning(
            "%d schedules missed runs that are not made up for (catch_up=): %s%s",
            len(names),
            ", ".join(map(repr, names[:MOST_NAMED])),
            ", ..." if len(names) > MOST_NAMED else "",
        )
