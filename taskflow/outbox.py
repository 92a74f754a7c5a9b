"""The outbox: everything that must reach the store, committed in groups by one writer.

While one commit is under way, all that is added meanwhile gathers for the next. Work that somebody
waits for (new tasks, a flush) is committed at once; what nobody waits for (starts, ends, logs) is
committed together, `LAZY_DELAY` after the first of it. Lives on the event loop's thread, `add_log`
excepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable

from taskflow.clock import Clock
from taskflow.commit_group import Group, Settled, Submission, Tally, fail_future
from taskflow.errors import StoreError, StoreUnavailableError
from taskflow.record import AttemptRecord, Committed, LogLine, TaskRecord
from taskflow.states import Event, can, next_status
from taskflow.stores.base import Store

log = logging.getLogger(__name__)

#: Seconds that a start or an end may wait for company. A crash repeats what ended meanwhile.
LAZY_DELAY = 0.004
#: At most so many rows in one transaction, so that nobody waits long behind a crowd.
MOST_ROWS = 512
#: A commit that takes longer than so many seconds is no longer taken for granted.
SLOW = 0.05
#: Seconds between two tries while the store is away.
PAUSE = (0.05, 1.0)


class Outbox:
    """Gathers writes and commits them in groups."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        enqueue_timeout: float,
        eager_ends: int,
        on_refused: Callable[[frozenset[str]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._timeout = enqueue_timeout
        #: So many unwritten ends are written without delay: what a crash repeats stays bounded.
        self._eager_ends = eager_ends
        self._on_refused = on_refused
        self._submissions: deque[Submission] = deque()
        self._in_flight: Group | None = None
        #: When the commit under way began.
        self._began = 0.0
        #: New tasks that no commit has taken along yet: their insert will say all there is to say.
        self._unborn: set[TaskRecord] = set()
        self._dirty: dict[TaskRecord, None] = {}
        self._attempts: list[AttemptRecord] = []
        self._logs: deque[LogLine] = deque()
        self._flushers: list[asyncio.Future[None]] = []
        #: Tasks that were committed after their caller had been told that they were not.
        self._recalls: dict[str, None] = {}
        #: Tasks of the commit under way whose caller has been told so; it may still succeed.
        self._late: set[str] = set()
        self._ends = 0
        #: Whether what nobody waits for is to be written now, too.
        self._due = False
        self._work = asyncio.Event()
        self._lazy: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._closing = False
        self._log_poked = False
        self._loop = asyncio.get_running_loop()
        self._writer: asyncio.Task[None] | None = None
        #: The last error of the store, None while it works.
        self.trouble: StoreError | None = None
        self.commits = 0
        self.tally = Tally()

    def start(self) -> None:
        """Begin to write."""
        self._writer = self._loop.create_task(self._write(), name="taskflow-outbox")

    # -- what others put in ------------------------------------------------------------------

    def submit(self, records: list[TaskRecord], settled: Settled) -> asyncio.Future[None]:
        """Commit new tasks at once; ``settled`` hears how that went.

        The future raises `StoreUnavailableError` if that takes longer than the enqueue timeout;
        tasks that were committed after that are withdrawn.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        expires = self._clock.monotonic() + self._timeout
        self._submissions.append(Submission(records, future, expires, settled))
        self._unborn.update(records)
        self._work.set()
        if self._expiry is None:
            self._expiry = self._loop.call_later(self._timeout, self._expire)
        return future

    def touch(self, record: TaskRecord) -> None:
        """A task changed: write its row soon."""
        if record not in self._unborn:
            self._dirty[record] = None
            if self._lazy is None:
                self._lazy = self._loop.call_later(LAZY_DELAY, self._wake)

    def touch_end(self, record: TaskRecord) -> None:
        """An attempt ended: as `touch`, and at once when many ends are unwritten."""
        self.touch(record)
        self._ends += 1
        if self._ends >= self._eager_ends:
            self._due = True
            self._work.set()

    def add_attempt(self, attempt: AttemptRecord) -> None:
        """An entry of a task's history; goes with the `touch` of its task."""
        self._attempts.append(attempt)

    def add_log(self, line: LogLine) -> None:
        """A line of a task's log; from any thread."""
        self._logs.append(line)
        if not self._log_poked:
            self._log_poked = True
            try:
                self._loop.call_soon_threadsafe(self._poke)
            except RuntimeError:  # the loop is closed; the thread outlived the app
                return

    def is_recalled(self, task_id: str) -> bool:
        """Whether a task is on disk although its caller was told that it is not."""
        return task_id in self._recalls or task_id in self._late

    def is_unborn(self, record: TaskRecord) -> bool:
        """Whether no commit has taken the new task along yet."""
        return record in self._unborn

    async def flush(self) -> None:
        """Return when everything added so far is committed."""
        if self.empty:
            return
        future: asyncio.Future[None] = self._loop.create_future()
        self._flushers.append(future)
        self._work.set()
        await future

    async def close(self, timeout: float) -> None:
        """Write what is left, waiting at most ``timeout`` seconds for the store."""
        self._closing = True
        self._work.set()
        if self._writer is not None:
            done, _ = await asyncio.wait({self._writer}, timeout=timeout)
            if not done:
                self._writer.cancel()
                await asyncio.wait({self._writer}, timeout=1.0)
                log.error(
                    "the store did not take the last %d records within %.1f s; tasks that ended "
                    "meanwhile will run again",
                    len(self._dirty),
                    timeout,
                )
        for timer in (self._lazy, self._expiry):
            if timer is not None:
                timer.cancel()
        error = StoreUnavailableError("the app stops; the task was not stored")
        under_way = self._in_flight.submissions if self._in_flight is not None else []
        for submission in (*under_way, *self._submissions):
            self._fail(submission, error)
        for future in self._flushers:
            fail_future(future, error)

    @property
    def is_prompt(self) -> bool:
        """Whether the store is expected to take at once what is added now."""
        return self.trouble is None and (
            self._in_flight is None or self._clock.monotonic() - self._began < SLOW
        )

    @property
    def empty(self) -> bool:
        """Whether everything is committed."""
        return self._in_flight is None and not self._anything()

    # -- the writer --------------------------------------------------------------------------

    def _anything(self) -> bool:
        gathered = (self._submissions, self._dirty, self._attempts, self._logs)
        return any(gathered) or bool(self._flushers or self._recalls)

    def _wake(self) -> None:
        self._lazy = None
        self._due = True
        self._work.set()

    def _poke(self) -> None:
        self._log_poked = False
        if self._lazy is None:
            self._lazy = self._loop.call_later(LAZY_DELAY, self._wake)

    async def _write(self) -> None:
        pause = PAUSE[0]
        while not self._closing or self._anything():
            if not self._closing:
                await self._work.wait()
            self._work.clear()
            if await self._commit_next():
                pause = PAUSE[0]
                continue
            # New work retries at once, so that a request hears soon that the store is back.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._work.wait()
            self._work.set()
            pause = min(pause * 2, PAUSE[1])

    async def _commit_next(self) -> bool:
        """Commit one group; False if the store is away, with everything kept that must be."""
        group = self._gather()
        self._in_flight = group
        self._began = self._clock.monotonic()
        try:
            batch = group.batch()
            committed = await self._store.commit(batch) if batch else Committed()
        except StoreUnavailableError as error:
            self._put_back(group)
            self._set_trouble(error)
            for submission in group.submissions:
                self._fail(submission, error)
            return False
        except asyncio.CancelledError:
            self._put_back(group)
            raise
        except Exception as error:
            await self._isolate(group, error)
        else:
            if batch:
                self.commits += 1
                self.tally.note(group, committed, self._clock.monotonic() - self._began)
                self.clear_trouble()
            self._settle(group.submissions, committed)
        finally:
            self._in_flight = None
            self._late.clear()
        if not await self._recall_all():
            self._flushers = group.flushers + self._flushers
            return False
        for future in group.flushers:
            if not future.done():
                future.set_result(None)
        return True

    def _takes_all(self, submissions: list[Submission]) -> bool:
        """Whether starts, ends and logs go with these new tasks."""
        # A commit of new tasks alone is a third shorter, and a response waits for it. With a key
        # it may be about a task whose end is not written yet.
        return (
            self._due
            or self._closing
            or bool(self._flushers)
            or any(r.idempotency_key is not None for s in submissions for r in s.records)
        )

    def _gather(self) -> Group:
        submissions: list[Submission] = []
        rows = 0
        while self._submissions and rows < MOST_ROWS:
            submission = self._submissions.popleft()
            submissions.append(submission)
            rows += len(submission.records)
            self._unborn.difference_update(submission.records)
        if submissions and not self._takes_all(submissions):
            return Group(submissions, [], [], [])
        if self._lazy is not None:
            self._lazy.cancel()
            self._lazy = None
        # A line must not come before its task, which may be among those that are left.
        self._due = bool(self._submissions)
        lines = 0 if self._submissions else min(len(self._logs), MOST_ROWS)
        logs = [self._logs.popleft() for _ in range(lines)]
        group = Group(submissions, list(self._dirty), self._attempts, logs)
        self._dirty.clear()
        self._attempts = []
        self._ends = 0
        if self._submissions or self._logs:
            self._work.set()  # too much for one transaction: the rest follows at once
        else:
            group.flushers, self._flushers = self._flushers, []
        return group

    def _settle(self, submissions: list[Submission], committed: Committed) -> None:
        if committed.refused:
            self._on_refused(committed.refused)
        late: list[Submission] = []
        for submission in submissions:
            if submission.failed:
                late.append(submission)
            else:
                submission.succeed(committed)
        for submission in late:
            self._withdraw(submission, committed)

    def _withdraw(self, submission: Submission, committed: Committed) -> None:
        """Whoever added these was told that they are not stored; so they must not run."""
        for record in submission.records:
            if record.task_id in committed.duplicates:
                continue
            if not can(record.status, Event.CANCEL):
                self.touch(record)  # it was over before anybody knew
            elif record.owner is None and record not in self._dirty:
                self._recalls[record.task_id] = None  # its row has no owner who could write it
            else:
                record.status = next_status(record.status, Event.CANCEL)
                record.error = "withdrawn: the store took too long, and the caller was told so"
                record.ended_at = self._clock.now()
                record.owner = None
                self.touch(record)

    async def _recall_all(self) -> bool:
        """Cancel on disk what counts as not added; False if the store is away again."""
        for task_id in tuple(self._recalls):
            try:
                await self._store.cancel(task_id, self._clock.now())
            except StoreUnavailableError as error:
                self._set_trouble(error)
                return False
            except StoreError:
                log.exception("task %s counts as not added, but could not be cancelled", task_id)
            del self._recalls[task_id]
        return True

    def _fail(self, submission: Submission, error: Exception) -> None:
        submission.fail(error)
        for record in submission.records:
            # There is no row, so nothing to change in it.
            self._dirty.pop(record, None)
            self._unborn.discard(record)

    async def _isolate(self, group: Group, error: Exception) -> None:
        """Something in the group was refused: commit one by one, so that only that fails."""
        log.error("a group of writes was refused (%s); writing one by one", error)
        for submission in group.submissions:
            try:
                committed = await self._store.commit(Group([submission], [], [], []).batch())
            except Exception as alone:
                self._fail(submission, alone)
            else:
                self._settle([submission], committed)
        for part in group.parts():
            try:
                committed = await self._store.commit(part.batch())
            except StoreUnavailableError:
                self._put_back(part)
            except Exception:
                # Not the record itself: there may be secrets in it.
                log.exception("a record could not be written and is lost: %s", part.ids())
            else:
                if committed.refused:
                    self._on_refused(committed.refused)

    def _put_back(self, group: Group) -> None:
        self._due = True
        self._dirty = dict.fromkeys((*group.touched, *self._dirty))
        self._attempts = group.attempts + self._attempts
        self._logs.extendleft(reversed(group.logs))
        self._flushers = group.flushers + self._flushers

    def _expire(self) -> None:
        """Nobody waits longer than the enqueue timeout, whatever the store does."""
        self._expiry = None
        now = self._clock.monotonic()
        under_way = self._in_flight.submissions if self._in_flight is not None else []
        waiting = [s for s in (*under_way, *self._submissions) if not s.failed]
        error = StoreUnavailableError(
            f"the store {self._store.url} did not commit within {self._timeout:g} s "
            "(TASKFLOW_ENQUEUE_TIMEOUT); nothing was added"
        )
        for submission in waiting:
            if submission.expires <= now:
                self._fail(submission, error)
                self._late.update(record.task_id for record in submission.records)
        # Those not yet under way need not be written at all.
        self._submissions = deque(s for s in self._submissions if not s.failed)
        rest = [s.expires for s in waiting if not s.failed]
        if rest:
            self._expiry = self._loop.call_later(max(min(rest) - now, 0.01), self._expire)

    def _set_trouble(self, error: StoreError) -> None:
        if self.trouble is None:
            log.error("the store cannot be written: %s", error)
        self.trouble = error

    def clear_trouble(self) -> None:
        """The store has taken something, from here or from whoever else writes."""
        if self.trouble is not None:
            log.warning("the store can be written again")
            self.trouble = None
