"""How many tasks wait: counted now and then, kept up to date in between, never wrong for long."""

from __future__ import annotations

import asyncio

import pytest

from taskflow.backlog import EVERY, SOON, Backlog
from taskflow.stores.base import Waiting

PLACE = ("async", "default")


class Counting:
    """A store that is asked for one thing, and answers when it is told to."""

    def __init__(self) -> None:
        self.on_disk = 0
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def backlog(self) -> dict[tuple[str, str], Waiting]:
        seen = self.on_disk
        self.asked.set()
        await self.answer.wait()
        return {PLACE: Waiting(count=seen, oldest=0.0)}


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


class Place:
    def __init__(self) -> None:
        self.store, self.clock = Counting(), Hands()
        self.told = 0
        self.backlog = Backlog(self.store, self.clock, self._tell)  # type: ignore[arg-type]

    def _tell(self) -> None:
        self.told += 1

    async def count(self, after: float = EVERY) -> float:
        self.clock.time += after
        return await self.backlog.turn()

    async def add(self, count: int) -> None:
        """Tasks come to disk, and then this instance knows."""
        self.store.on_disk += count
        self.backlog.moved(*PLACE, count)

    @property
    def known(self) -> int:
        assert self.backlog.of_queue("default") == self.backlog.of_lane("async")
        return self.backlog.total


async def test_what_moves_here_is_known_at_once_and_what_others_do_with_the_next_count() -> None:
    place = Place()
    await place.count()
    await place.add(3)
    assert place.known == 3

    place.store.on_disk += 4
    await place.count()

    assert place.known == 7
    assert place.told == 2


async def test_a_count_that_overlaps_with_a_move_is_not_believed() -> None:
    place = Place()
    await place.count()
    await place.add(5)
    await place.count(SOON)
    place.store.answer.clear()
    place.store.asked.clear()
    await place.add(1)
    counting = asyncio.create_task(place.count(SOON))
    await place.store.asked.wait()

    await place.add(2)  # after the count, before its answer
    place.store.answer.set()
    pause = await counting

    assert place.known == 8
    assert pause == SOON
    await place.count(SOON)
    assert place.known == 8


async def test_a_move_that_is_told_after_the_count_that_saw_it_is_put_right_soon() -> None:
    place = Place()
    place.store.on_disk = 1
    await place.count()
    place.backlog.moved(*PLACE, 1)  # the same one
    assert place.known == 2

    pause = await place.count(SOON)

    assert pause == SOON
    assert place.known == 1


async def test_while_nothing_moves_there_is_one_count_in_a_second() -> None:
    place = Place()
    await place.count()
    place.store.asked.clear()

    pause = await place.count(SOON)

    assert not place.store.asked.is_set()
    assert pause == pytest.approx(EVERY - SOON)
    await place.count(pause)
    assert place.store.asked.is_set()


async def test_under_steady_moves_a_count_is_believed_at_least_once_a_second() -> None:
    place = Place()
    await place.count()
    place.backlog.moved(*PLACE, 1)
    for _ in range(12):
        place.store.answer.clear()
        place.store.asked.clear()
        counting = asyncio.create_task(place.count(SOON))
        await place.store.asked.wait()
        place.backlog.moved(*PLACE, 1)
        place.store.answer.set()
        await counting

    assert place.told >= 2
    assert place.known < 12
