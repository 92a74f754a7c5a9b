"""What only the lane with worker processes has to cope with: they die, hang and answer nonsense."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from executors import (
    Cancelled,
    LaneFullError,
    ProcessLane,
    Raised,
    Returned,
    TimedOut,
    WorkerLost,
)
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench("cpu", tmp_path)
    yield bench
    await bench.close()


async def process_lane(bench: Bench, limit: int = 1, **options: object) -> ProcessLane:
    lane = bench.fresh(limit, 100, **options)
    assert isinstance(lane, ProcessLane)
    await lane.start()
    return lane


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# -- starting --------------------------------------------------------------------------------------


async def test_a_lane_that_is_not_used_starts_no_process(bench: Bench) -> None:
    before = set(psutil.Process().children())
    lane = await process_lane(bench, 2, spare=True)

    await asyncio.sleep(0.05)

    assert lane.workers() == []
    assert set(psutil.Process().children()) == before


async def test_warming_up_starts_every_worker_and_the_spare_follows(bench: Bench) -> None:
    lane = await process_lane(bench, 2, spare=True)

    await lane.warm()

    assert len(lane.workers()) >= 2
    await until(lambda: len(lane.workers()) == 3)
    assert len({worker.pid for worker in lane.workers()}) == 3


async def test_workers_tell_what_they_are_doing(bench: Bench) -> None:
    lane = await process_lane(bench, 1)
    began = time.time()
    await bench.run(lane, work.add, 1)
    await bench.hold(lane, "slow")

    (worker,) = lane.workers()

    assert alive(worker.pid)
    assert began - 1 <= worker.started_at <= time.time()
    assert (worker.calls_done, worker.busy) == (1, True)


async def test_only_as_many_workers_are_kept_as_were_ever_needed(bench: Bench) -> None:
    lane = await process_lane(bench, 4, spare=True)

    for number in range(5):
        assert await bench.run(lane, work.add, number) == Returned(number)

    assert len(lane.workers()) == 1


async def test_fewer_slots_mean_fewer_workers(bench: Bench) -> None:
    lane = await process_lane(bench, 3)
    await lane.warm()
    before = {worker.pid for worker in lane.workers()}

    lane.resize(1)

    await until(lambda: sum(alive(pid) for pid in before) == 1)
    assert len(lane.workers()) == 1
    assert await bench.run(lane, work.add, 1) == Returned(1)


@pytest.mark.parametrize(("nice", "expected"), [(None, 0), (7, 7), (19, 19)])
async def test_workers_run_at_the_priority_they_were_given(
    bench: Bench, nice: int | None, expected: int
) -> None:
    lane = await process_lane(bench, 1, nice=nice)
    await lane.warm()

    assert psutil.Process(lane.workers()[0].pid).nice() == psutil.Process().nice() + expected


async def test_workers_can_be_made_to_run_only_when_nothing_else_does(bench: Bench) -> None:
    lane = await process_lane(bench, 1, nice="idle")
    await lane.warm()

    assert os.sched_getscheduler(lane.workers()[0].pid) == os.SCHED_IDLE


@pytest.mark.parametrize("nice", [-1, 20, "low"])
def test_an_impossible_priority_is_refused(nice: object) -> None:
    with pytest.raises(ValueError, match="nice"):
        ProcessLane(limit=1, room=0, nice=nice)  # type: ignore[arg-type]  # that is the point


async def test_preloaded_modules_are_there_before_the_first_call(bench: Bench) -> None:
    lane = await process_lane(bench, 1, preload=["this_is_no_module", "wave"])
    call = Told(work.is_loaded, "wave")

    lane.submit(call)

    assert await call.outcome() == Returned("loaded")


async def test_a_module_that_will_not_load_is_told_and_breaks_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    lane = await process_lane(bench, 1, preload=["this_is_no_module"])

    assert await bench.run(lane, work.add, 1) == Returned(1)
    assert "could not preload this_is_no_module" in caplog.text


async def test_a_worker_that_cannot_start_fails_the_call_and_not_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The machinery that all workers share comes up with the first one: it must not fail here.
    assert await bench.run(await process_lane(bench), work.add, 1) == Returned(1)
    lane = await process_lane(bench, 1)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONHOME", "/nowhere")  # no interpreter starts like this
        outcome = await bench.run(lane, work.add, 1)

    assert outcome == WorkerLost("exit code 1 while starting")
    assert await bench.run(lane, work.add, 2) == Returned(2)


async def test_coroutine_functions_run_under_a_loop_of_their_own(bench: Bench) -> None:
    lane = await process_lane(bench)

    assert await bench.run(lane, work.in_a_loop_of_its_own, 1) == Returned(2)


async def test_large_arguments_and_results_do_not_stop_the_loop(bench: Bench) -> None:
    lane = await process_lane(bench)
    data = os.urandom(8_000_000)

    assert await bench.run(lane, bytes, data) == Returned(data)


async def test_a_stopped_worker_with_a_large_argument_does_not_block_the_loop(
    bench: Bench,
) -> None:
    lane = await process_lane(bench)
    await lane.warm()
    os.kill(lane.workers()[0].pid, signal.SIGSTOP)
    call = bench.call(len, bytes(8_000_000))

    lane.submit(call)
    await asyncio.sleep(0)
    os.kill(lane.workers()[0].pid, signal.SIGCONT)

    assert await call.outcome() == Returned(8_000_000)


async def test_a_signal_from_the_keyboard_does_not_reach_the_work(bench: Bench) -> None:
    lane = await process_lane(bench)
    call = await bench.hold(lane, "busy")

    os.kill(lane.workers()[0].pid, signal.SIGINT)
    bench.open("busy")

    assert await call.outcome() == Returned("busy")


async def test_a_signal_the_program_ignores_is_not_ignored_by_its_workers(bench: Bench) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        lane = await process_lane(bench)
        call = await bench.hold(lane, "busy")
    finally:
        signal.signal(signal.SIGUSR1, before)

    os.kill(lane.workers()[0].pid, signal.SIGUSR1)

    assert await call.outcome() == WorkerLost("SIGUSR1")


async def test_an_idle_worker_keeps_nothing_of_its_last_call_alive(bench: Bench) -> None:
    lane = await process_lane(bench)

    class Weak(Told):
        __slots__ = ("__weakref__",)

    call = Weak(work.add, 1)
    lane.submit(call)
    await call.outcome()
    gone = weakref.ref(call)
    del call

    await until(lambda: gc.collect() >= 0 and gone() is None)


# -- dying -----------------------------------------------------------------------------------------

DYING: list[tuple[Callable[..., object], tuple[int, ...], str]] = [
    (work.leave, (0,), "exit code 0"),
    (work.leave, (3,), "exit code 3"),
    (work.kill_myself, (signal.SIGKILL,), "SIGKILL"),
    (work.kill_myself, (signal.SIGSEGV,), "SIGSEGV"),
    (work.kill_myself, (signal.SIGTERM,), "SIGTERM"),
    (work.read_address_zero, (), "SIGSEGV"),
    (work.kill_my_group, (), "SIGKILL"),
]


async def test_a_worker_that_dies_takes_its_own_call_along_and_nothing_else(
    bench: Bench,
) -> None:
    lane = await process_lane(bench, 2, spare=True)
    neighbour = await bench.hold(lane, "neighbour")

    for function, args, reason in DYING:
        assert await bench.run(lane, function, *args) == WorkerLost(reason), function
        assert await bench.run(lane, work.add, 1) == Returned(1)

    bench.open("neighbour")
    assert await neighbour.outcome() == Returned("neighbour")


async def test_a_worker_that_closed_its_files_is_replaced(bench: Bench) -> None:
    lane = await process_lane(bench, 1)

    outcome = await bench.run(lane, work.close_every_file)

    # It may notice by itself, or be ended by whoever notices first that it does not answer.
    assert outcome in [WorkerLost(reason) for reason in ("exit code 1", "SIGTERM", "SIGKILL")]
    assert await bench.run(lane, work.add, 1) == Returned(1)


async def test_a_worker_killed_while_idle_is_replaced_in_silence(bench: Bench) -> None:
    lane = await process_lane(bench, 2)
    await lane.warm()
    victims = {worker.pid for worker in lane.workers()}

    for pid in victims:
        os.kill(pid, signal.SIGKILL)

    await until(lambda: len(lane.workers()) == 2 and not {w.pid for w in lane.workers()} & victims)


async def test_a_call_sent_to_a_worker_that_was_killed_just_then_runs_in_another(
    bench: Bench,
) -> None:
    lane = await process_lane(bench, 2)
    await lane.warm()

    for number in range(5):
        for worker in lane.workers():
            os.kill(worker.pid, signal.SIGKILL)
        assert await bench.run(lane, work.add, number) == Returned(number)


async def test_an_answer_counts_even_if_the_death_is_heard_of_first(bench: Bench) -> None:
    lane = await process_lane(bench)
    await lane.warm()
    pid = lane.workers()[0].pid
    call = Told(work.answer_and_die)
    lane.submit(call)

    while alive(pid):  # on purpose without giving the loop a chance to listen meanwhile
        time.sleep(0.01)  # noqa: ASYNC251
    time.sleep(0.1)  # noqa: ASYNC251

    assert await call.outcome() == Returned("last words")


async def test_what_a_worker_started_dies_with_it(bench: Bench) -> None:
    lane = await process_lane(bench, 1)
    pid_file = bench.folder / "pid"
    call = Told(work.start_a_child, str(pid_file))
    lane.submit(call)
    await until(pid_file.exists)
    grandchild = int(pid_file.read_text())
    assert alive(grandchild)

    os.kill(lane.workers()[0].pid, signal.SIGKILL)

    assert await call.outcome() == WorkerLost("SIGKILL")
    await until(lambda: not alive(grandchild))


async def test_a_function_that_forks_and_comes_back_twice_answers_once(bench: Bench) -> None:
    lane = await process_lane(bench, 1)

    for _ in range(3):
        assert await bench.run(lane, work.fork_and_return) == Returned("worker")

    assert await bench.run(lane, work.add, 1) == Returned(1)


# -- answers ---------------------------------------------------------------------------------------


async def test_a_result_that_will_not_pickle_is_a_clear_failure(bench: Bench) -> None:
    lane = await process_lane(bench)

    outcome = await bench.run(lane, work.return_lambda)

    assert isinstance(outcome, Raised)
    assert outcome.failure.type_name == "TypeError"
    assert "the result, a function, will not pickle" in outcome.failure.message


async def test_a_result_that_will_not_unpickle_is_a_clear_failure(bench: Bench) -> None:
    lane = await process_lane(bench)

    outcome = await bench.run(lane, work.return_trap)

    assert isinstance(outcome, Raised)
    assert "the result will not unpickle: SystemExit" in outcome.failure.message


async def test_a_result_that_is_too_large_is_a_clear_failure(bench: Bench) -> None:
    lane = await process_lane(bench, max_result_bytes=1000)

    outcome = await bench.run(lane, work.return_bytes, 2000)

    assert isinstance(outcome, Raised)
    assert outcome.failure.type_name == "ValueError"
    assert "max_result_bytes=1000" in outcome.failure.message
    assert await bench.run(lane, work.return_bytes, 500) == Returned(bytes(500))


async def test_a_function_the_worker_cannot_find_is_a_clear_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = await process_lane(bench)

    def only_here() -> None: ...

    only_here.__qualname__ = only_here.__name__ = "only_here"
    only_here.__module__ = work.__name__
    monkeypatch.setattr(work, "only_here", only_here, raising=False)

    outcome = await bench.run(lane, only_here)

    assert isinstance(outcome, Raised)
    assert "cannot be unpacked in the worker: AttributeError" in outcome.failure.message
    assert await bench.run(lane, work.add, 1) == Returned(1)


# -- ending ----------------------------------------------------------------------------------------


async def test_an_endless_loop_ends_at_its_timeout_and_the_spare_takes_over(bench: Bench) -> None:
    lane = await process_lane(bench, 1, spare=True)
    await lane.warm()
    call = Told(work.spin, str(bench.folder / "started"), timeout=0.3)
    lane.submit(call)
    victim = lane.workers()[0].pid

    assert await call.outcome() == TimedOut(0.3, "its worker process was killed")

    assert not alive(victim)
    assert await bench.run(lane, work.add, 1) == Returned(1)


async def test_code_that_ignores_sigterm_is_killed_after_a_grace(bench: Bench) -> None:
    lane = await process_lane(bench, 1)
    started = bench.folder / "started"
    call = Told(work.ignore_sigterm, str(started))
    lane.submit(call)
    await until(started.exists)

    lane.cancel(call)

    assert await call.outcome() == Cancelled("its worker process was killed")
    assert await bench.run(lane, work.add, 1) == Returned(1)


async def test_code_that_catches_sigterm_can_tidy_up(bench: Bench) -> None:
    lane = await process_lane(bench, 1)
    started, tidied = bench.folder / "started", bench.folder / "tidied"
    call = Told(work.tidy_up_on_sigterm, str(started), str(tidied))
    lane.submit(call)
    await until(started.exists)

    lane.cancel(call)

    assert await call.outcome() == Cancelled("its worker process stopped on SIGTERM")
    assert tidied.exists()
    assert await bench.run(lane, work.add, 1) == Returned(1)


async def test_a_call_cancelled_before_its_worker_is_up_never_runs(bench: Bench) -> None:
    lane = await process_lane(bench, 1)
    diary = bench.folder / "diary"
    call = Told(work.note, str(diary), "ran")
    lane.submit(call)

    assert lane.cancel(call)

    assert await call.outcome() == Cancelled("before it started")
    assert await bench.run(lane, work.add, 1) == Returned(1)
    assert not diary.exists()


async def test_stopping_leaves_no_process_and_no_thread(bench: Bench) -> None:
    lane = await process_lane(bench, 2, spare=True)
    await bench.hold(lane, "busy")
    await lane.warm()
    pids = [worker.pid for worker in lane.workers()]

    await lane.stop()

    assert not any(alive(pid) for pid in pids)
    assert lane.workers() == []


async def test_stopping_while_workers_are_being_started_leaves_none(bench: Bench) -> None:
    before = set(psutil.Process().children(recursive=True))
    lane = await process_lane(bench, 3)
    calls = [Told(work.add, 1) for _ in range(3)]
    for call in calls:
        lane.submit(call)

    await lane.stop()

    assert [await call.outcome() for call in calls] == [Cancelled("before it started")] * 3
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [p for p in left if "resource_tracker" not in " ".join(p.cmdline())]


async def test_a_full_lane_refuses_without_touching_a_worker(bench: Bench) -> None:
    lane = ProcessLane(limit=1, room=0, nice=None, spare=False)
    bench.lanes.append(lane)
    await lane.start()
    await bench.hold(lane, "busy")

    with pytest.raises(LaneFullError):
        lane.submit(Told(work.add, 1))
