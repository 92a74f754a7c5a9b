"""What a task says while it runs: lines, progress, the standard logging, print; in every lane."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from taskflow import (
    Retry,
    TaskHandle,
    TaskManager,
    TaskStatus,
    get_task_context,
    progress,
    task_log,
)
from taskflow.feed import Event, LineWritten, Missed, Progressed, TaskChanged
from taskflow.journal import MOST_BYTES, MOST_LINES
from taskflow.record import LogLine
from tests.guide.speakers import (
    PATIENCE,
    SHOWN,
    be_killed,
    flood,
    flood_and_crash,
    flood_and_die,
    flood_in_process,
    hang,
    log,
    ready,
    run_fast,
    run_fast_in_process,
    say_hostile,
    say_hostile_in_process,
    segfault,
    speak,
    speak_in_process,
    use_context,
    use_context_in_process,
    use_logging,
    use_logging_in_process,
    use_print,
    use_print_in_process,
    wait_for,
    write_much,
    write_much_in_process,
)


@pytest.fixture
async def manager(db_path: Path) -> AsyncIterator[TaskManager]:
    async with TaskManager(db_path, io_workers=4, cpu_workers=1, shutdown_grace=2) as manager:
        yield manager


class Listener:
    """Everything that was heard, in order."""

    def __init__(self) -> None:
        self.events: list[Event | Missed] = []
        self._came = asyncio.Condition()

    async def add(self, event: Event | Missed) -> None:
        async with self._came:
            self.events.append(event)
            self._came.notify_all()

    async def until(self, test: Callable[[Event | Missed], bool]) -> None:
        """Return once an event came that passes."""
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: any(map(test, self.events)))

    def lines(self, task_id: str) -> list[tuple[str, str]]:
        return [
            (event.level, event.message)
            for event in self.events
            if isinstance(event, LineWritten) and event.task_id == task_id
        ]

    def steps(self, task_id: str) -> list[float]:
        return [e.done for e in self.events if isinstance(e, Progressed) and e.task_id == task_id]


@asynccontextmanager
async def listening(manager: TaskManager) -> AsyncIterator[Listener]:
    listener = Listener()

    async def listen() -> None:
        async with manager.subscribe(limit=100_000) as events:
            async for event in events:
                await listener.add(event)

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)
    yield listener
    task.cancel()
    await asyncio.wait({task})


async def lines_of(manager: TaskManager, handle: TaskHandle[Any]) -> list[tuple[str, str]]:
    return [(line.level, line.message) for line in await log_of(manager, handle)]


async def log_of(manager: TaskManager, handle: TaskHandle[Any]) -> list[LogLine]:
    await manager.engine.outbox.flush()
    return await manager.engine.store.logs(handle.task_id, MOST_LINES + 100)


async def stored_progress(handle: TaskHandle[Any]) -> Any:
    record = await handle.record()
    assert record is not None
    return None if record.progress is None else json.loads(record.progress)


async def wait_for_async(path: str) -> None:
    await asyncio.to_thread(wait_for, path)


# -- while it runs ---------------------------------------------------------------------------------


async def speak_async(gate: str) -> None:
    task_log("hello", level="warning", user=7)
    progress(1, 4, "first")
    await wait_for_async(gate)


LANES: list[tuple[str, Callable[[str], Any]]] = [
    ("io", speak),
    ("cpu", speak_in_process),
    ("async", speak_async),
]


@pytest.mark.parametrize(("lane", "function"), LANES, ids=[lane for lane, _ in LANES])
async def test_lines_and_progress_are_seen_while_the_task_runs(
    manager: TaskManager, tmp_path: Path, lane: Any, function: Callable[[str], None]
) -> None:
    gate = tmp_path / "gate"
    manager.task(lane=lane)(function)

    async with listening(manager) as heard:
        handle = await manager.enqueue(function, str(gate))
        await heard.until(lambda event: isinstance(event, Progressed))

        assert await handle.status() is TaskStatus.RUNNING
        assert heard.lines(handle.task_id) == [("warning", "hello user=7")]
        assert heard.steps(handle.task_id) == [1]
        assert await lines_of(manager, handle) == [("warning", "hello user=7")]
        assert await stored_progress(handle) == {"done": 1, "total": 4, "message": "first"}
        gate.touch()
        await manager.join()


async def test_a_subscriber_hears_a_task_from_its_start_to_its_end(manager: TaskManager) -> None:
    @manager.task(retries=1)
    def work() -> None:
        context = get_task_context()
        assert context is not None
        task_log(f"attempt {context.attempt}")
        progress(context.attempt, 2)
        if context.attempt == 1:
            raise Retry("once more", after=0)

    async with listening(manager) as heard:
        handle = await manager.enqueue(work)
        await heard.until(lambda e: isinstance(e, TaskChanged) and e.status == "success")

    story = [
        event.status
        if isinstance(event, TaskChanged)
        else event.message
        if isinstance(event, LineWritten)
        else event
        for event in heard.events
    ]
    assert story == [
        "running",
        "attempt 1",
        Progressed(handle.task_id, 1, 2, ""),
        "retrying",
        "running",
        "attempt 2",
        Progressed(handle.task_id, 2, 2, ""),
        "success",
    ]
    changes = [event for event in heard.events if isinstance(event, TaskChanged)]
    assert {event.func_name for event in changes} == {changes[0].func_name}
    assert [event.attempt for event in changes] == [1, 1, 2, 2]
    assert changes[1].error == "Retry: once more"


async def test_a_subscription_ends_with_the_manager(db_path: Path) -> None:
    manager = TaskManager(db_path)
    await manager.startup()
    subscription = manager.subscribe()

    async with subscription as events:
        await manager.shutdown()

        async with asyncio.timeout(PATIENCE):
            assert [event async for event in events] == []


# -- a worker process that dies --------------------------------------------------------------------


def files_of_workers(folder: Path) -> list[Path]:
    return list(folder.glob("taskflow-*"))


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (segfault, "worker process died: SIGSEGV"),
        (be_killed, "worker process died: SIGKILL"),
        (hang, "timed out after 0.5 s"),
    ],
)
async def test_what_was_said_outlives_the_worker_process(
    manager: TaskManager,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: Callable[[], None],
    error: str,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    manager.task(lane="cpu")(ready)
    manager.task(lane="cpu", timeout=0.5)(function)
    await manager.enqueue(ready)  # so that the time does not go into starting the worker
    await manager.join()

    handle = await manager.enqueue(function)
    await manager.join()

    record = await handle.record()
    assert record is not None
    assert record.error is not None and record.error.startswith(error)
    assert (await lines_of(manager, handle))[0] == ("info", "before the end")
    assert await stored_progress(handle) == {"done": 500, "total": 1000, "message": "the last"}
    assert files_of_workers(tmp_path) == []


async def test_a_crash_tells_where_it_happened(manager: TaskManager) -> None:
    manager.task(lane="cpu")(segfault)

    handle = await manager.enqueue(segfault)
    await manager.join()

    record = await handle.record()
    assert record is not None
    first, *report = await lines_of(manager, handle)
    assert first == ("info", "before the end")
    assert {level for level, _ in report} == {"critical"}
    assert report[0][1].startswith("Fatal Python error: Segmentation fault")
    assert any("in segfault" in text for _, text in report)
    assert record.stacktrace is not None and "in segfault" in record.stacktrace


async def test_a_task_that_hangs_in_a_worker_process_tells_where(manager: TaskManager) -> None:
    manager.task(lane="cpu")(ready)
    manager.task(lane="cpu", timeout=0.5)(hang)
    await manager.enqueue(ready)
    await manager.join()

    handle = await manager.enqueue(hang)
    await manager.join()

    record = await handle.record()
    assert record is not None
    assert record.stacktrace is not None and "in hang" in record.stacktrace


async def test_a_crash_is_told_even_if_the_log_is_full(manager: TaskManager) -> None:
    manager.task(lane="cpu")(flood_and_crash)

    handle = await manager.enqueue(flood_and_crash)
    await manager.join()

    lines = await lines_of(manager, handle)
    assert lines[MOST_LINES] == ("warning", "more lines were left out")
    assert lines[MOST_LINES + 1][0] == "critical"


# -- bounds ----------------------------------------------------------------------------------------


async def flood_async() -> None:
    def some(count: int) -> None:
        for _ in range(count):
            task_log("x")

    await asyncio.gather(
        *(asyncio.to_thread(some, MOST_LINES // 2) for _ in range(2)),
        asyncio.create_task(asyncio.to_thread(some, 23)),
    )


@pytest.mark.parametrize(
    ("lane", "function"), [("io", flood), ("cpu", flood_in_process), ("async", flood_async)]
)
async def test_a_flood_of_lines_is_cut_and_the_last_line_says_so(
    manager: TaskManager, lane: Any, function: Callable[[], Any]
) -> None:
    manager.task(lane=lane)(function)

    handle = await manager.enqueue(function)
    await manager.join()

    lines = await lines_of(manager, handle)
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == ("warning", "23 more lines were left out")


@pytest.mark.parametrize(("lane", "function"), [("io", write_much), ("cpu", write_much_in_process)])
async def test_a_flood_of_text_is_cut_and_so_is_each_line(
    manager: TaskManager, lane: Any, function: Callable[[], None]
) -> None:
    manager.task(lane=lane)(function)

    handle = await manager.enqueue(function)
    await manager.join()

    *lines, last = [text for _, text in await lines_of(manager, handle)]
    assert {len(line) for line in lines} == {8192}
    assert sum(len(line.encode()) for line in lines) == MOST_BYTES
    assert last == f"{300 - len(lines)} more lines were left out"


async def test_a_worker_process_that_dies_after_a_flood_cannot_say_how_much_is_missing(
    manager: TaskManager,
) -> None:
    manager.task(lane="cpu")(flood_and_die)

    handle = await manager.enqueue(flood_and_die)
    await manager.join()

    lines = await lines_of(manager, handle)
    assert lines[MOST_LINES] == ("warning", "more lines were left out")


async def test_each_attempt_has_bounds_of_its_own(manager: TaskManager) -> None:
    @manager.task(retries=1)
    def work() -> None:
        flood()
        raise Retry(after=0)

    handle = await manager.enqueue(work)
    await manager.join()

    lines = await manager.engine.store.logs(handle.task_id, 3 * MOST_LINES)
    assert [line.attempt for line in lines].count(2) == MOST_LINES + 1


# -- what it may contain ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lane", "function"), [("io", say_hostile), ("cpu", say_hostile_in_process)]
)
async def test_nothing_that_is_stored_steers_a_terminal(
    manager: TaskManager, lane: Any, function: Callable[[], None]
) -> None:
    manager.task(lane=lane)(function)

    handle = await manager.enqueue(function)
    await manager.join()

    record = await handle.record()
    assert record is not None
    assert await lines_of(manager, handle) == [(r"\x1b", SHOWN), ("warning", rf"[\x1b] {SHOWN}")]
    assert await stored_progress(handle) == {"done": 1, "total": None, "message": SHOWN}
    assert record.error == f"ValueError: {SHOWN}"
    assert record.stacktrace is not None and record.stacktrace.endswith(f"{record.error}\n")


# -- the standard logging --------------------------------------------------------------------------


async def use_logging_async() -> None:
    await asyncio.to_thread(use_logging)


@pytest.mark.parametrize(
    ("lane", "function"),
    [("io", use_logging), ("cpu", use_logging_in_process), ("async", use_logging_async)],
)
async def test_records_of_the_standard_logging_are_lines_of_the_task(
    manager: TaskManager, lane: Any, function: Callable[[], Any]
) -> None:
    manager.task(lane=lane)(function)

    handle = await manager.enqueue(function)
    log.warning("not of the task")
    await manager.join()

    first, second = await lines_of(manager, handle)
    assert first == ("warning", "[shop.mail] 3 mails")
    assert second[0] == "error"
    assert second[1].startswith("[shop.mail] not sent\nTraceback (most recent call last):\n")
    assert second[1].endswith("OSError: no route")


@pytest.fixture
def root_at_info() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before)


@pytest.mark.usefixtures("root_at_info")
async def test_a_worker_process_logs_at_the_level_of_the_app(manager: TaskManager) -> None:
    manager.task(lane="cpu")(use_logging_in_process)

    first = await manager.enqueue(use_logging_in_process)
    await manager.join()
    logging.getLogger().setLevel(logging.ERROR)
    second = await manager.enqueue(use_logging_in_process)
    await manager.join()

    assert (await lines_of(manager, first))[0] == ("info", "[shop.mail] not wanted")
    assert [level for level, _ in await lines_of(manager, second)] == ["error"]


CONFIGURED = """
import asyncio, logging, sys
logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stdout)

