"""When a worker process dies or hangs, its call is told why and where, as far as can be known."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from executors import Outcome, ProcessLane, Returned, TimedOut, WorkerLost, oom
from executors.crash_report import ASK, MOST, CrashReport
from executors.oom import oom_kills
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench("cpu", tmp_path)
    yield bench
    await bench.close()


async def process_lane(bench: Bench, limit: int = 1) -> ProcessLane:
    lane = await bench.lane(limit)
    assert isinstance(lane, ProcessLane)
    await lane.warm()
    return lane


def detail(outcome: Outcome) -> str:
    assert isinstance(outcome, WorkerLost | TimedOut)
    return outcome.detail


# -- where it was ----------------------------------------------------------------------------------


async def test_a_crash_is_told_with_the_stack_of_the_code_that_crashed(bench: Bench) -> None:
    lane = await process_lane(bench)

    outcome = await bench.run(lane, work.read_address_zero)

    assert outcome == WorkerLost("SIGSEGV")
    assert detail(outcome).startswith("Fatal Python error: Segmentation fault")
    assert "lane_functions.py" in detail(outcome)
    assert "in read_address_zero" in detail(outcome)
    assert "worker.py" not in detail(outcome), "only the user's own code is of interest"


async def test_a_crash_is_told_with_the_stacks_of_all_threads(bench: Bench) -> None:
    lane = await process_lane(bench)

    outcome = await bench.run(lane, work.crash_in_a_crowd, 3)

    assert detail(outcome).count("in linger") == 3
    assert "in crash_in_a_crowd" in detail(outcome)


async def test_a_report_that_is_too_long_is_cut_and_kills_all_the_same(bench: Bench) -> None:
    lane = await process_lane(bench)

    outcome = await bench.run(lane, work.crash_in_a_deep_crowd, 90)

    assert outcome == WorkerLost("SIGSEGV")
    assert 0 < len(detail(outcome)) <= MOST


@pytest.mark.parametrize(("function", "args"), [(work.leave, (3,)), (work.kill_myself, (9,))])
async def test_a_process_that_just_ends_leaves_no_report(
    bench: Bench, function: Callable[..., object], args: tuple[object, ...]
) -> None:
    lane = await process_lane(bench)

    assert detail(await bench.run(lane, function, *args)) == ""


@pytest.mark.parametrize(
    "function", [work.spin, work.lock_up, work.backtrack_for_ever, work.hold_the_interpreter]
)
async def test_a_call_that_took_too_long_is_told_where_it_was(
    bench: Bench, function: Callable[..., object]
) -> None:
    lane = await process_lane(bench)
    await bench.run(lane, work.add, 1)
    call = Told(function, str(bench.folder / "started"), timeout=0.5)
    lane.submit(call)

    outcome = await call.outcome()

    assert outcome == TimedOut(0.5, "its worker process was killed")
    assert f"in {function.__name__}" in detail(outcome)


async def test_code_that_took_the_signals_away_is_not_asked_where_it_is(bench: Bench) -> None:
    lane = await process_lane(bench)
    started = bench.folder / "started"
    call = Told(work.reset_every_handler_and_spin, str(started), timeout=0.5)
    lane.submit(call)

    outcome = await call.outcome()

    assert outcome == TimedOut(0.5, "its worker process was killed")
    assert detail(outcome) == ""


async def test_being_asked_where_it_is_does_not_keep_code_from_tidying_up(bench: Bench) -> None:
    lane = await process_lane(bench)
    started, tidied = bench.folder / "started", bench.folder / "tidied"
    call = Told(work.tidy_up_on_sigterm, str(started), str(tidied), timeout=0.5)
    lane.submit(call)

    outcome = await call.outcome()

    assert outcome == TimedOut(0.5, "its worker process stopped on SIGTERM")
    assert tidied.exists()
    assert "in tidy_up_on_sigterm" in detail(outcome)


async def test_a_worker_can_say_where_it_is_and_go_on(bench: Bench) -> None:
    lane = await process_lane(bench)
    call = await bench.hold(lane, "held")

    os.kill(lane.workers()[0].pid, ASK)
    bench.open("held")

    assert await call.outcome() == Returned("held")


def test_a_process_that_does_not_catch_the_signal_is_not_sent_it() -> None:
    report = CrashReport()
    before = signal.signal(ASK, signal.SIG_DFL)
    try:
        assert not report.ask(os.getpid())
    finally:
        signal.signal(ASK, before)
    assert report.read() == ""


# -- why it was ------------------------------------------------------------------------------------


def counted(root: Path, path: str, count: int) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"low 0\noom 7\noom_kill {count}\n")


def test_kills_for_want_of_memory_are_counted_by_the_own_group_where_possible(
    tmp_path: Path,
) -> None:
    assert oom_kills(tmp_path) is None
    counted(tmp_path, "proc/vmstat", 1)
    assert oom_kills(tmp_path) == 1
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/cgroup").write_text("4:cpu,memory:/box\n0::/of/the/host\n")
    assert oom_kills(tmp_path) == 1
    counted(tmp_path, "sys/fs/cgroup/memory/memory.oom_control", 2)
    assert oom_kills(tmp_path) == 2
    counted(tmp_path, "sys/fs/cgroup/memory/box/memory.oom_control", 3)
    assert oom_kills(tmp_path) == 3
    counted(tmp_path, "sys/fs/cgroup/memory.events", 4)
    assert oom_kills(tmp_path) == 4
    counted(tmp_path, "sys/fs/cgroup/of/the/host/memory.events", 5)
    assert oom_kills(tmp_path) == 5


async def test_a_worker_killed_for_want_of_memory_is_told_from_one_that_was_just_killed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    counted(root, "proc/vmstat", 5)
    monkeypatch.setattr(oom, "ROOT", root)
    lane = await process_lane(bench, 2)
    neighbour = await bench.hold(lane, "neighbour")

    assert await bench.run(lane, work.kill_myself, signal.SIGKILL) == WorkerLost("SIGKILL")
    victim = await bench.hold(lane, "victim")
    counted(root, "proc/vmstat", 6)
    os.kill(next(w.pid for w in lane.workers() if w.call is victim), signal.SIGKILL)
    assert await victim.outcome() == WorkerLost("SIGKILL (out of memory)")

    # One kill explains one death: the neighbour was there before it, too.
    os.kill(next(w.pid for w in lane.workers() if w.call is neighbour), signal.SIGKILL)
    assert await neighbour.outcome() == WorkerLost("SIGKILL")


async def test_a_worker_that_the_lane_killed_did_not_die_for_want_of_memory(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    counted(root, "proc/vmstat", 5)
    monkeypatch.setattr(oom, "ROOT", root)
    lane = await process_lane(bench, 2)
    neighbour = await bench.hold(lane, "neighbour")
    started = bench.folder / "started"
    call = Told(work.ignore_sigterm, str(started), timeout=0.5)
    lane.submit(call)
    await until(started.exists)

    counted(root, "proc/vmstat", 6)

    assert await call.outcome() == TimedOut(0.5, "its worker process was killed")
    # What the kernel counted was another.
    os.kill(next(w.pid for w in lane.workers() if w.call is neighbour), signal.SIGKILL)
    assert await neighbour.outcome() == WorkerLost("SIGKILL (out of memory)")
