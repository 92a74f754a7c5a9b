"""From committed task to recorded outcome: lane -> outcome -> decision -> record.

A task that this instance holds in memory is *live*: it has a place in a lane, and its row says
that this instance owns it. Everything else waits on disk, owned by nobody, and is pulled in order of
priority when a lane has room. Lives on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from collections.abc import Callable, Mapping, Sequence

from executors.base import Lane
from executors.outcomes import Cancelled, Outcome, Raised, Returned
from taskflow.attempt import Attempt
from taskflow.child import Reply
from taskflow.clock import Clock
from taskflow.codec import encode_result
from taskflow.context import TaskContext, current_context
from taskflow.decide import SUCCEEDED, Decision, decide, obey
from taskflow.errors import TaskArgumentError
from taskflow.outbox import Outbox
from taskflow.puller import Puller
from taskflow.record import AttemptRecord, Committed, LogLine, TaskRecord
from taskflow.registry import Registry
from taskflow.states import FINAL, TIMED, Event, TaskStatus, next_status
from taskflow.stores.base import Store

log = logging.getLogger(__name__)


class Dispatcher:
    """Gives tasks to lanes and writes down what comes of them."""

    def __init__(
        self,
        *,
        instance: str,
        registry: Registry,
        store: Store,
        outbox: Outbox,
        lanes: Mapping[str, Lane],
        clock: Clock,
        draw: Callable[[], float],
        max_crashes: int,
        max_result_bytes: int,
        on_due: Callable[[float], None],
    ) -> None:
        self.instance = instance
        self._registry = registry
        self._store = store
        self._outbox = outbox
        self._lanes = lanes
        self._clock = clock
        self._draw = draw
        self._max_crashes = max_crashes
        self._max_result_bytes = max_result_bytes
        self._on_due = on_due
        #: The tasks this instance holds, by id.
        self.live: dict[str, Attempt] = {}
        #: Tasks that failed here and wait for their next attempt: id -> when.
        self.retrying: dict[str, float] = {}
        self.puller = Puller(
            lanes, registry, store, clock, launch=self._launch, idle=self._notice
        )
        self.stopping = False
        #: Writes that were refused because somebody else held the task by then.
        self.superseded = 0
        self._waiters: dict[str, list[asyncio.Future[TaskRecord]]] = {}
        self._moved = asyncio.Event()

    # -- in --------------------------------------------------------------------------------

    def submit(self, attempts: Sequence[Attempt]) -> asyncio.Future[None]:
        """Commit new tasks and start them; the future is done when they are on disk."""
        records = []
        for attempt in attempts:
            record = attempt.record
            records.append(record)
            attempt.dispatcher = self
            if record.status is TaskStatus.PENDING and self._has_room(record.lane):
                record.owner = self.instance
                if record.idempotency_key is None:
                    self.live[record.task_id] = attempt
        return self._outbox.submit(records, functools.partial(self._settled, attempts))

    def submit_eager(self, attempt: Attempt) -> asyncio.Future[None]:
        """As `submit`, but start at once where there is a place; it is stored all the same.

        A task with an idempotency key may be there already, so that only the store can tell
        whether it is to be run: it is never started before it is committed.
        """
        record = attempt.record
        if (
            record.status is not TaskStatus.PENDING
            or record.idempotency_key is not None
            or self.stopping
            or not self._has_room(record.lane)
        ):
            return self.submit((attempt,))
        attempt.dispatcher = self
        record.owner = self.instance
        self.live[record.task_id] = attempt
        future = self._outbox.submit([record], lambda _committed: None)
        self._enter(attempt)
        return future

    def _has_room(self, lane: str) -> bool:
        # What already waits on disk goes first.
        return (
            not self.stopping
            and not self.puller.has_backlog(lane)
            and self._lanes[lane].reserve()
        )

    def _notice(self) -> None:
        """Something moved: whoever waits for quiet looks again."""
        self._moved.set()

    def _settled(self, attempts: Sequence[Attempt], committed: Committed | None) -> None:
        for attempt in attempts:
            record = attempt.record
            if committed is None or record.task_id in committed.duplicates:
                if record.owner is not None:
                    self._lanes[record.lane].release()
                    if record.idempotency_key is None:
                        del self.live[record.task_id]
                continue
            revived = committed.revived.get(record.task_id)
            if revived is not None:
                record.lease, record.attempt, record.max_attempts = revived
            self._registry.keep(record.task_id, attempt.definition)
            if record.owner is not None:
                self.live[record.task_id] = attempt
                self._enter(attempt)
            elif record.run_at is not None:
                self._on_due(record.run_at)
            else:
                self.puller.expect(record.lane)
        self._notice()

    def _enter(self, attempt: Attempt) -> None:
        """Give an attempt that has a reservation to its lane."""
        lane = self._lanes[attempt.record.lane]
        if attempt.cancelled:
            lane.release()
            self.ended(attempt, Cancelled("before it started"))
        elif self.stopping:
            lane.release()
            self._hand_back(attempt)
        else:
            if lane.name == "cpu":
                attempt.for_worker_process(self._max_result_bytes)
            lane.submit(attempt, reserved=True)

    # -- what the lanes say ----------------------------------------------------------------

    def record_start(self, attempt: Attempt, proceed: Callable[[], None]) -> bool:
        """Commit that the task runs, then let it run (for tasks that may run only once)."""
        self._mark_started(attempt)

        async def commit() -> None:
            await self._outbox.flush()
            proceed()

        attempt.handle = asyncio.ensure_future(commit())
        return True

    def started(self, attempt: Attempt) -> None:
        """The attempt has its slot and starts now."""
        record = attempt.record
        attempt.begun = True
        if record.status is not TaskStatus.RUNNING:
            self._mark_started(attempt)
        context = attempt.context
        if context is not None:
            context.run(
                current_context.set,
                TaskContext(
                    record.task_id, record.func_name, record.attempt, attempt, self._write_line
                ),
            )

    def _mark_started(self, attempt: Attempt) -> None:
        record = attempt.record
        record.status = next_status(record.status, Event.START)
        record.attempt += 1
        record.started_at = self._clock.now()
        record.instance = self.instance
        record.error = record.stacktrace = None
        self._outbox.touch(record)

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """The attempt ended: decide what that means, and record it."""
        record = attempt.record
        if attempt.superseded:
            self._let_go(record)
            return
        decision = self._decide(attempt, outcome)
        now = self._clock.now()
        record.status = next_status(record.status, decision.event)
        record.error = decision.error
        record.stacktrace = decision.stacktrace
        record.owner = None
        if decision is not SUCCEEDED:
            self._after_trouble(attempt, decision, outcome, now)
        if record.status in FINAL:
            record.ended_at = now
            self._registry.forget(record.task_id)
        self._outbox.touch_end(record)
        self._let_go(record)

    def _decide(self, attempt: Attempt, outcome: Outcome) -> Decision:
        record = attempt.record
        policy = attempt.definition.policy
        if type(outcome) is Returned:
            value = outcome.value
            if type(value) is not Reply:
                record.result, record.result_error = encode_result(value, self._max_result_bytes)
                return SUCCEEDED
            for at, level, message in value.lines:
                self._outbox.add_log(LogLine(record.task_id, record.attempt, at, level, message))
            record.result, record.result_error = value.result, value.result_error
            if value.misfit is not None:
                return Decision(Event.FAIL, "failed", _misfit(value.misfit))
            if value.wish is not None:
                now = self._clock.now()
                return obey(value.wish, record, policy, now=now, draw=self._draw)
            if value.failure is not None:
                outcome = Raised(value.failure)
        return decide(
            outcome,
            record,
            policy,
            now=self._clock.now(),
            draw=self._draw,
            max_crashes=self._max_crashes,
            stopping=self.stopping and not attempt.revoked,
            started=attempt.begun,
        )

    def _after_trouble(
        self, attempt: Attempt, decision: Decision, outcome: Outcome, now: float
    ) -> None:
        """Bookkeeping of everything but a plain success."""
        record = attempt.record
        if decision.crashed:
            record.crashes += 1
        if record.status not in FINAL:
            # The next attempt will overwrite the row, so that this one goes into the history.
            self._outbox.add_attempt(
                AttemptRecord(
                    task_id=record.task_id,
                    number=0,
                    started_at=record.started_at or now,
                    ended_at=now,
                    outcome=decision.outcome,
                    error=decision.error,
                    stacktrace=decision.stacktrace,
                    instance=record.instance,
                )
            )
            record.started_at = None
            record.run_at = decision.run_at
        if not decision.spent:
            record.attempt -= 1
        if decision.run_at is not None:
            if decision.event is Event.RETRY:
                self.retrying[record.task_id] = decision.run_at
            self._on_due(decision.run_at)
        _report(record, decision, outcome)

    def _write_line(self, context: TaskContext, level: str, message: str) -> None:
        now = self._clock.now()
        self._outbox.add_log(LogLine(context.task_id, context.attempt, now, level, message))

    def _let_go(self, record: TaskRecord) -> None:
        """This instance is done with the task, for now or for good."""
        self.live.pop(record.task_id, None)
        if record.status in FINAL and self._waiters:
            for waiter in self._waiters.pop(record.task_id, ()):
                if not waiter.done():
                    waiter.set_result(record)
        self.puller.room_in(record.lane)
        if not self.live:
            self._notice()

    def refused(self, task_ids: frozenset[str]) -> None:
        """The store refused to write these: somebody else holds them now."""
        self.superseded += len(task_ids)
        for task_id in task_ids:
            attempt = self.live.get(task_id)
            log.warning("task %s is held by another instance now; dropped here", task_id)
            if attempt is not None:
                attempt.superseded = True
                self._lanes[attempt.record.lane].cancel(attempt)

    # -- from disk -------------------------------------------------------------------------

    def _launch(self, record: TaskRecord) -> None:
        """Run a task that was taken from disk and has a reservation in its lane."""
        self.retrying.pop(record.task_id, None)
        definition = self._registry.find(record.task_id, record.func_name)
        if definition is None:
            problem = (
                f"{record.func_name!r} lived only in the process that added the task, which is "
                "gone: use a function at the top level of a module"
            )
            self._give_up(record, problem)
            return
        args: tuple[object, ...] = ()
        kwargs: dict[str, object] = {}
        if definition.lane != "cpu":
            try:
                args, kwargs = definition.codec.decode(record.args)
            except TaskArgumentError as error:
                self._give_up(record, _misfit(str(error)))
                return
        if definition.lane != record.lane:
            # The code moved the function to another lane since; the claim was bounded, so this is.
            self._lanes[record.lane].release()
            record.lane = definition.lane
            self._lanes[record.lane].reserved += 1
        attempt = Attempt(record, definition, args, kwargs, contextvars.Context())
        attempt.dispatcher = self
        self.live[record.task_id] = attempt
        self._enter(attempt)

    def _give_up(self, record: TaskRecord, problem: str) -> None:
        self._lanes[record.lane].release()
        record.status = next_status(record.status, Event.FAIL)
        record.error = problem
        record.ended_at = self._clock.now()
        record.owner = None
        self._outbox.touch_end(record)
        log.error("task %s (%s) failed: %s", record.func_name, record.task_id, problem)
        self._let_go(record)

    # -- from people -----------------------------------------------------------------------

    async def cancel(self, task_id: str) -> TaskStatus | None:
        """Cancel a task that waits anywhere or runs here; its status afterwards, None if unknown."""
        attempt = self.live.get(task_id)
        if attempt is None:
            status = await self._store.cancel(task_id, self._clock.now())
            if status is TaskStatus.CANCELLED:
                self.retrying.pop(task_id, None)
                self._registry.forget(task_id)
            return status
        attempt.revoked = True
        lane = self._lanes[attempt.record.lane]
        ended = self.when_final(task_id)
        if not lane.cancel(attempt):
            attempt.cancelled = True  # not committed yet: it ends when it would enter the lane
        record = await ended
        await self._outbox.flush()
        return record.status

    def when_final(self, task_id: str) -> asyncio.Future[TaskRecord]:
        """Done when the task ends in this instance; cancel it when you no longer care."""
        waiter: asyncio.Future[TaskRecord] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(task_id, [])
        # Those who gave up are swept out by the next who asks.
        waiters[:] = [other for other in waiters if not other.done()]
        waiters.append(waiter)
        return waiter

    async def idle(self) -> None:
        """Return when this instance holds nothing, its own retries included, and all is written."""
        while True:
            self._moved.clear()
            await self._outbox.flush()
            if not self.live and not self.puller.busy:
                if self._outbox.empty and not await self._retries_left():
                    return
                if self._outbox.empty:
                    await self._wait_a_little()
                continue
            await self._wait_a_little()

    async def _wait_a_little(self) -> None:
        try:
            async with asyncio.timeout(0.1):
                await self._moved.wait()
        except TimeoutError:
            return

    async def _retries_left(self) -> bool:
        """Whether tasks that failed here still wait; a sibling may have taken an overdue one."""
        now = self._clock.now()
        for task_id, due in list(self.retrying.items()):
            if due < now - 2.0:
                record = await self._store.get(task_id)
                if record is None or record.status not in TIMED:
                    self.retrying.pop(task_id, None)
        return bool(self.retrying)

    # -- out -------------------------------------------------------------------------------

    async def stop(self, grace: float) -> None:
        """Start nothing more, give what runs ``grace`` seconds, hand back the rest."""
        self.stopping = True
        await self.puller.stop(grace)
        for lane in self._lanes.values():
            for call in lane.hand_back():
                assert isinstance(call, Attempt)
                self._hand_back(call)
        await asyncio.gather(*(lane.drain(grace) for lane in self._lanes.values()))
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))

    def _hand_back(self, attempt: Attempt) -> None:
        """It has not started: anybody may take it."""
        record = attempt.record
        record.status = next_status(record.status, Event.HAND_BACK)
        record.owner = None
        self._outbox.touch_end(record)
        self._let_go(record)


def _misfit(problem: str) -> str:
    return f"the stored arguments no longer fit: {problem}"


def _report(record: TaskRecord, decision: Decision, outcome: Outcome) -> None:
    """Failures belong in the log of the app, where everything that watches logs can see them."""
    match decision.event:
        case Event.FAIL:
            error = outcome.failure.exception if isinstance(outcome, Raised) else None
            log.error(
                "task %s (%s) failed after %d attempts: %s%s",
                record.func_name,
                record.task_id,
                record.attempt,
                record.error,
                f"\n{record.stacktrace}" if error is None and record.stacktrace else "",
                exc_info=error,
            )
        case Event.RETRY:
            log.warning(
                "task %s (%s) failed in attempt %d of %d and will be tried again: %s",
                record.func_name,
                record.task_id,
                record.attempt,
                record.max_attempts,
                record.error,
            )
        case Event.INTERRUPT:
            log.error("task %s (%s) was interrupted", record.func_name, record.task_id)
        case _:
            log.debug("task %s (%s): %s", record.func_name, record.task_id, decision.event)
