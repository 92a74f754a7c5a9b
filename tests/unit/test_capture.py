"""Logging and print of a task belong to its log, and those of the app stay as they are."""

from __future__ import annotations

import contextlib
import contextvars
import io
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from taskflow.capture import Capture
from taskflow.clock import SystemClock
from taskflow.context import TaskContext, running_task
from taskflow.journal import LONGEST_LINE, MOST_LINES
from taskflow.messages import Line, decode
from taskflow.worker_journal import WorkerJournal

log = logging.getLogger("app.mail")


class Task:
    """A task whose journal can be read."""

    def __init__(self, *, logging: bool = True, prints: bool = True) -> None:
        self.lines: list[tuple[str, str]] = []
        self.journal = WorkerJournal(
            self._tell, SystemClock(), hears_logging=logging, hears_print=prints
        )
        self.context = TaskContext("t", "f", 1, None, lambda: self.journal)

    def _tell(self, data: bytes) -> None:
        message = decode(data)
        if isinstance(message, Line):
            self.lines.append((message.level, message.text))

    def run(self, function: Callable[[], object]) -> None:
        def inside() -> None:
            running_task.set(self.context)
            function()

        contextvars.Context().run(inside)


@contextlib.contextmanager
def capturing(*, prints: bool = False) -> Iterator[None]:
    capture = Capture(logging=True, prints=prints)
    capture.install()
    try:
        yield
    finally:
        capture.remove()


# -- logging ---------------------------------------------------------------------------------------


def test_a_record_made_inside_of_a_task_is_a_line_of_its_log() -> None:
    task = Task()

    with capturing():
        log.warning("outside")
        task.run(lambda: log.warning("sent %d of %s", 3, "five"))
        task.run(lambda: logging.getLogger().error("from the root"))

    assert task.lines == [
        ("warning", "[app.mail] sent 3 of five"),
        ("error", "from the root"),
    ]


def test_an_exception_is_part_of_its_line_with_its_end() -> None:
    task = Task()

    def fail() -> None:
        try:
            raise ValueError("x" * 2 * LONGEST_LINE + " the point")
        except ValueError:
            log.exception("it failed")

    with capturing():
        task.run(fail)

    ((level, text),) = task.lines
    assert level == "error"
    assert text.startswith("[app.mail] it failed\nTraceback (most recent call last):\n")
    assert text.endswith("the point")
    assert len(text) == LONGEST_LINE


def test_the_level_of_the_logger_counts_and_so_do_its_filters() -> None:
    task = Task()
    quiet = logging.getLogger("app.quiet")
    quiet.addFilter(lambda record: "secret" not in record.getMessage())

    with capturing():
        task.run(lambda: log.info("below the level of the root logger"))
        task.run(lambda: quiet.warning("a secret"))
        task.run(lambda: quiet.warning("known"))

    assert task.lines == [("warning", "[app.quiet] known")]


def test_a_logger_that_does_not_propagate_is_heard_too() -> None:
    task = Task()
    alone = logging.getLogger("app.alone")
    alone.propagate = False

    with capturing():
        task.run(lambda: alone.warning("heard"))

    assert task.lines == [("warning", "[app.alone] heard")]


def test_loggers_of_our_own_are_left_out_but_for_that_of_tasks() -> None:
    task = Task()

    with capturing():
        for name in ("taskflow", "taskflow.outbox", "executors", "executors.keeper"):
            task.run(partial(logging.getLogger(name).error, "ours"))
        for name in ("taskflow.task", "taskflow_app"):
            task.run(partial(logging.getLogger(name).error, "theirs"))

    assert task.lines == [("error", "theirs"), ("error", "[taskflow_app] theirs")]


