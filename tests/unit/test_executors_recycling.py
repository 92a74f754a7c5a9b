"""A worker process that has served long enough, or is not to be trusted, is replaced by another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from executors import ProcessLane, Returned
from executors.recycling import Recycling
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until

MIB = 1024 * 1024


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench("cpu", tmp_path)
    yield bench
    await bench.close()


async def process_lane(bench: Bench, limit: int = 1, **options: object) -> ProcessLane:
    lane = await bench.lane(limit, 1000, **options)
    assert isinstance(lane, ProcessLane)
    await lane.warm()
    if options.get("spare"):
        await until(lambda: len(lane.workers()) == limit + 1)
    return lane


def processes() -> set[int]:
    """Every worker process there is, whether it is up or not."""
    return {child.pid for child in psutil.Process().children() if _is_worker(child)}


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and any(
            "spawn_main" in word for word in process.cmdline()
        )
    except psutil.NoSuchProcess:
        return False  # it ended between two looks


def pids(lane: ProcessLane) -> set[int]:
    return {worker.pid for worker in lane.workers()}


async def value(
    bench: Bench, lane: ProcessLane, function: Callable[..., object], *args: object
) -> object:
    outcome = await bench.run(lane, function, *args)
    assert isinstance(outcome, Returned), outcome
    return outcome.value


# -- when ------------------------------------------------------------------------------------------


async def test_a_worker_is_replaced_after_so_many_calls(bench: Bench) -> None:
    lane = await process_lane(bench, recycle_after=3)
    (first,) = pids(lane)

    used = {await value(bench, lane, work.pid) for _ in range(3)}

    assert used == {first}
    await until(lambda: pids(lane) and first not in pids(lane))
    assert await value(bench, lane, work.pid) != first


async def test_idle_workers_are_replaced_at_their_age_one_at_a_time(bench: Bench) -> None:
    lane = await process_lane(bench, 3, recycle_age=0.01)
    before = pids(lane)
    seen = []

    while pids(lane) & before:
        lane.recycle_idle()
        seen.append(len(lane.workers()))
        await asyncio.sleep(0.001)

    assert min(seen) >= 3
    assert max(seen) <= 4


async def test_a_worker_that_grew_too_large_is_replaced(bench: Bench) -> None:
    lane = await process_lane(bench, recycle_rss=300 * MIB)
    (first,) = pids(lane)

    assert await value(bench, lane, work.keep_memory, 100 * MIB) == first
    assert await value(bench, lane, work.pid) == first
    assert await value(bench, lane, work.keep_memory, 250 * MIB) == first

    await until(lambda: pids(lane) and first not in pids(lane))


async def test_an_idle_worker_that_grows_is_replaced(bench: Bench) -> None:
    lane = await process_lane(bench, recycle_rss=300 * MIB)
    first = await value(bench, lane, work.keep_memory_on_signal, signal.SIGUSR1, 350 * MIB)
    lane.recycle_idle()
    assert processes() == {first}

    def replaced() -> bool:
        lane.recycle_idle()
        return first not in pids(lane)

    assert isinstance(first, int)
    os.kill(first, signal.SIGUSR1)

    await until(replaced)
    assert await bench.run(lane, work.add, 1) == Returned(1)


@pytest.mark.parametrize("name", ["recycle_after", "recycle_age", "recycle_rss"])
def test_limits_that_would_replace_every_worker_at_once_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above 0 or None, not 0"):
        ProcessLane(limit=1, room=0, **{name: 0})  # type: ignore[arg-type]  # one of three


def test_a_worker_is_due_exactly_at_its_limits() -> None:
    class Served:
        calls_done = 9
        born = 100.0

        def rss(self) -> int:
            return 50 * MIB

    served = Served()
    assert Recycling().why(served, 1e9) == ""
    assert Recycling().never
    assert Recycling(after=10).why(served, 0) == ""
    assert Recycling(after=9).why(served, 0) == "it ran 9 calls"
    assert Recycling(age=10).why(served, 109.9) == ""
    assert Recycling(age=10).why(served, 110) == "it is 10 s old"
    assert Recycling(rss=50 * MIB).why(served, 0) == ""
    assert Recycling(rss=50 * MIB - 1).why(served, 0) == "it holds 50 MiB of memory"


# -- without loss ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spare", [True, False])
async def test_no_call_is_lost_and_no_slot_is_missing_while_workers_are_replaced(
    bench: Bench, spare: bool
) -> None:
    lane = await process_lane(bench, 2, recycle_after=20, spare=spare)
    before = pids(lane)
    calls = [Told(work.add, number) for number in range(1000)]
    fewest = 9

    for call in calls:
        lane.submit(call)
    while not all(call.outcomes for call in calls):
        fewest = min(fewest, len(lane.workers()))
        assert len(lane.workers()) <= 3
        await asyncio.sleep(0)

    assert [await call.outcome() for call in calls] == [Returned(number) for number in range(1000)]
    assert fewest >= 2
    await until(lambda: not pids(lane) & before)


async def test_a_worker_that_is_due_serves_on_until_another_is_up(bench: Bench) -> None:
    lane = await process_lane(bench, recycle_after=1)
    (first,) = pids(lane)

    # No time for another process to start: these follow each other at once.
    used = [await value(bench, lane, work.pid) for _ in range(3)]

    assert used == [first] * 3
    await until(lambda: first not in pids(lane))


async def test_a_busy_worker_is_replaced_when_its_call_has_ended(bench: Bench) -> None:
    lane = await process_lane(bench, recycle_after=1)
    (first,) = pids(lane)
    await bench.run(lane, work.add, 1)
    call = await bench.hold(lane, "busy")
    assert next(worker.pid for worker in lane.workers() if worker.busy) == first

    await until(lambda: len(lane.workers()) == 2)
    bench.open("busy")

    assert await call.outcome() == Returned("busy")
    await until(lambda: len(lane.workers()) == 1)
    assert first not in pids(lane)


async def test_with_a_spare_a_worker_that_is_due_goes_at_once(bench: Bench) -> None:
    lane = await process_lane(bench, 1, recycle_after=1, spare=True)

    first = await value(bench, lane, work.pid)

    assert first not in pids(lane)
    assert await value(bench, lane, work.pid) != first
    await until(lambda: len(lane.workers()) == 2)


async def test_fewer_slots_mean_fewer_workers_while_one_is_replaced(bench: Bench) -> None:
    lane = await process_lane(bench, 3, recycle_after=1)
    await bench.run(lane, work.add, 1)

    lane.resize(1)

    await until(lambda: len(lane.workers()) == len(processes()) == 1)
    assert await bench.run(lane, work.add, 1) == Returned(1)


async def test_workers_tell_which_call_they_run(bench: Bench) -> None:
    lane = await process_lane(bench, 2)
    call = await bench.hold(lane, "busy")

    assert [worker.call for worker in lane.workers() if worker.busy] == [call]
    assert [worker.call for worker in lane.workers() if not worker.busy] == [None]


# -- what calls leave behind -----------------------------------------------------------------------

RESIDUE: list[tuple[Callable[..., object], tuple[object, ...], str]] = [
    (work.leave_threads, (1, "{gate}"), "left 1 thread behind (left-0)"),
    (work.leave_threads, (200, "{gate}"), "left 200 threads behind (left-0, left-1, left-10, ...)"),
    (work.change_folder, ("/",), "changed the working directory"),
    (work.change_umask, (0o777,), "changed the umask"),
]


@pytest.mark.parametrize(("function", "args", "what"), RESIDUE)
async def test_a_worker_in_which_a_call_left_something_is_replaced(
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
    function: Callable[..., object],
    args: tuple[object, ...],
    what: str,
) -> None:
    caplog.set_level(logging.INFO, "executors")
    lane = await process_lane(bench)
    given = [str(bench.gate("linger")) if arg == "{gate}" else arg for arg in args]

    first = await value(bench, lane, function, *given)

    await until(lambda: first not in pids(lane))
    assert await value(bench, lane, work.pid) != first
    assert f"worker {first} of lane 'cpu' was replaced: a call {what}" in caplog.text


async def test_the_next_call_finds_folder_and_umask_as_they_were(bench: Bench) -> None:
    lane = await process_lane(bench)
    before = await value(bench, lane, work.surroundings)

    await bench.run(lane, work.change_folder, "/")
    after_folder = await value(bench, lane, work.surroundings)
    await bench.run(lane, work.change_umask, 0o777)
    after_umask = await value(bench, lane, work.surroundings)

    assert isinstance(before, tuple)
    # In the same process, which has not been replaced so soon.
    assert before == after_folder == after_umask


async def test_an_alarm_that_was_left_behind_does_not_end_the_next_call(bench: Bench) -> None:
    lane = await process_lane(bench)
    first = await value(bench, lane, work.set_an_alarm, 0.05)

    call = await bench.hold(lane, "next")
    await asyncio.sleep(0.1)
    bench.open("next")

    assert await call.outcome() == Returned("next")
    assert pids(lane) == {first}


async def test_a_thread_that_is_about_to_end_is_waited_for(bench: Bench) -> None:
    lane = await process_lane(bench)

    used = {await value(bench, lane, work.start_a_timer_and_cancel_it) for _ in range(5)}

    assert used == pids(lane) == processes()


async def test_each_call_of_a_function_that_leaves_threads_is_still_served(bench: Bench) -> None:
    lane = await process_lane(bench, 2, spare=True)
    gate = str(bench.gate("linger"))

    calls = [Told(work.leave_threads, 5, gate) for _ in range(40)]
    for call in calls:
        lane.submit(call)

    outcomes = [await call.outcome() for call in calls]
    assert all(isinstance(outcome, Returned) for outcome in outcomes)


# -- warming up ------------------------------------------------------------------------------------

HERE = work.__name__


async def test_every_worker_is_warmed_up_once_before_its_first_call(bench: Bench) -> None:
    lane = await process_lane(bench, warm_up=[f"{HERE}:warm_up", f"{HERE}:warm_up_slowly"])
    (first,) = pids(lane)

    assert await value(bench, lane, work.warm_ups) == ["warm", "slowly"]
    assert await value(bench, lane, work.warm_ups) == ["warm", "slowly"]
    assert processes() == pids(lane) == {first}, "what the warm-up leaves behind is meant to stay"


async def test_a_warm_up_that_fails_is_told_once_and_disturbs_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    lane = await process_lane(
        bench,
        2,
        warm_up=[
            f"{HERE}:warm_up_badly",
            f"{HERE}:no_such_hook",
            "nowhere:at_all",
            f"{HERE}:warm_up",
        ],
    )

    assert await value(bench, lane, work.warm_ups) == ["warm"]
    assert caplog.text.count(f"could not run the warm-up {HERE}:warm_up_badly: Traceback") == 1
    assert "SystemExit: no" in caplog.text
    assert "has no attribute 'no_such_hook'" in caplog.text
    assert "No module named 'nowhere'" in caplog.text


async def test_a_warm_up_that_kills_the_worker_is_left_out_in_the_end(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    lane = await bench.lane(1, warm_up=[f"{HERE}:warm_up_to_death"])

    assert await bench.run(lane, work.add, 1) == Returned(1)

    assert caplog.text.count("died while starting: exit code 7") == 2
    assert "starts without preload and warm-up" in caplog.text


@pytest.mark.parametrize("name", ["warm", ":warm", "warm:"])
def test_a_warm_up_that_names_no_function_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="'module:function'"):
        ProcessLane(limit=1, room=0, warm_up=[name])


# -- when workers will not start -------------------------------------------------------------------


async def test_workers_that_could_not_be_replaced_are_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("executors.worker_pool._START_AGAIN", 0.0)
    lane = await process_lane(bench, recycle_after=1)
    (first,) = pids(lane)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONHOME", "/nowhere")  # no interpreter starts like this
        assert await bench.run(lane, work.add, 1) == Returned(1)
        await until(lambda: caplog.text.count("died while starting: exit code 1") == 3)
    assert await value(bench, lane, work.pid) == first

    lane.recycle_idle()

    await until(lambda: pids(lane) and first not in pids(lane))


async def test_a_lane_outlives_a_want_of_file_descriptors(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    lane = await bench.lane(1)
    await bench.run(lane, work.add, 1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    blockers = []
    call = Told(work.add, 1)

    lane.resize(2)
    holder = await bench.hold(lane, "first")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        with contextlib.suppress(OSError):
            while True:
                blockers.append(socket.socket())
        lane.submit(call)
        assert not call.outcomes
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for blocker in blockers:
            blocker.close()
    assert "cannot start a worker: [Errno 24]" in caplog.text
    bench.open("first")

    assert await holder.outcome() == Returned("first")
    assert await call.outcome() == Returned(1), "in the worker that has become free"
    assert await bench.run(lane, work.add, 2) == Returned(2)
