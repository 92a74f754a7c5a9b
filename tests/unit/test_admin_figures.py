"""The pure parts of the admin: percentiles, shared figures, why a task waits, odd stored values."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.histogram import Histogram
from taskflow.admin.figures import Shared, nearest_rank, percentiles, success_rate
from taskflow.admin.lanes import summarise
from taskflow.admin.machine import shorten_stack
from taskflow.admin.models import WaitingFor
from taskflow.admin.present import executions, present
from taskflow.admin.values import between, moment, parse, shorten
from taskflow.admin.waiting import Facts, LaneFacts, QueueFacts, explain
from taskflow.record import AttemptRecord, TaskRecord
from taskflow.states import TaskStatus

FULL = LaneFacts(limit=4, running=4, waiting=7)
HERE = Facts(now=2000.0, instance="here-1", known=True, lane=FULL)


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


def waiting_for(facts: Facts = HERE, **row: object) -> WaitingFor:
    told = explain(record(**row), facts)
    assert told is not None
    return told


def braked(*brakes: str, refusing: str = "") -> Facts:
    return replace(HERE, lane=replace(FULL, running=0, brakes=brakes, refusing=refusing))


def queued(**queue: object) -> Facts:
    return replace(HERE, queue=QueueFacts(**queue))  # type: ignore[arg-type]  # named by the test


def test_a_task_in_the_room_of_another_instance_waits_elsewhere() -> None:
    told = waiting_for(owner="there-2")

    assert (told.reason, told.instance) == ("elsewhere", "there-2")
    assert told.text == "waits in the io lane of another instance, there-2"


def test_a_task_in_our_own_room_waits_for_a_slot() -> None:
    told = waiting_for(owner="here-1")

    assert (told.reason, told.lane, told.queue, told.instance) == (
        "lane",
        "io",
        "default",
        "here-1",
    )
    assert told.text == "waits for a slot of the io lane (4 of 4 run), one of 7 in memory"


def test_a_task_on_disk_says_how_many_in_memory_are_before_it() -> None:
    told = waiting_for()

    assert (told.reason, told.instance) == ("lane", None)
    assert (
        told.text == "waits for a slot of the io lane (4 of 4 run), on disk behind the 7 in memory"
    )


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        (None, "waits on disk to be taken by the io lane (3 of 4 run)"),
        ("here-1", "waits to be started by the io lane (3 of 4 run)"),
    ],
)
def test_a_task_between_two_places_says_who_has_the_next_move(owner: str | None, text: str) -> None:
    roomy = replace(HERE, lane=replace(FULL, running=3))

    assert waiting_for(roomy, owner=owner).text == text


@pytest.mark.parametrize(
    ("brakes", "text"),
    [
        (("paused",), "waits: the io lane is paused"),
        (("draining", "stopped"), "waits: the io lane is stopping"),
        (
            ("paused", "waiting for memory: over 90 % are in use"),
            "waits: the io lane is paused and waiting for memory: over 90 % are in use",
        ),
    ],
)
@pytest.mark.parametrize("owner", [None, "here-1"])
def test_a_task_of_a_lane_that_starts_nothing_says_why(
    brakes: tuple[str, ...], text: str, owner: str | None
) -> None:
    told = waiting_for(braked(*brakes), owner=owner)

    assert (told.reason, told.text) == ("brake", text)


def test_a_lane_that_takes_no_work_is_told_once() -> None:
    told = waiting_for(braked("waiting for stuck threads", refusing="8 threads are stuck"))

    assert (told.reason, told.text) == (
        "brake",
        "waits: the io lane takes no work: 8 threads are stuck",
    )


def test_a_task_of_a_paused_queue_says_so() -> None:
    told = waiting_for(queued(paused=True), queue="email")

    assert (told.reason, told.queue) == ("queue", "email")
    assert told.text == "waits: queue 'email' is paused"


@pytest.mark.parametrize(
    ("running", "text"),
    [
        (30, "waits: queue 'email' runs 30 of 30"),
        (29, "waits: queue 'email' runs 29 of 30, and 1 more is about to start"),
        (10, "waits: queue 'email' runs 10 of 30, and 20 more are about to start"),
    ],
)
def test_a_task_of_a_full_queue_says_how_full_it_is(running: int, text: str) -> None:
    told = waiting_for(queued(concurrency=30, running=running, admitted=30), queue="email")

    assert (told.reason, told.text) == ("queue", text)


def test_a_queue_with_a_free_place_is_not_in_the_way() -> None:
    assert waiting_for(queued(concurrency=30, running=29, admitted=29)).reason == "lane"


def test_a_task_that_waits_for_a_rate_says_until_when() -> None:
    facts = queued(rate="10/s", rate_is_used_up=True, opens_in=1.26)

    told = waiting_for(facts, queue="email")

    assert (told.reason, told.until) == ("rate", moment(2001.26))
    assert told.text == "waits for the rate of queue 'email' (10/s), free in 1.3 s"


def test_a_rate_whose_places_are_all_promised_names_no_time() -> None:
    told = waiting_for(queued(rate="10/s", rate_is_used_up=True), queue="email")

    assert (told.reason, told.until) == ("rate", None)
    assert told.text == "waits for the rate of queue 'email' (10/s)"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "waits for key 'order:17', held by task id0 (shop:send)"),
        (2, "waits for key 'order:17', held by tasks id0 (shop:send), id1 (shop:send)"),
        (
            4,
            (
                "waits for key 'order:17', held by tasks id0 (shop:send), id1 (shop:send), "
                "id2 (shop:send) and more"
            ),
        ),
    ],
)
def test_a_task_that_waits_for_a_key_names_those_that_hold_it(count: int, text: str) -> None:
    holders = tuple((f"id{number}", "shop:send") for number in range(count))

    told = waiting_for(replace(HERE, holders=holders), concurrency_key="shop:send:order:17")

    assert (told.reason, told.text) == ("key", text)
    assert told.held_by == [f"id{number}" for number in range(count)]


def test_all_that_is_in_the_way_is_told_the_tasks_own_first() -> None:
    facts = replace(
        braked("paused"),
        holders=(("id0", "shop:send"),),
        queue=QueueFacts(paused=True),
        trouble="the disk is full",
    )

    told = waiting_for(facts, concurrency_key="shop:send:17")

    assert told.reason == "store"
    assert told.text == (
        "waits: the store takes no writes: the disk is full; also for key '17', held by task id0 "
        "(shop:send); also: queue 'default' is paused; also: the io lane is paused"
    )


def test_a_task_in_memory_is_past_its_key_and_its_queue() -> None:
    facts = replace(HERE, holders=(("id0", "shop:send"),), queue=QueueFacts(paused=True))

    assert waiting_for(facts, owner="here-1", concurrency_key="shop:send:17").reason == "lane"


@pytest.mark.parametrize("missing", [{"lane": None}, {"known": False}])
def test_a_task_that_nobody_here_can_run_waits_for_an_instance_that_can(
    missing: dict[str, Any],
) -> None:
    told = waiting_for(replace(HERE, **missing), lane="gpu")

    assert told.reason == "unknown function"
    assert "'shop:send'" in told.text


@pytest.mark.parametrize(
    ("run_at", "text"),
    [
        (86400.0, "waits for its time, 1970-01-02 00:00:00 UTC"),
        (
            1999.0,
            "waits for its time, 1970-01-01 00:33:19 UTC, which has come: it is about to go on",
        ),
    ],
)
def test_a_scheduled_task_says_when_it_is_due(run_at: float, text: str) -> None:
    told = waiting_for(status=TaskStatus.SCHEDULED, run_at=run_at)

    assert (told.reason, told.text, told.until) == ("scheduled", text, moment(run_at))


def test_a_task_between_two_attempts_says_which_one_is_next() -> None:
    told = waiting_for(status=TaskStatus.RETRYING, attempt=1, max_attempts=4, run_at=86400.0)

    assert told.reason == "retry"
    assert told.text == "waits for attempt 2 of 4, 1970-01-02 00:00:00 UTC"


@pytest.mark.parametrize("status", [s for s in TaskStatus if s not in {"scheduled", "pending"}])
def test_a_task_that_does_not_wait_waits_for_nothing(status: TaskStatus) -> None:
    told = explain(record(status=status, run_at=None), HERE)

    assert (told is not None) == (status is TaskStatus.RETRYING)


# -- durations -----------------------------------------------------------------------------------


def test_durations_of_a_histogram_are_its_quantiles_and_its_longest() -> None:
    histogram = Histogram()
    for number in range(1, 101):
        histogram.add(number / 100)

    found = summarise(histogram)

    assert (found.count, found.max) == (100, 1.0)
    assert found.p50 == pytest.approx(0.5, rel=0.05)
    assert found.p95 == pytest.approx(0.95, rel=0.05)


def test_durations_of_nothing_are_null() -> None:
    assert summarise(Histogram()).model_dump() == {
        "count": 0,
        **dict.fromkeys(("p50", "p95", "p99", "max")),
    }


# -- stalls --------------------------------------------------------------------------------------


def test_a_long_stack_keeps_its_innermost_calls_whatever_other_threads_did() -> None:
    own = "".join(f"call {number}\n" for number in range(1000))
    others = "Meanwhile, in thread 'x':\n" + "y" * 9000

    shown = shorten_stack(own + others)

    assert shown.startswith("…")
    assert "call 999\nMeanwhile, in thread 'x':\nyyy" in shown
    assert len(shown) < 8100
    assert shorten_stack("short") == "short"


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