from taskflow import TaskManager

def work():
    logging.getLogger("app").warning("below the level of this module")
    logging.getLogger("app").error("a problem")

async def main():
    logging.getLogger().setLevel(logging.DEBUG)
    async with TaskManager(sys.argv[1], cpu_workers=1) as manager:
        manager.task(lane="cpu")(work)
        handle = await manager.enqueue(work)
        await manager.join()
        lines = await manager.engine.store.logs(handle.task_id, 10)
        print("lines", [line.message for line in lines if line.level != "debug"])
"""


def test_a_worker_process_whose_modules_configure_logging_keeps_to_that(tmp_path: Path) -> None:
    (tmp_path / "configured.py").write_text(CONFIGURED)
    code = "import asyncio, configured; asyncio.run(configured.main())"

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tasks.db")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    lines = done.stdout.splitlines()
    assert "lines ['[app] a problem']" in lines
    assert "a problem" in lines
    assert "below the level of this module" not in lines


async def test_two_tasks_at_a_time_each_get_their_own_records(manager: TaskManager) -> None:
    together = asyncio.Barrier(2)

    @manager.task
    async def work(name: str) -> None:
        for number in range(3):
            await together.wait()
            log.warning("%s %d", name, number)

    one = await manager.enqueue(work, "one")
    two = await manager.enqueue(work, "two")
    await manager.join()

    for handle, name in ((one, "one"), (two, "two")):
        wanted = [("warning", f"[shop.mail] {name} {number}") for number in range(3)]
        assert await lines_of(manager, handle) == wanted


async def test_records_are_left_alone_if_that_is_wanted(db_path: Path) -> None:
    async with TaskManager(db_path, cpu_workers=1, capture_logging=False) as manager:
        manager.task(lane="cpu")(use_logging_in_process)
        manager.task(use_logging)
        handles = [
            await manager.enqueue(use_logging),
            await manager.enqueue(use_logging_in_process),
        ]
        await manager.join()

        assert [await lines_of(manager, handle) for handle in handles] == [[], []]


async def test_of_two_managers_each_hears_its_own_tasks(tmp_path: Path) -> None:
    deaf = TaskManager(tmp_path / "deaf.db", capture_logging=False)
    hearing = TaskManager(tmp_path / "hearing.db")

    async with deaf, hearing:
        found = []
        for manager in (deaf, hearing):
            manager.task(use_logging)
            handle = await manager.enqueue(use_logging)
            await manager.join()
            found.append(len(await lines_of(manager, handle)))

    assert found == [0, 2]


# -- print -----------------------------------------------------------------------------------------


async def use_print_async() -> None:
    await asyncio.to_thread(use_print)


@pytest.mark.parametrize(
    ("lane", "function"),
    [("io", use_print), ("cpu", use_print_in_process), ("async", use_print_async)],
)
async def test_what_a_task_prints_is_in_its_log_if_that_is_wanted(
    db_path: Path,
    capfd: pytest.CaptureFixture[str],
    lane: Any,
    function: Callable[[], Any],
) -> None:
    async with TaskManager(db_path, cpu_workers=1, capture_print=True) as manager:
        manager.task(lane=lane)(function)
        handle = await manager.enqueue(function)
        print("of the app")
        await manager.join()
        lines = await lines_of(manager, handle)

    assert lines == [
        ("stdout", "one"),
        ("stdout", "two"),
        ("stderr", "trouble"),
        ("stdout", "rest"),
    ]
    assert capfd.readouterr() == ("of the app\n", "")


async def test_what_a_task_prints_is_printed_by_default(
    manager: TaskManager, capsys: pytest.CaptureFixture[str]
) -> None:
    manager.task(use_print)

    handle = await manager.enqueue(use_print)
    await manager.join()

    assert await lines_of(manager, handle) == []
    assert capsys.readouterr() == ("one\ntwo\nrest", "trouble\n")


# -- progress --------------------------------------------------------------------------------------


async def run_fast_async(steps: int) -> None:
    run_fast(steps)
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("lane", "function"),
    [("io", run_fast), ("cpu", run_fast_in_process), ("async", run_fast_async)],
)
async def test_many_steps_are_told_now_and_then_and_the_last_one_always(
    manager: TaskManager, lane: Any, function: Callable[[int], Any]
) -> None:
    manager.task(lane=lane)(function)

    async with listening(manager) as heard:
        began = time.monotonic()
        handle = await manager.enqueue(function, 20_000)
        await heard.until(lambda e: isinstance(e, TaskChanged) and e.status == "success")
        elapsed = time.monotonic() - began
    await manager.join()

    steps = heard.steps(handle.task_id)
    assert steps[0] < 20_000 and steps[-1] == 19_999
    assert steps == sorted(steps)
    assert len(steps) <= 3 + elapsed / 0.09 * 1.5
    assert await stored_progress(handle) == {"done": 19_999, "total": 20_000, "message": ""}


async def test_a_step_that_is_followed_by_silence_is_told_soon(
    manager: TaskManager, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    @manager.task
    def work() -> None:
        run_fast(1000)
        wait_for(str(gate))

    async with listening(manager) as heard:
        handle = await manager.enqueue(work)
        await heard.until(lambda e: isinstance(e, Progressed) and e.done == 999)

        assert await stored_progress(handle) == {"done": 999, "total": 1000, "message": ""}
        gate.touch()
        await manager.join()


async def test_the_next_attempt_starts_without_progress(manager: TaskManager) -> None:
    seen: list[object] = []
    known = asyncio.Event()

    @manager.task(retries=1)
    async def work() -> None:
        context = get_task_context()
        assert context is not None
        await known.wait()
        seen.append(await stored_progress(handle))
        if context.attempt == 1:
            progress(1, 2)
            raise Retry(after=0)

    handle = await manager.enqueue(work)
    known.set()
    await manager.join()

    assert seen == [None, None]
    assert await stored_progress(handle) is None


async def test_wrong_progress_is_an_error_of_the_task(manager: TaskManager) -> None:
    @manager.task
    def work() -> None:
        progress(1, 0)

    handle = await manager.enqueue(work)
    await manager.join()

    record = await handle.record()
    assert record is not None
    assert record.error is not None and record.error.startswith("ValueError: total=0")


def test_outside_of_a_task_progress_does_nothing_and_lines_go_to_a_logger(
    caplog: pytest.LogCaptureFixture,
) -> None:
    progress(1, 2, "nobody listens")
    task_log("to the logger", level="warning", x=1)

    assert caplog.record_tuples == [("taskflow.task", logging.WARNING, "to the logger x=1")]


# -- after the end ---------------------------------------------------------------------------------


async def test_a_thread_that_was_given_up_keeps_its_log_and_loses_its_progress(
    manager: TaskManager,
) -> None:
    told, done = threading.Event(), threading.Event()

    @manager.task(timeout=0.1)
    def stuck() -> None:
        progress(1, 3, "in time")
        told.wait(PATIENCE)
        task_log("still there")
        progress(2, 3, "too late")
        done.set()

    async with listening(manager) as heard:
        handle = await manager.enqueue(stuck)
        await heard.until(lambda e: isinstance(e, TaskChanged) and e.status == "failed")
        told.set()
        assert await asyncio.to_thread(done.wait, PATIENCE)
        await heard.until(lambda event: isinstance(event, LineWritten))
        await manager.join()

    assert await lines_of(manager, handle) == [("info", "still there")]
    assert await stored_progress(handle) == {"done": 1, "total": 3, "message": "in time"}
    assert heard.steps(handle.task_id) == [1]


async def test_a_thread_whose_first_word_comes_after_its_end_changes_nothing(
    manager: TaskManager,
) -> None:
    told, done = threading.Event(), threading.Event()

    @manager.task(timeout=0.1)
    def stuck() -> None:
        told.wait(PATIENCE)
        progress(2, 3, "too late")
        task_log("still there")
        done.set()

    async with listening(manager) as heard:
        handle = await manager.enqueue(stuck)
        await heard.until(lambda e: isinstance(e, TaskChanged) and e.status == "failed")
        told.set()
        assert await asyncio.to_thread(done.wait, PATIENCE)
        await heard.until(lambda event: isinstance(event, LineWritten))

    assert await stored_progress(handle) is None
    assert heard.steps(handle.task_id) == []


@pytest.mark.parametrize("speaks", [False, True])
async def test_what_a_task_leaves_running_logs_and_prints_for_the_app(
    db_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    speaks: bool,
) -> None:
    ended = asyncio.Event()
    left: list[asyncio.Task[None]] = []

    async def pool() -> None:
        await ended.wait()
        log.warning("a connection was lost")
        print("trying again")

    async def work() -> None:
        if speaks:
            task_log("hello")
        left.append(asyncio.create_task(pool()))

    async with TaskManager(db_path, capture_print=True) as manager:
        manager.task(work)
        handle = await manager.enqueue(work)
        await manager.join()
        ended.set()
        await left[0]
        lines = await lines_of(manager, handle)

    assert lines == [("info", "hello")] * speaks
    assert capsys.readouterr().out == "trying again\n"
    assert ("shop.mail", logging.WARNING, "a connection was lost") in caplog.record_tuples


@pytest.mark.parametrize("speaks", [False, True])
async def test_a_coroutine_that_ignores_its_cancellation_is_still_heard(
    manager: TaskManager, speaks: bool
) -> None:
    given_up, done = asyncio.Event(), asyncio.Event()

    @manager.task(timeout=0.05)
    async def stubborn() -> None:
        if speaks:
            task_log("hello")
        while not given_up.is_set():
            try:
                await given_up.wait()
            except asyncio.CancelledError:
                continue
        log.warning("still there")
        done.set()

    handle = await manager.enqueue(stubborn)
    await manager.join()
    given_up.set()
    await done.wait()

    assert ("warning", "[shop.mail] still there") in await lines_of(manager, handle)


async def test_an_attempt_whose_task_was_lost_to_others_changes_nothing_any_more(
    manager: TaskManager,
) -> None:
    started = asyncio.Event()

    @manager.task
    async def work() -> None:
        progress(1, 3)
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            progress(2, 3)

    handle = await manager.enqueue(work)
    await started.wait()
    assert await stored_progress(handle) == {"done": 1, "total": 3, "message": ""}
    manager.engine.dispatcher.refused(frozenset({handle.task_id}))
    await manager.join()

    assert await stored_progress(handle) == {"done": 1, "total": 3, "message": ""}


# -- the context -----------------------------------------------------------------------------------


async def use_context_async() -> tuple[str, int, bool]:
    return use_context()


@pytest.mark.parametrize(
    ("lane", "function"),
    [("io", use_context), ("cpu", use_context_in_process), ("async", use_context_async)],
)
async def test_the_context_of_a_task_offers_the_same(
    manager: TaskManager, lane: Any, function: Callable[[], Any | Awaitable[Any]]
) -> None:
    manager.task(lane=lane)(function)

    handle = await manager.enqueue(function)

    assert await handle.result(timeout=PATIENCE) == (handle.task_id, 1, False)
    assert await lines_of(manager, handle) == [("error", "from the context")]
    assert await stored_progress(handle) == {"done": 1, "total": 2, "message": "half"}