def test_a_message_that_cannot_be_formatted_harms_nobody(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    monkeypatch.setattr(logging, "raiseExceptions", False)
    task = Task()
    # pytest's own raises; the handler is shared by all tests of the process.
    monkeypatch.setattr(caplog.handler, "formatter", logging.Formatter("%(name)s"))
    monkeypatch.setattr(caplog.handler, "handleError", lambda record: None)
    monkeypatch.setattr(logging.Logger, "callHandlers", lambda self, record: None)

    with capturing():
        task.run(lambda: log.warning("%d files", "many"))
        task.run(lambda: log.warning("%s", Broken()))
        task.run(lambda: log.warning("after it"))

    assert task.lines == [
        ("warning", "[app.mail] %d files ('many',)"),
        ("warning", "[app.mail] after it"),
    ]


def test_what_logs_while_a_record_is_handled_is_not_taken_for_the_task() -> None:
    task = Task()

    class Chatty(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name != "app.handler":
                logging.getLogger("app.handler").warning("passing on %s", record.getMessage())

    class Talkative:
        def __str__(self) -> str:
            log.warning("asked for my name")
            return "talkative"

    handler = Chatty()
    logging.getLogger().addHandler(handler)
    try:
        with capturing():
            task.run(lambda: log.warning("%s", Talkative()))
    finally:
        logging.getLogger().removeHandler(handler)

    assert task.lines == [("warning", "[app.mail] talkative")]


def test_a_task_that_does_not_want_it_gets_none() -> None:
    task = Task(logging=False)

    with capturing():
        task.run(lambda: log.warning("heard by others only"))

    assert task.lines == []


def test_once_the_log_is_full_a_record_is_not_even_put_together() -> None:
    task = Task()
    asked: list[str] = []

    class Dear:
        def __str__(self) -> str:
            asked.append("")
            return "dear"

    # The app's own handlers would ask, too.
    off = logging.getLogger("app.off")
    off.propagate = False
    off.addHandler(logging.NullHandler())
    with capturing():
        for _ in range(MOST_LINES + 1):
            task.journal.line("info", "x")
        task.run(lambda: off.warning("%s", Dear()))

    assert asked == []
    assert task.journal.left_out == 2


def test_the_app_is_shown_its_records_as_before() -> None:
    task = Task()
    shown: list[dict[str, object]] = []

    class First(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(dict(vars(record)))

    def fail() -> None:
        try:
            raise ValueError("why")
        except ValueError:
            log.exception("it %s", "failed")

    handler = First()
    log.addHandler(handler)
    try:
        with capturing():
            task.run(fail)
    finally:
        log.removeHandler(handler)

    (record,) = shown
    assert record.keys() == vars(logging.makeLogRecord({})).keys()
    assert (record["name"], record["funcName"], record["msg"]) == ("app.mail", "fail", "it %s")
    assert record["exc_text"] is None
    assert len(task.lines) == 1


def test_any_number_of_users_hear_a_record_once_and_the_last_cleans_up() -> None:
    task = Task()
    before = logging.Logger.callHandlers

    with capturing(), capturing():
        with capturing():
            pass
        task.run(lambda: log.warning("once"))

    assert task.lines == [("warning", "[app.mail] once")]
    assert logging.Logger.callHandlers is before


def test_somebody_who_wraps_it_again_keeps_working_and_nothing_is_heard_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = Task()
    seen: list[str] = []
    capture = Capture(logging=True, prints=False)
    capture.install()
    ours = logging.Logger.callHandlers

    def wrapper(logger: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        ours(logger, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", wrapper)
    capture.remove()
    task.run(lambda: log.warning("nobody listens"))
    with capturing():
        task.run(lambda: log.warning("once"))

    assert logging.Logger.callHandlers is wrapper
    assert seen == ["nobody listens", "once"]
    assert task.lines == [("warning", "[app.mail] once")]


def test_installing_and_removing_twice_is_the_same_as_once() -> None:
    task = Task()
    before = logging.Logger.callHandlers
    capture = Capture(logging=True, prints=False)

    with capturing():
        capture.install()
        capture.install()
        capture.remove()
        capture.remove()
        task.run(lambda: log.warning("still heard"))

    assert task.lines == [("warning", "[app.mail] still heard")]
    assert logging.Logger.callHandlers is before


PLAIN_APP = """
import asyncio, logging, sys, tempfile
from taskflow import TaskManager

async def main():
    async with TaskManager(tempfile.mkdtemp() + "/tasks.db", capture_print=PRINT) as manager:
        @manager.task
        def work():
            logging.getLogger("app").info("too low")
            logging.getLogger("app").warning("worth %s", "knowing")
            CONFIGURE
            logging.getLogger("app").info("a detail")
            logging.getLogger("app").error("a problem")
        handle = await manager.enqueue(work)
        await manager.join()
        lines = await manager.engine.store.logs(handle.task_id, 10)
        print([line.message for line in lines])
    assert logging.getLogger().handlers == HANDLERS or CONFIGURED

CONFIGURED = False
HANDLERS = list(logging.getLogger().handlers)
asyncio.run(main())
"""


def run_plain_app(configure: str, *, capture_print: bool) -> tuple[str, str]:
    code = PLAIN_APP.replace("CONFIGURE\n", f"{configure}\n").replace("PRINT)", f"{capture_print})")
    if configure != "pass":
        code = code.replace("CONFIGURED = False", "CONFIGURED = True")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("capture_print", [False, True])
def test_without_any_handler_warnings_are_still_printed_to_stderr(capture_print: bool) -> None:
    stdout, stderr = run_plain_app("pass", capture_print=capture_print)

    assert stderr == "worth knowing\na problem\n"
    assert stdout == "['[app] worth knowing', '[app] a problem']\n"


@pytest.mark.parametrize("capture_print", [False, True])
def test_basic_config_still_configures_while_tasks_are_heard(capture_print: bool) -> None:
    configure = "logging.basicConfig(level=logging.INFO, format='%(levelname)s %(message)s')"

    stdout, stderr = run_plain_app(configure, capture_print=capture_print)

    assert stderr == "worth knowing\nINFO a detail\nERROR a problem\n"
    assert stdout == "['[app] worth knowing', '[app] a detail', '[app] a problem']\n"


# -- print -----------------------------------------------------------------------------------------


def test_what_a_task_prints_is_its_own_and_all_else_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = Task()

    with capturing(prints=True):
        print("outside")
        task.run(lambda: print("inside", 1, 2, sep="\n"))
        task.run(lambda: print("an error", file=sys.stderr))
        task.run(lambda: sys.stdout.writelines(["a", "b\n"]))
        print("outside again", file=sys.stderr)

    assert task.lines == [
        ("stdout", "inside"),
        ("stdout", "1"),
        ("stdout", "2"),
        ("stderr", "an error"),
        ("stdout", "ab"),
    ]
    assert capsys.readouterr() == ("outside\n", "outside again\n")


def test_a_task_that_does_not_want_it_prints_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    task = Task(prints=False)

    with capturing(prints=True):
        task.run(lambda: print("hello"))

    assert capsys.readouterr().out == "hello\n"


def test_a_thread_that_a_task_hands_its_context_to_prints_for_it() -> None:
    task = Task()

    def inside() -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(print, "from the thread"))
        thread.start()
        thread.join()

    with capturing(prints=True):
        task.run(inside)

    assert task.lines == [("stdout", "from the thread")]


def test_redirected_output_goes_where_it_was_redirected_to() -> None:
    task = Task()
    target = io.StringIO()

    def inside() -> None:
        with contextlib.redirect_stdout(target):
            print("redirected")
        print("not redirected")

    with capturing(prints=True):
        task.run(inside)

    assert target.getvalue() == "redirected\n"
    assert task.lines == [("stdout", "not redirected")]


def test_everything_else_about_the_streams_is_as_before(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    before = sys.stdout
    task = Task()

    def inside() -> None:
        assert sys.stdout.isatty() == before.isatty()
        assert sys.stdout.fileno() == before.fileno()
        assert sys.stdout.encoding == before.encoding
        assert not sys.stdout.closed
        sys.stdout.buffer.write(b"raw\n")
        sys.stdout.flush()
        with pytest.raises(TypeError, match="must be str"):
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]  # that is the mistake

    with capturing(prints=True):
        assert sys.stdout is not before
        task.run(inside)

    assert capfdbinary.readouterr().out == b"raw\n"
    assert task.lines == []


def test_the_last_user_puts_the_old_streams_back() -> None:
    before = sys.stdout, sys.stderr

    with capturing(prints=True), capturing(prints=True):
        with capturing(prints=True):
            pass
        assert sys.stdout is not before[0]

    assert (sys.stdout, sys.stderr) == before


def test_a_stream_that_somebody_put_there_meanwhile_stays() -> None:
    before, other, third = sys.stdout, io.StringIO(), io.StringIO()
    task = Task()
    try:
        with capturing(prints=True):
            sys.stdout = other
            with capturing(prints=True):
                print("to the other")
                task.run(lambda: print("to the task"))
            sys.stdout = third
        assert sys.stdout is third
    finally:
        sys.stdout = before

    assert other.getvalue() == "to the other\n"
    assert task.lines == [("stdout", "to the task")]


def test_what_handlers_of_the_app_print_is_not_taken_for_the_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = Task()

    with capturing(prints=True):
        handler = logging.StreamHandler(sys.stderr)  # made while the stream is ours
        log.addHandler(handler)
        try:
            task.run(lambda: log.warning("once"))
        finally:
            log.removeHandler(handler)

    assert task.lines == [("warning", "[app.mail] once")]
    assert capsys.readouterr().err == "once\n"
