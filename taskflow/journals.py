"""The journals of attempts in this process: lines go to the outbox and the feed, progress too.

An attempt has a journal from the first thing it says on; most say nothing, and cost nothing.
"""

from __future__ import annotations

import asyncio
import threading

from executors.mailbox import Mailbox
from taskflow.attempt import Attempt
from taskflow.capture import Capture
from taskflow.clock import Clock
from taskflow.feed import Feed, LineWritten, Progressed
from taskflow.journal import Journal, fit
from taskflow.messages import LastWord, LeftOut, Line, Message, Progress
from taskflow.outbox import Outbox
from taskflow.record import LogLine, TaskRecord
from taskflow.trickle import take_last_word

#: Seconds between two looks of others at the progress of one task. A little less than a tenth, so
#: that what waits for the next one is heard of within that.
INTERVAL = 0.09


class LiveJournal(Journal):
    """The journal of one attempt, wherever it runs: what a worker process sends comes here, too."""

    __slots__ = ("_journals", "_last_word", "_number", "_task_id", "attempt", "is_due", "newest",
                 "shown_at")  # fmt: skip

    def __init__(self, journals: Journals, attempt: Attempt) -> None:
        capture = journals.capture
        # See `end`: the first word may come after it.
        is_heard = attempt.record.owner is not None or attempt.cancelled
        super().__init__(
            hears_logging=capture.logging and is_heard, hears_print=capture.prints and is_heard
        )
        self._journals = journals
        self._task_id = attempt.record.task_id
        self._number = attempt.record.attempt
        self._last_word: str | None = None
        #: The attempt while it runs; afterwards lines are still kept, and progress is not.
        self.attempt: Attempt | None = attempt
        self.newest: Progress | None = None
        #: Whether ``newest`` is on its way to be shown.
        self.is_due = False
        #: When progress was shown last, by the clock of the loop.
        self.shown_at = float("-inf")

    def show(self, progress: Progress) -> None:
        if self.attempt is None or self.is_foreign:
            return
        # In this order: whoever shows it lowers the flag before it looks.
        self.newest = progress
        if not self.is_due:
            self.is_due = True
            self._journals.post(self)

    def take(self, message: Message) -> None:
        """What the worker process of the attempt sent."""
        match message:
            case Line(at, level, text):
                self.line(level, text, at)
            case Progress():
                self.show(message)
            case LeftOut(lines):
                self.full = True
                self.left_out += lines
            case LastWord(path):
                self._last_word = path

    def end(self, *, goes_on: bool = False) -> None:
        """See `Journal.end`; on the loop's thread."""
        super().end(goes_on=goes_on)
        with self._lock:
            if self.full:
                count = f"{self.left_out} " if self.left_out else ""
                self._write("warning", f"{count}more lines were left out", None)
        if self._last_word is not None:
            kept_back = take_last_word(self._last_word)
            if kept_back is not None:
                self.newest, self.is_due = kept_back, True
        if self.is_due:
            self._journals.show(self)
        self.attempt = None

    def _write(self, level: str, text: str, at: float | None) -> None:
        self._journals.write(self._task_id, self._number, level, text, at)


class Journals:
    """Opens journals, and brings what stands in them to the store and to subscribers."""

    def __init__(self, *, outbox: Outbox, clock: Clock, feed: Feed, capture: Capture) -> None:
        self.capture = capture
        self._outbox = outbox
        self._clock = clock
        self._feed = feed
        self._loop: asyncio.AbstractEventLoop = feed.loop
        self._opening = threading.RLock()
        #: Takes a journal whose progress is due; from any thread.
        self.post = Mailbox(feed.loop, self._arrived).post
        self._waiting: list[LiveJournal] = []

    def open(self, attempt: Attempt) -> LiveJournal:
        """The journal of ``attempt``, the same for everybody; from any thread."""
        with self._opening:
            if attempt.journal is None:
                attempt.journal = LiveJournal(self, attempt)
            return attempt.journal

    def write(
        self, task_id: str, attempt: int, level: str, text: str, at: float | None = None
    ) -> None:
        """Store a line that fits, and tell subscribers; from any thread."""
        moment = self._clock.now() if at is None else at
        self._outbox.add_log(LogLine(task_id, attempt, moment, level, text))
        if self._feed.subscribers:
            self._feed.publish(LineWritten(task_id, attempt, moment, level, text))

    def write_crash(self, record: TaskRecord, detail: str) -> None:
        """Store what a worker process said when it died, whatever the attempt had written."""
        for line in detail.splitlines():
            if line.strip():
                self.write(record.task_id, record.attempt, "critical", fit(line))

    def show(self, journal: LiveJournal) -> None:
        """Store the newest progress and tell subscribers, unless the attempt is over."""
        journal.is_due = False
        attempt, progress = journal.attempt, journal.newest
        if attempt is None or attempt.superseded or progress is None:
            return
        record = attempt.record
        if record.owner is None:  # a thread that was given up says its first word only now
            return
        journal.shown_at = self._loop.time()
        record.progress = progress.as_json()
        self._outbox.touch(record)
        if self._feed.subscribers:
            self._feed.publish(Progressed(record.task_id, *progress))

    def _arrived(self, journal: LiveJournal) -> None:
        wait = journal.shown_at + INTERVAL - self._loop.time()
        if wait <= 0:
            self.show(journal)
            return
        if not self._waiting:
            self._loop.call_later(wait, self._show_waiting)
        self._waiting.append(journal)

    def _show_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for journal in waiting:
            self.show(journal)
