"""Event streams in a process: who is too slow, who comes too late, who hears of the end."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType

import pytest

from taskflow import TaskManager
from taskflow.admin.broadcast import LONGEST_ERROR, Broadcaster
from taskflow.admin.stopping import Stop
from taskflow.admin.stream import BYE, MOST_BYTES, RESYNC, Client, frame
from taskflow.record import TaskRecord
from taskflow.stores.news import Delta, Position

PATIENCE = 20.0


async def heard_by(client: Client) -> bytes:
    """All frames until its end."""
    found = b""
    async with asyncio.timeout(PATIENCE):
        while frame := await client.take():
            found += frame
    return found


@pytest.fixture
async def caster(tmp_path: Path) -> AsyncIterator[Broadcaster]:
    async with TaskManager(tmp_path / "tasks.db") as manager:
        caster = Broadcaster(manager.engine, {}, lambda data: data, Stop())
        yield caster
        caster.stop.tell()
        if caster._runner is not None:
            await caster._runner


async def test_a_client_that_is_too_slow_is_told_to_fetch_everything_anew() -> None:
    client = Client()
    for _ in range(3):
        client.offer(b"x" * (MOST_BYTES // 2))
    client.offer(b"y")
    client.end()

    assert await heard_by(client) == RESYNC + b"y"


async def test_a_client_that_reads_is_sent_an_event_of_any_size() -> None:
    client = Client()
    large = frame("tasks", "x" * MOST_BYTES)
    client.offer(large)

    assert await client.take() == large


async def test_who_joins_while_the_server_is_asked_to_stop_is_let_go(caster: Broadcaster) -> None:
    early = await caster.join("")
    caster.stop.tell()

    late = await caster.join("1.0.0.0")

    assert (await heard_by(late)).endswith(BYE)
    assert (await heard_by(early)).endswith(BYE)


async def test_who_joins_while_the_last_word_is_said_is_let_go_as_well(
    caster: Broadcaster,
) -> None:
    first = await caster.join("")
    caster.stop.tell()
    assert (await heard_by(first)).endswith(BYE)  # the broadcaster ends, and waits for it

    assert (await heard_by(await caster.join(""))).endswith(BYE)


async def test_many_that_come_back_from_the_same_place_are_looked_up_once(
    caster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = await caster.join("")
    assert b"hello" in await watching.take()
    assert caster._position is not None
    asked: list[Position] = []
    since = caster._news.since

    async def count(position: Position, limit: int) -> Delta | None:
        if asyncio.current_task() is not caster._runner:
            asked.append(position)
        return await since(position, limit)

    monkeypatch.setattr(caster._news, "since", count)
    clients = await asyncio.gather(*[caster.join(str(caster._position)) for _ in range(50)])

    assert len(asked) <= 2  # those that came after the first were answered count for themselves
    for client in clients:
        assert b'"resumed":true' in await client.take()


async def test_a_locked_store_does_not_keep_boards_from_being_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.admin.broadcast.BOARD", 0.05)
    monkeypatch.setattr("taskflow.admin.broadcast.RENEW", 0.0)

    async def board() -> float:
        return time.monotonic()

    async with TaskManager(tmp_path / "tasks.db") as manager:
        caster = Broadcaster(manager.engine, {"board": board}, lambda data: data, Stop())
        client = await caster.join("")
        never = asyncio.Event()

        async def locked(until: float, now: float) -> Position:
            await never.wait()
            raise AssertionError

        monkeypatch.setattr(caster._news, "watch", locked)
        found = b""
        async with asyncio.timeout(PATIENCE):
            while found.count(b"event: board") < 5:
                found += await client.take()
        caster.stop.tell()
        assert (await heard_by(client)).endswith(BYE)


async def test_of_a_long_error_the_beginning_is_told(caster: Broadcaster) -> None:
    record = TaskRecord("id", "app:work", "async", 1.0, error="E: " + "x" * 10_000)
    position = Position(1, 2, 3, 4)

    told = caster._frame(Delta(position, [record], [], frozenset(), 0))

    (line,) = [line for line in told.splitlines() if line.startswith(b"data: ")]
    (task,) = json.loads(line.removeprefix(b"data: "))["tasks"]
    assert len(task["error"]) == LONGEST_ERROR


async def test_a_signal_is_heard_by_all_and_handled_as_before_however_often_they_attach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("taskflow.admin.stopping._before", {})
    handled: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        handled.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        one, other = Stop(), Stop()
        for _ in range(1500):  # deeper than any chain of handlers may be
            one.attach()
            other.attach()
        signal.raise_signal(signal.SIGTERM)

        assert one.asked and other.asked
        assert handled == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
