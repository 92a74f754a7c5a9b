"""What one attempt may say: within bounds, whole lines, from any thread."""

from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.clock import SystemClock
from taskflow.journal import LONGEST_LINE, MOST_BYTES, MOST_LINES, LineSplitter
from taskflow.messages import LeftOut, Line, Message, Progress, decode
from taskflow.worker_journal import WorkerJournal


class Home:
    """Where a journal sends to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def tell(self, data: bytes) -> None:
        message = decode(data)
        assert message is not None
        self.messages.append(message)

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(m.level, m.text) for m in self.messages if isinstance(m, Line)]


@pytest.fixture
def home() -> Home:
    return Home()


@pytest.fixture
def journal(home: Home) -> WorkerJournal:
    return WorkerJournal(home.tell, SystemClock(), hears_logging=True, hears_print=True)


# -- bounds ----------------------------------------------------------------------------------------


def test_a_line_is_sent_when_it_is_written_and_made_harmless(
    journal: WorkerJournal, home: Home
) -> None:
    journal.line("INFO", "a\x1bb")

    assert home.lines == [("info", r"a\x1bb")]


def test_a_line_is_cut_at_its_greatest_length(journal: WorkerJournal, home: Home) -> None:
    journal.line("info", "x" * (LONGEST_LINE + 1))
    journal.line("info", "\x1b" * LONGEST_LINE)

    assert [len(text) for _, text in home.lines] == [LONGEST_LINE, LONGEST_LINE]


def test_so_many_lines_are_kept_and_the_rest_is_counted(journal: WorkerJournal, home: Home) -> None:
    for number in range(MOST_LINES + 7):
        journal.line("info", str(number))

    assert len(home.lines) == MOST_LINES
    assert home.messages[MOST_LINES:] == [LeftOut(0)]
    journal.end()
    assert home.messages[-1] == LeftOut(7)


def test_so_much_text_is_kept_counted_as_it_is_stored(journal: WorkerJournal, home: Home) -> None:
    for _ in range(1000):
        journal.line("info", "ü" * 2048)

    kept = sum(len(text.encode()) for _, text in home.lines)
    assert kept == MOST_BYTES
    journal.end()
    assert home.messages[-1] == LeftOut(1000 - len(home.lines))


def test_a_log_that_is_full_stays_so_for_lines_that_would_fit(
    journal: WorkerJournal, home: Home
) -> None:
    for _ in range(MOST_BYTES // LONGEST_LINE - 1):
        journal.line("info", "x" * LONGEST_LINE)
    journal.line("info", "x" * (LONGEST_LINE - 1))
    journal.line("info", "two")
    before = len(home.lines)

    journal.line("info", "1")

    assert journal.full
    assert len(home.lines) == before


def test_nothing_is_sent_for_a_line_that_is_left_out(journal: WorkerJournal, home: Home) -> None:
    for _ in range(MOST_LINES + 1):
        journal.line("info", "")
    sent = len(home.messages)

    for _ in range(1000):
        journal.line("info", "more")
        journal.print("stdout", "more\n")

    assert len(home.messages) == sent
    assert journal.left_out == 2001


def test_one_bound_holds_for_all_threads_together(journal: WorkerJournal, home: Home) -> None:
    def write() -> None:
        for _ in range(MOST_LINES // 2):
            journal.line("info", "x")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(home.lines) == MOST_LINES
    assert journal.left_out == MOST_LINES


def test_a_line_written_amidst_a_message_goes_after_it(home: Home) -> None:
    # A finalizer can run at any time, also while the channel is held for a message.
    def tell(data: bytes) -> None:
        if decode(data) == Line(1.0, "info", "outer"):
            inner.line("info", "inner", at=2.0)
        home.tell(data)

    inner = WorkerJournal(tell, SystemClock(), hears_logging=True, hears_print=True)

    inner.line("info", "outer", at=1.0)

    assert home.messages == [Line(1.0, "info", "outer"), Line(2.0, "info", "inner")]


def test_a_parent_that_is_gone_is_no_error_of_the_task() -> None:
    def tell(data: bytes) -> None:
        raise BrokenPipeError

    journal = WorkerJournal(tell, SystemClock(), hears_logging=True, hears_print=True)

    journal.line("info", "into the dark")
    journal.show(Progress(1, 2, ""))
    journal.end()


def test_what_a_thread_says_after_the_end_is_dropped(journal: WorkerJournal, home: Home) -> None:
    journal.end()

    journal.line("info", "too late")
    journal.show(Progress(1, 2, ""))

    assert home.messages == []


def test_after_the_end_logging_and_print_go_elsewhere(journal: WorkerJournal) -> None:
    journal.end()

    assert not journal.hears_logging
    assert not journal.hears_print


def test_a_forked_copy_says_nothing(journal: WorkerJournal, home: Home) -> None:
    pid = os.fork()
    if pid == 0:
        journal.line("info", "from the copy")
        journal.show(Progress(1, 2, ""))
        os._exit(0 if not home.messages and not journal.print("stdout", "x\n") else 1)

    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0


# -- what is printed -------------------------------------------------------------------------------


def test_what_is_printed_piece_by_piece_becomes_whole_lines(
    journal: WorkerJournal, home: Home
) -> None:
    for piece in ("one, ", "two\nthr", "", "ee\n\nrest"):
        journal.print("stdout", piece)

    assert home.lines == [("stdout", "one, two"), ("stdout", "three"), ("stdout", "")]
    journal.end()
    assert home.lines[3:] == [("stdout", "rest")]


def test_both_streams_have_lines_of_their_own(journal: WorkerJournal, home: Home) -> None:
    journal.print("stdout", "to be ")
    journal.print("stderr", "oops\n")
    journal.print("stdout", "continued\n")

    assert home.lines == [("stderr", "oops"), ("stdout", "to be continued")]


def test_a_carriage_return_ends_a_line_so_that_a_bar_is_seen_to_grow() -> None:
    splitter = LineSplitter()

    assert splitter.split("10%\r") == ["10%"]
    assert splitter.split("20%\r30") == ["20%"]
    assert splitter.split("%\r") == ["30%"]
    assert splitter.split("\n") == []
    assert splitter.split("windows\r\nlines\r\n") == ["windows", "lines"]


@given(st.lists(st.text("ab\r\n"), max_size=8))
def test_how_a_text_is_cut_into_pieces_does_not_matter(pieces: list[str]) -> None:
    splitter, whole = LineSplitter(), LineSplitter()

    lines = [line for piece in pieces for line in splitter.split(piece)]

    assert lines == whole.split("".join(pieces))
    assert splitter.rest == whole.rest


def test_a_line_without_an_end_takes_no_more_memory_than_it_may() -> None:
    splitter = LineSplitter()

    for _ in range(100):
        assert splitter.split("x" * 1000) == []

    assert len(splitter.rest) == LONGEST_LINE
