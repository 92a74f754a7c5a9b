"""Who waits is served by priority, then by arrival, and can be taken out at either end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from executors.waiting_room import WaitingRoom

PRIORITIES = st.integers(-3, 3)


def test_nobody_can_be_taken_out_of_an_empty_room() -> None:
    room: WaitingRoom[str] = WaitingRoom()

    with pytest.raises(IndexError):
        room.pop()
    assert room.take_back(100) is None
    assert (room.lowest, room.heads(), room.take_all(), len(room)) == (None, [], [], 0)
    assert not room.remove(0, "stranger")


def test_the_list_of_levels_stays_the_same_object() -> None:
    room: WaitingRoom[str] = WaitingRoom()
    levels = room.levels

    room.push(1, "a")
    assert levels == [1]
    room.take_all()
    room.push(2, "b")

    assert room.levels is levels
    assert levels == [2]


class AgreesWithAPlainList(RuleBasedStateMachine):
    """The same calls to a room and to a list that is sorted each time."""

    def __init__(self) -> None:
        super().__init__()
        self.room: WaitingRoom[int] = WaitingRoom()
        #: Priority negated, arrival.
        self.model: list[tuple[int, int]] = []
        self.arrivals = 0

    @rule(priority=PRIORITIES)
    def push(self, priority: int) -> None:
        self.room.push(priority, self.arrivals)
        self.model = sorted([*self.model, (-priority, self.arrivals)])
        self.arrivals += 1

    @rule()
    def pop(self) -> None:
        if self.model:
            assert self.room.pop() == self.model.pop(0)[1]

    @rule(below=PRIORITIES)
    def take_back(self, below: int) -> None:
        expected = self.model.pop()[1] if self.model and -self.model[-1][0] < below else None
        assert self.room.take_back(below) == expected

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.model:
            priority, item = data.draw(st.sampled_from(self.model))
            assert not self.room.remove(-priority + 1, item)
            assert self.room.remove(-priority, item)
            assert not self.room.remove(-priority, item)
            self.model.remove((priority, item))

    @rule()
    def take_all(self) -> None:
        assert self.room.take_all() == [item for _, item in self.model]
        self.model = []

    @invariant()
    def the_same_wait(self) -> None:
        assert len(self.room) == self.room.count == len(self.model)
        assert bool(self.room.levels) == bool(self.model)
        assert self.room.lowest == (-self.model[-1][0] if self.model else None)
        firsts = dict(reversed(self.model))
        assert self.room.heads() == [firsts[level] for level in sorted(firsts)]


TestAgreesWithAPlainList = AgreesWithAPlainList.TestCase
TestAgreesWithAPlainList.settings = settings(max_examples=60, stateful_step_count=40)
