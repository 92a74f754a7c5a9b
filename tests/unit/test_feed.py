"""Whoever listens hears everything in order, or how much it missed; nobody waits for it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from taskflow.feed import Event, Feed, LineWritten, Missed, Progressed, Subscription

PATIENCE = 30.0


def line(number: int) -> LineWritten:
    return LineWritten("t", 1, float(number), "info", str(number))


async def take(events: Subscription, count: int) -> list[Event | Missed]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(events) for _ in range(count)]


async def test_a_subscriber_hears_what_is_published_from_then_on() -> None:
    feed = Feed(asyncio.get_running_loop())
    feed.publish(line(0))

    async with feed.subscribe() as events:
        feed.publish(line(1))
        feed.publish(Progressed("t", 1, 2, "half"))

        assert await take(events, 2) == [line(1), Progressed("t", 1, 2, "half")]


async def test_every_subscriber_hears_everything() -> None:
    feed = Feed(asyncio.get_running_loop())

    async with feed.subscribe() as one, feed.subscribe() as other:
        feed.publish(line(1))

        assert await take(one, 1) == await take(other, 1) == [line(1)]


async def test_events_of_threads_and_of_the_loop_keep_their_order() -> None:
    feed = Feed(asyncio.get_running_loop())

    async with feed.subscribe() as events:
        thread = threading.Thread(target=feed.publish, args=(line(1),))
        thread.start()
        thread.join()
        feed.publish(line(2))

        assert await take(events, 2) == [line(1), line(2)]


async def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many() -> None:
    feed = Feed(asyncio.get_running_loop())

    async with feed.subscribe(limit=3) as slow, feed.subscribe() as quick:
        for number in range(10):
            feed.publish(line(number))
        assert len(await take(quick, 10)) == 10

        assert await take(slow, 4) == [Missed(7), line(7), line(8), line(9)]
        feed.publish(line(10))
        assert await take(slow, 1) == [line(10)]


async def test_a_subscriber_that_waits_wakes_up() -> None:
    feed = Feed(asyncio.get_running_loop())

    async with feed.subscribe() as events:
        waiting = asyncio.create_task(take(events, 1))
        await asyncio.sleep(0)
        feed.publish(line(1))

        assert await waiting == [line(1)]


async def test_one_who_left_costs_nothing_any_more() -> None:
    feed = Feed(asyncio.get_running_loop())
    async with feed.subscribe() as events:
        feed.publish(line(1))

    assert feed.subscribers == []
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_the_end_comes_after_everything_that_was_published() -> None:
    feed = Feed(asyncio.get_running_loop())

    async with feed.subscribe() as events:
        feed.publish(line(1))
        feed.close()

        assert [event async for event in events] == [line(1)]
    async with feed.subscribe() as late:
        assert [event async for event in late] == []


async def test_a_limit_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="limit=0"):
        Feed(asyncio.get_running_loop()).subscribe(limit=0)


async def test_a_subscriber_on_another_loop_is_told_where_to_go() -> None:
    feed = Feed(asyncio.get_running_loop())

    async def elsewhere() -> None:
        async with feed.subscribe():
            pass

    with pytest.raises(RuntimeError, match="on the event loop that the manager runs on"):
        await asyncio.to_thread(asyncio.run, elsewhere())
