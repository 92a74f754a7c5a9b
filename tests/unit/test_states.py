"""The table of transitions: every pair of status and event, legal or not."""

from __future__ import annotations

import itertools

import pytest

from taskflow.states import (
    FINAL,
    TIMED,
    TRANSITIONS,
    UNDONE,
    Event,
    IllegalTransitionError,
    TaskStatus,
    can,
    next_status,
)

S, E = TaskStatus, Event

#: The whole table once more, by hand and in another form: one row an event, one column a status.
#: A dot is an illegal move. Read it aloud when you change it.
DIAGRAM = """
          | SCHEDULED PENDING   RUNNING     RETRYING  SUCCESS FAILED  CANCELLED INTERRUPTED
SUCCEED   | .         .         SUCCESS     .         .       .       .         .
RETRY     | .         .         RETRYING    .         .       .       .         .
FAIL      | .         FAILED    FAILED      .         .       .       .         .
SNOOZE    | .         .         SCHEDULED   .         .       .       .         .
HAND_BACK | .         PENDING   PENDING     .         .       .       .         .
INTERRUPT | .         .         INTERRUPTED .         .       .       .         .
DUE       | PENDING   .         .           PENDING   .       .       .         .
START     | .         RUNNING   .           .         .       .       .         .
CANCEL    | CANCELLED CANCELLED CANCELLED   CANCELLED .       .       .         .
REVIVE    | .         .         .           .         PENDING PENDING PENDING   PENDING
"""


def rows() -> list[tuple[TaskStatus, Event, TaskStatus | None]]:
    head, *body = DIAGRAM.strip("\n").splitlines()
    statuses = [TaskStatus[name] for name in head.split("|")[1].split()]
    table = []
    for line in body:
        event, cells = line.split("|")
        for status, cell in zip(statuses, cells.split(), strict=True):
            after = None if cell == "." else TaskStatus[cell]
            table.append((status, Event[event.strip()], after))
    return table


def reachable_from(start: TaskStatus, without: Event | None = None) -> set[TaskStatus]:
    found, fresh = {start}, [start]
    while fresh:
        here = fresh.pop()
        for (status, event), after in TRANSITIONS.items():
            if status is here and event is not without and after not in found:
                found.add(after)
                fresh.append(after)
    return found


def test_the_diagram_has_every_status_and_every_event_once() -> None:
    pairs = [(status, event) for status, event, _ in rows()]

    assert sorted(pairs) == sorted(itertools.product(TaskStatus, Event))


@pytest.mark.parametrize(("status", "event", "after"), rows())
def test_a_move_leads_where_the_diagram_says_or_is_refused(
    status: TaskStatus, event: Event, after: TaskStatus | None
) -> None:
    assert can(status, event) is (after is not None)
    if after is not None:
        assert next_status(status, event) is after
        return
    with pytest.raises(IllegalTransitionError, match=f"a task that is {status} cannot {event}"):
        next_status(status, event)


def test_every_status_is_one_of_waiting_running_or_final() -> None:
    assert set(TaskStatus) == FINAL | TIMED | {S.PENDING, S.RUNNING}
    assert len(FINAL) + len(TIMED) + 2 == len(TaskStatus)
    assert UNDONE | {S.SUCCESS} == FINAL
    assert S.SUCCESS not in UNDONE


@pytest.mark.parametrize("start", [S.SCHEDULED, S.PENDING])
def test_a_new_task_can_come_to_every_end(start: TaskStatus) -> None:
    assert reachable_from(start) >= FINAL | {S.RUNNING, S.RETRYING}


def test_nothing_but_a_revival_moves_a_final_task() -> None:
    for status in FINAL:
        assert reachable_from(status, without=E.REVIVE) == {status}
        assert {event for here, event in TRANSITIONS if here is status} == {E.REVIVE}


@pytest.mark.parametrize("status", [one for one in TaskStatus if one not in FINAL])
def test_no_unfinished_task_is_stuck(status: TaskStatus) -> None:
    assert reachable_from(status) >= FINAL


def test_only_a_pending_task_can_start_and_every_unfinished_one_can_be_cancelled() -> None:
    assert {status for status, event in TRANSITIONS if event is E.START} == {S.PENDING}
    assert {status for status, event in TRANSITIONS if event is E.CANCEL} == set(TaskStatus) - FINAL


def test_due_moves_exactly_the_tasks_that_wait_for_a_time() -> None:
    assert {status for status, event in TRANSITIONS if event is E.DUE} == TIMED
