"""A queue admits as many tasks as may run, and no more."""

from __future__ import annotations

import re

import pytest

from taskflow import QueueConfig, SettingsError, TaskManager
from taskflow.gate import Gate


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Watch | None = None, **limits: object) -> Gate:
    return Gate("email", QueueConfig(**limits), clock or Watch())  # type: ignore[arg-type]


def test_it_has_as_many_places_as_tasks_may_run() -> None:
    gate = make(concurrency=3)
    gate.admit(0)
    gate.admit(0)
    assert gate.places == 1
    gate.reserved += 1
    assert gate.places == 0
    gate.start(0)
    assert gate.places == 0
    gate.leave(0, started=True)
    assert gate.places == 1


def test_a_task_that_waits_in_a_lane_holds_its_place_in_the_rate() -> None:
    clock = Watch()
    gate = make(clock, rate="2/s")
    gate.admit(0)
    gate.admit(0)
    clock.now = 100.0  # the lane was full for long
    assert gate.places == 0
    gate.start(0)
    gate.start(0)
    assert gate.places == 0
    assert gate.opens_at == 101.0
    clock.now = 101.0
    assert gate.places == 2


def test_who_leaves_without_a_start_does_not_count_for_the_rate() -> None:
    gate = make(rate="1/h")
    gate.admit(0)
    gate.leave(0, started=False)
    assert gate.places == 1


def test_a_paused_queue_admits_nobody() -> None:
    gate = make(concurrency=3)
    gate.admit(0)
    gate.admit(0)
    gate.paused = True
    assert gate.places == 0
    assert gate.overfull == 2
    assert gate.opens_at is None


def test_a_narrower_limit_tells_how_many_must_not_start() -> None:
    gate = make(concurrency=8)
    for _ in range(6):
        gate.admit(0)
    for _ in range(4):
        gate.start(0)
    gate.change(QueueConfig(concurrency=5))
    assert gate.overfull == 1
    gate.change(QueueConfig(concurrency=2))
    assert gate.overfull == 2


def test_a_full_queue_gives_way_to_what_is_more_important_than_what_has_not_started() -> None:
    gate = make(concurrency=2)
    gate.admit(3)
    gate.admit(5)
    assert gate.gives_way_to(4)
    assert not gate.gives_way_to(3)
    gate.start(3)
    assert not gate.gives_way_to(4)


@pytest.mark.parametrize(
    "limits",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": 1.5},
        {"max_size": -1},
        {"rate": "fast"},
    ],
)
def test_a_limit_that_cannot_work_is_refused_with_its_value(limits: dict[str, object]) -> None:
    (value,) = limits.values()
    with pytest.raises(SettingsError, match=re.escape(repr(value))):
        QueueConfig(**limits)  # type: ignore[arg-type]


def test_queues_are_checked_when_the_manager_is_made() -> None:
    with pytest.raises(SettingsError, match="QueueConfig"):
        TaskManager(queues={"email": {"concurrency": 3}})  # type: ignore[dict-item]
