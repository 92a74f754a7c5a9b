"""The pure parts of the admin: percentiles, shared figures, why a task waits, odd stored values."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.admin.figures import Shared, nearest_rank, percentiles, success_rate
from taskflow.admin.present import executions, present
from taskflow.admin.values import between, moment, parse, shorten
from taskflow.admin.waiting import Place, explain
from taskflow.record import AttemptRecord, TaskRecord
from taskflow.states import TaskStatus

HERE = Place(known=True, instance="here-1", limit=4, running=4, waiting=7, paused=False)


def record(**changes: object) -> TaskRecord:
    made = TaskRecord("id-1", "shop:send", "io", 1000.0)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


# -- percentiles ---------------------------------------------------------------------------------


def test_percentiles_are_values_that_were_measured() -> None:
    found = percentiles([float(n) for n in range(100, 0, -1)])

    assert (found.p50, found.p95, found.p99) == (50.0, 95.0, 99.0)


def test_percentiles_of_one_value_are_that_value_and_of_none_are_null() -> None:
    assert percentiles([3.0]).model_dump() == {"p50": 3.0, "p95": 3.0, "p99": 3.0}
    assert percentiles([]).model_dump() == {"p50": None, "p95": None, "p99": None}


@given(
    st.lists(st.integers(0, 10**6).map(float), min_size=1, max_size=300),
    st.integers(min_value=1, max_value=100),
)
def test_nearest_rank_is_the_smallest_value_that_covers_its_share(
    values: list[float], percent: int
) -> None:
    found = nearest_rank(sorted(values), percent)

    assert found is not None
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_the_success_rate_leaves_out_what_people_cancelled() -> None:
    counts = dict.fromkeys(TaskStatus, 0)
    assert success_rate(counts) is None

    counts |= {
        TaskStatus.SUCCESS: 6,
        TaskStatus.FAILED: 1,
        TaskStatus.INTERRUPTED: 1,
        TaskStatus.CANCELLED: 92,
    }
    assert success_rate(counts) == 0.75


# -- shared figures ------------------------------------------------------------------------------


class Counter:
    """Counts how often a value was made, and holds the making until it is let go."""

    def __init__(self) -> None:
        self.made = 0
        self.time = 0.0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def make(self) -> int:
        self.made += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.made


async def test_callers_at_one_time_share_one_query() -> None:
    counter = Counter()
    shared = Shared(counter.make, lambda: counter.time)

    asking = [asyncio.create_task(shared.get()) for _ in range(10)]
    await asyncio.sleep(0)
    counter.gate.set()

    assert await asyncio.gather(*asking) == [1] * 10


async def test_a_value_is_kept_for_a_second_and_then_made_anew() -> None:
    counter = Counter()
    counter.gate.set()
    shared = Shared(counter.make, lambda: counter.time)

    first = await shared.get()
    counter.time = 0.999
    second = await shared.get()
    counter.time = 1.0
    third = await shared.get()

    assert [first, second, third] == [1, 1, 2]


async def test_a_value_that_takes_long_to_make_is_kept_for_longer() -> None:
    counter = Counter()
    shared = Shared(counter.make, lambda: counter.time)
    asking = asyncio.create_task(shared.get())
    while not counter.made:
        await asyncio.sleep(0)
    counter.time = 0.5
    counter.gate.set()
    await asking

    counter.time = 5.49
    kept = await shared.get()
    counter.time = 5.5
    anew = await shared.get()

    assert [kept, anew] == [1, 2]


async def test_a_caller_that_goes_away_takes_the_value_from_nobody() -> None:
    counter = Counter()
    shared = Shared(counter.make, lambda: counter.time)
    leaving, staying = asyncio.create_task(shared.get()), asyncio.create_task(shared.get())
    await asyncio.sleep(0)

    leaving.cancel()
    await asyncio.wait({leaving})
    counter.gate.set()

    assert leaving.cancelled()
    assert await staying == 1


async def test_an_error_reaches_the_callers_and_is_not_kept() -> None:
    counter = Counter()
    counter.gate.set()
    counter.error = RuntimeError("away")
    shared = Shared(counter.make, lambda: counter.time)

    with pytest.raises(RuntimeError, match="away"):
        await shared.get()
    counter.error = None

    assert await shared.get() == 2


# -- why it waits --------------------------------------------------------------------------------


def test_a_task_in_the_room_of_another_instance_waits_elsewhere() -> None:
    told = explain(record(owner="there-2"), HERE)

    assert told is not None
    assert (told.reason, told.instance) == ("elsewhere", "there-2")
    assert "there-2" in told.text


def test_a_task_in_our_own_room_waits_for_a_slot() -> None:
    told = explain(record(owner="here-1"), HERE)

    assert told is not None
    assert (told.reason, told.lane) == ("lane", "io")
    assert "4 of 4 busy, 7 waiting" in told.text


def test_a_task_of_a_lane_that_is_paused_says_so() -> None:
    paused = Place(known=True, instance="here-1", limit=4, running=0, waiting=7, paused=True)

    told = explain(record(), paused)

    assert told is not None
    assert "starts nothing" in told.text


def test_a_task_of_a_lane_that_does_not_exist_here_waits_for_an_instance_that_has_it() -> None:
    told = explain(record(lane="gpu"), None)

    assert told is not None
    assert told.reason == "unknown function"


@pytest.mark.parametrize("status", [s for s in TaskStatus if s not in {"scheduled", "pending"}])
def test_a_task_that_does_not_wait_waits_for_nothing(status: TaskStatus) -> None:
    told = explain(record(status=status, run_at=None), HERE)

    assert (told is not None) == (status is TaskStatus.RETRYING)


# -- odd stored values ---------------------------------------------------------------------------


def test_a_moment_that_no_calendar_has_is_the_nearest_one() -> None:
    assert moment(1e18) == datetime.max.replace(tzinfo=UTC)
    assert moment(-1e18) == datetime.min.replace(tzinfo=UTC)
    assert moment(math.inf) == datetime.max.replace(tzinfo=UTC)


def test_a_clock_that_was_set_back_makes_no_negative_duration() -> None:
    assert between(10.0, 9.0) == 0.0
    assert between(1.0, 1.1234567) == 0.123457


def test_text_that_is_not_json_is_shown_as_it_is() -> None:
    assert parse("{broken") == "{broken"
    assert parse(r'"\ud800"') == r'"\ud800"'
    assert parse("") is None
    assert parse('{"a": [NaN]}') == {"a": ["NaN"]}


def test_too_much_json_is_shown_in_part_without_taking_it_apart() -> None:
    shown = parse('"' + "x" * 2_000_000 + '"')

    assert isinstance(shown, str)
    assert len(shown) < 2100


def test_long_and_deep_values_are_cut() -> None:
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]

    assert shorten(list(range(101)))[-1] == "… 1 more"  # type: ignore[index]  # a list
    assert shorten({str(n): n for n in range(103)})["…"] == "3 more"  # type: ignore[index]  # a dict
    assert "…" in str(shorten(deep))
    assert shorten({"a": [1, "b", None]}) == {"a": [1, "b", None]}


def test_a_row_with_odd_values_is_presented_all_the_same() -> None:
    shown = present(
        record(args="{", tags="[1]", progress="zzz", run_at=1e18, started_at=5.0, attempt=-1),
        now=2000.0,
    )

    assert shown.tags == ["1"]
    assert shown.progress == "zzz"
    assert shown.duration is None


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (TaskStatus.SUCCESS, None, "success"),
        (TaskStatus.RUNNING, None, "running"),
        (TaskStatus.FAILED, "ValueError: no", "failed"),
        (TaskStatus.FAILED, "timed out after 1.0 s (cancelled)", "timed out"),
        (TaskStatus.FAILED, "worker process died: SIGSEGV", "crashed"),
        (TaskStatus.CANCELLED, "cancelled while it ran", "cancelled"),
    ],
)
def test_the_latest_execution_follows_the_stored_ones(
    status: TaskStatus, error: str | None, outcome: str
) -> None:
    earlier = [
        AttemptRecord("id-1", 2, 20.0, 21.0, "timed out", "e", None, "i"),
        AttemptRecord("id-1", 1, 10.0, 11.5, "failed", "e", None, "i"),
    ]

    found = executions(record(status=status, started_at=30.0, error=error), earlier, now=33.0)

    assert [(run.number, run.duration) for run in found] == [(1, 1.5), (2, 1.0), (3, 3.0)]
    assert [run.outcome for run in found] == ["failed", "timed out", outcome]
