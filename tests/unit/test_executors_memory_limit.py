"""A call in a worker process may take only so much memory, and only that call feels it."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from executors import Failure, ProcessLane, Raised, Returned, WorkerLost
from executors.memory_limit import MemoryLimit
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench, Told, until

MIB = 1024 * 1024


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


async def limited(
    lane: ProcessLane, megabytes: int, function: Callable[..., object], *args: object
) -> object:
    """What the function returns or how it fails with so much memory."""
    call = Told(function, *args, memory_limit=megabytes * MIB)
    lane.submit(call)
    outcome = await call.outcome()
    match outcome:
        case Returned(value):
            return value
        case Raised(failure):
            return failure
    return outcome


async def test_a_call_that_stays_within_its_memory_notices_nothing(bench: Bench) -> None:
    lane = await process_lane(bench)

    assert await limited(lane, 128, work.take_memory, 100 * MIB) == 100 * MIB


@pytest.mark.parametrize("function", [work.take_memory, work.take_memory_in_a_result])
async def test_a_call_that_takes_too_much_memory_is_told_its_limit(
    bench: Bench, function: Callable[..., object]
) -> None:
    lane = await process_lane(bench)

    failure = await limited(lane, 128, function, 200 * MIB)

    assert isinstance(failure, Failure)
    assert failure.type_name == "MemoryError"
    assert failure.message == "more than its memory limit of 128 MiB"
    assert f"in {function.__name__}" in failure.traceback
    assert failure.traceback.endswith("MemoryError\nmore than its memory limit of 128 MiB\n")


async def test_packing_the_result_counts_too(bench: Bench) -> None:
    lane = await process_lane(bench)

    failure = await limited(lane, 128, work.take_memory_in_a_result, 100 * MIB)

    assert isinstance(failure, Failure)
    assert failure.message == "more than its memory limit of 128 MiB"


async def test_the_limit_is_counted_from_what_the_worker_has(bench: Bench) -> None:
    lane = await process_lane(bench)
    await bench.run(lane, work.keep_memory, 300 * MIB)

    assert await limited(lane, 128, work.take_memory, 100 * MIB) == 100 * MIB
    assert isinstance(await limited(lane, 128, work.take_memory, 200 * MIB), Failure)


async def test_the_limit_is_lifted_after_the_call(bench: Bench) -> None:
    lane = await process_lane(bench)
    before = resource.getrlimit(resource.RLIMIT_DATA)

    inside = await limited(lane, 128, work.memory_limits)
    await limited(lane, 128, work.take_memory, 200 * MIB)

    assert isinstance(inside, tuple)
    assert 128 * MIB < inside[0] < 4096 * MIB
    assert await bench.run(lane, work.memory_limits) == Returned(before)
    assert await bench.run(lane, work.take_memory, 200 * MIB) == Returned(200 * MIB)


async def test_a_worker_that_came_up_against_its_limit_is_replaced(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "executors")
    lane = await process_lane(bench)
    (first,) = lane.workers()

    await limited(lane, 128, work.take_memory, 200 * MIB)

    await until(lambda: first.pid not in {worker.pid for worker in lane.workers()})
    assert "was replaced: a call came up against its memory limit" in caplog.text


async def test_neighbours_have_all_the_memory_there_is(bench: Bench) -> None:
    lane = await process_lane(bench, 2)
    tight = Told(work.hold, str(bench.gate("tight")), memory_limit=64 * MIB)
    lane.submit(tight)
    await until(bench.gate("tight").with_suffix(".held").exists)

    assert await bench.run(lane, work.take_memory, 200 * MIB) == Returned(200 * MIB)

    bench.open("tight")
    assert await tight.outcome() == Returned("tight")


async def test_a_thread_that_will_not_start_points_to_the_limit(bench: Bench) -> None:
    lane = await process_lane(bench)

    failure = await limited(lane, 16, work.leave_threads, 50, str(bench.gate("linger")))

    assert isinstance(failure, Failure)
    assert failure.type_name == "RuntimeError"
    assert failure.message.endswith(": perhaps for its memory limit of 16 MiB")


async def test_native_code_that_dies_of_the_limit_costs_its_own_call(bench: Bench) -> None:
    lane = await process_lane(bench)

    assert await limited(lane, 64, work.take_memory_and_die, 200 * MIB) == WorkerLost("SIGSEGV")
    assert await bench.run(lane, work.add, 1) == Returned(1)


async def test_an_error_of_the_call_itself_is_told_as_it_is(bench: Bench) -> None:
    lane = await process_lane(bench)

    failure = await limited(lane, 128, work.fail, "no route")

    assert isinstance(failure, Failure)
    assert (failure.type_name, failure.message) == ("ConnectionResetError", "no route")


def test_stricter_limits_of_the_process_stay() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, before[1]))

        limit = MemoryLimit(1 << 50)
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] == 1 << 40
        limit.lift()
        limit.lift()

        assert resource.getrlimit(resource.RLIMIT_DATA) == (1 << 40, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
