"""From committed task to recorded outcome: lane -> outcome -> decision -> record.

A task that this instance holds in memory is *live*: it has a place in a lane and is admitted by the
gate of its queue, and its row says that this instance owns it. Everything else waits on disk, owned
by nobody, and is pulled in order of priority when there is room. Lives on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from collections.abc import Callable, Mapping, Sequence

from executors.base import Lane
from executors.outcomes import Cancelled, Outcome
from taskflow.admission import Admission
from taskflow.attempt import Attempt
from taskflow.backlog import Backlog
from taskflow.canceller import Canceller
from taskflow.clock import Clock
from taskflow.endings import Endings
from taskflow.errors import TaskArgumentError
from taskflow.gate import Gate
from taskflow.outbox import Outbox
from taskflow.puller import Puller
from taskflow.quiet import Quiet
from taskflow.record import Committed, TaskRecord
from taskflow.recorder import Recorder, misfit
from taskflow.registry import Registry
from taskflow.states import FINAL, Event, TaskStatus
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
        gates: dict[str, Gate],
        backlog: Backlog,
        recorder: Recorder,
        clock: Clock,
        max_result_bytes: int,
        on_due: Callable[[float], None],
        on_room: Callable[[], None],
    ) -> None:
        self.instance = instance
        self._registry = registry
        self._outbox = outbox
        self._lanes = lanes
        self._backlog = backlog
        self._recorder = recorder
        # What an attempt reports goes straight where it belongs: this is the hottest path.
        self.started: Callable[[Attempt], None] = recorder.start
        self.journals = recorder.journals
        self._max_result_bytes = max_result_bytes
        self._on_due = on_due
        #: Told when a task gave its place back and somebody may wait for one.
        self._on_room = on_room
        #: The tasks this instance holds, by id.
        self.live: dict[str, Attempt] = {}
        self.endings = Endings()
        self.quiet = Quiet(self.live, outbox, store, clock)
        self.canceller = Canceller(
            live=self.live,
            lanes=lanes,
            store=store,
            outbox=outbox,
            endings=self.endings,
            clock=clock,
            forget=self._forget_cancelled,
        )
        self.admission = Admission(
            live=self.live,
            lanes=lanes,
            gates=gates,
            backlog=backlog,
            outbox=outbox,
            recorder=recorder,
        )
        self.puller = Puller(
            lanes,
            gates,
            backlog,
            registry,
            store,
            clock,
            launch=self._launch,
            fetch=self.admission.fetch,
            settle=outbox.flush,
            idle=self.quiet.notice,
        )
        self.admission.puller = self.puller
        self.stopping = False
        #: Writes that were refused because somebody else held the task by then.
        self.superseded = 0
        #: New tasks that enter their lanes in the next round of the loop.
        self._entering: list[Attempt] = []
        self._context = contextvars.copy_context()
        if gates:
            self.started = self.admission.start_gated

    # -- in --------------------------------------------------------------------------------

    def submit(self, attempts: Sequence[Attempt]) -> asyncio.Future[None]:
        """Commit new tasks and start them; the future is done when they are on disk.

        While the store is prompt, tasks start as their commit does, so that a short one is written
        once, with its end. A task that must not run unless it is stored waits for the commit.
        """
        prompt = self._outbox.is_prompt
        records = [attempt.record for attempt in attempts]
        future = self._outbox.submit(records, functools.partial(self._settled, attempts))
        for attempt in attempts:
            if self._admit(attempt) and prompt and not attempt.record.at_most_once:
                self._enter_soon(attempt)
        return future

    def submit_eager(self, attempt: Attempt) -> asyncio.Future[None]:
        """As `submit`, and start at once whatever the store does."""
        future = self._outbox.submit([attempt.record], functools.partial(self._settled, (attempt,)))
        if self._admit(attempt) and not attempt.record.at_most_once:
            self._enter(attempt)
        return future

    def _admit(self, attempt: Attempt) -> bool:
        """Keep a place for a new task in its lane, or leave it on disk for whoever has one.

        True if it may start before it is stored.
        """
        record = attempt.record
        attempt.reporter = self
        if record.status is not TaskStatus.PENDING:
            return False
        if self.stopping or not self.admission.take(record):
            self._backlog.moved(record.lane, record.queue, 1)
            return False
        record.owner = self.instance
        if record.idempotency_key is not None:
            self.admission.unconfirmed.add(record)
            return False  # only the store can tell whether it is new
        self.live[record.task_id] = attempt
        return True

    def _enter_soon(self, attempt: Attempt) -> None:
        """Enter it together with all others that are added in this round of the loop.

        Between two requests the code for this is out of the processor's caches each time, and takes
        four times as long.
        """
        attempt.entered = True
        if not self._entering:
            asyncio.get_running_loop().call_soon(self._enter_all, context=self._context)
        self._entering.append(attempt)

    def _enter_all(self) -> None:
        entering, self._entering = self._entering, []
        for attempt in entering:
            if attempt.superseded:
                self._lanes[attempt.record.lane].release()
                self._let_go(attempt.record)
            else:
                self._enter(attempt)

    def _settled(self, attempts: Sequence[Attempt], committed: Committed | None) -> None:
        for attempt in attempts:
            record = attempt.record
            if record.idempotency_key is not None:
                self.admission.unconfirmed.discard(record)
            if committed is None or record.task_id in committed.duplicates:
                self._withdraw(attempt)
                if committed is not None:
                    # Of two that came with one key at one time neither is the first: one task is
                    # on disk, and belongs to nobody yet.
                    self.puller.suspect(record.lane)
                continue
            if not attempt.definition.findable:
                self._registry.keep(record.task_id, attempt.definition)
            if record.idempotency_key is not None and record.task_id in committed.revived:
                record.lease, record.attempt, record.max_attempts = committed.revived[
                    record.task_id
                ]
            if attempt.entered:
                continue
            if record.owner is not None:
                self.live[record.task_id] = attempt
                self._enter(attempt)
            elif record.status is TaskStatus.SCHEDULED:
                self._on_due(record.run_at or 0.0)
            else:
                self.puller.expect(record.lane, record.queue, record.priority)
        self.quiet.notice()

    def _withdraw(self, attempt: Attempt) -> None:
        """The task is not stored, or not by us: it must not run, or not go on."""
        record = attempt.record
        if attempt.entered:
            if self.live.get(record.task_id) is attempt:
                attempt.superseded = True
                self._lanes[record.lane].cancel(attempt)
        elif record.owner is not None:
            self._forget(record)
            self.admission.give_back(record)
        elif record.status is TaskStatus.PENDING:
            self._backlog.moved(record.lane, record.queue, -1)

    def _enter(self, attempt: Attempt) -> None:
        """Give an attempt that has a reservation to its lane."""
        attempt.entered = True
        lane = self._lanes[attempt.record.lane]
        if attempt.cancelled:
            lane.release()
            self.ended(attempt, Cancelled("before it started"))
        elif self.stopping:
            lane.release()
            self._hand_back(attempt)
        else:
            if lane.name == "cpu":
                attempt.for_worker_process()
            try:
                lane.submit(attempt, reserved=True)
            except TypeError as error:  # it would not go to a worker process after all
                self._give_up(attempt.record, str(error))

    # -- what the lanes say ----------------------------------------------------------------

    def record_start(self, attempt: Attempt, proceed: Callable[[], None]) -> bool:
        """Commit that the task runs, then let it run (for tasks that may run only once)."""
        self._recorder.mark_started(attempt)

        async def commit() -> None:
            await self._outbox.flush()
            proceed()

        attempt.handle = asyncio.ensure_future(commit())
        return True

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """The attempt ended: record what that means, and see to what follows."""
        record = attempt.record
        if not attempt.superseded:
            decision = self._recorder.end(attempt, outcome, stopping=self.stopping)
            if record.status in FINAL:
                self._registry.forget(record.task_id)
            elif decision.run_at is not None:
                if decision.event is Event.RETRY:
                    self.quiet.remember(record.task_id, decision.run_at)
                self._on_due(decision.run_at)
        self._let_go(record, started=attempt.begun)

    def _let_go(self, record: TaskRecord, *, started: bool = False) -> None:
        """This instance is done with the task, for now or for good."""
        self._forget(record)
        if record.status in FINAL:
            self.endings.tell(record)
        if record.concurrency_key is not None:
            self.puller.expect_later(record)  # the next one with this key, once this is committed
        self.admission.leave_gate(record, started=started)
        self.puller.room_in(record.lane)
        self._on_room()
        if not self.live:
            self.quiet.notice()

    def _forget(self, record: TaskRecord) -> None:
        # The same id may be live in another attempt: that of the task this one is a duplicate of.
        held = self.live.get(record.task_id)
        if held is not None and held.record is record:
            del self.live[record.task_id]

    def _forget_cancelled(self, task_id: str) -> None:
        """A task was cancelled on disk."""
        self.quiet.retrying.pop(task_id, None)
        self._registry.forget(task_id)

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
        """Run a task that was taken from disk and has its place in the lane and in the gate."""
        self.quiet.retrying.pop(record.task_id, None)
        if self.canceller.is_unwanted(record.task_id) or self._outbox.is_recalled(record.task_id):
            self._lanes[record.lane].release()
            self._recorder.cancel(record)
            self._let_go(record)
            return
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
                self._give_up(record, str(error))
                return
            except Exception as error:  # validators of users may raise anything
                self._give_up(record, misfit(f"{type(error).__name__}: {error}"))
                return
        if definition.lane != record.lane:
            # The code moved the function to another lane since; the claim was bounded, so this is.
            self._lanes[record.lane].release()
            self.puller.former_lanes.setdefault(definition.lane, set()).add(record.lane)
            record.lane = definition.lane
            self._lanes[record.lane].reserved += 1
        attempt = Attempt(
            record, definition, args, kwargs, contextvars.Context(), self._max_result_bytes
        )
        attempt.reporter = self
        self.live[record.task_id] = attempt
        self._enter(attempt)

    def _give_up(self, record: TaskRecord, problem: str) -> None:
        self._lanes[record.lane].release()
        self._recorder.give_up(record, problem)
        self._let_go(record)

    # -- limits and the end ----------------------------------------------------------------

    def guard(self, gate: Gate) -> None:
        """A queue has limits from now on, or has others: keep to them at once."""
        self.started = self.admission.start_gated
        self.admission.guard(gate)

    async def stop(self, grace: float) -> None:
        """Start nothing more, give what runs ``grace`` seconds, hand back the rest."""
        self.stopping = True
        for lane in self._lanes.values():
            for call in lane.hand_back():
                assert isinstance(call, Attempt)
                self._hand_back(call)
        # Side by side: a store that does not answer must not cost another grace period.
        await asyncio.gather(
            self.puller.stop(grace), *(lane.drain(grace) for lane in self._lanes.values())
        )
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))

    def _hand_back(self, attempt: Attempt) -> None:
        """It has not started: anybody may take it."""
        self._recorder.hand_back(attempt.record)
        self._let_go(attempt.record)
