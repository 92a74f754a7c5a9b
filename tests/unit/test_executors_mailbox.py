"""Items from any thread reach the loop: each once, in order, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import threading

from executors import Mailbox

PATIENCE = 30.0


async def test_items_of_many_threads_arrive_once_each_and_in_order_per_thread() -> None:
    got: list[tuple[int, int]] = []
    complete = asyncio.Event()

    def handle(item: tuple[int, int]) -> None:
        got.append(item)
        if len(got) == 8 * 5_000:
            complete.set()

    mailbox = Mailbox(asyncio.get_running_loop(), handle)

    def post(sender: int) -> None:
        for number in range(5_000):
            mailbox.post((sender, number))

    threads = [threading.Thread(target=post, args=(sender,)) for sender in range(8)]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(PATIENCE):
        await complete.wait()
    for thread in threads:
        thread.join()

    for sender in range(8):
        assert [number for who, number in got if who == sender] == list(range(5_000))


async def test_items_posted_together_cost_one_wake_up() -> None:
    loop = asyncio.get_running_loop()
    got: list[int] = []
    mailbox = Mailbox(loop, got.append)
    wake_ups = []
    loop.call_soon(lambda: wake_ups.append(len(got)))

    for number in range(100):
        mailbox.post(number)
    # Both were asked for before anything was delivered, so they frame the one delivery.
    loop.call_soon(lambda: wake_ups.append(len(got)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert wake_ups == [0, 100]
    assert got == list(range(100))


async def test_an_error_of_the_handler_is_reported_and_harms_no_other_item() -> None:
    loop = asyncio.get_running_loop()
    got: list[int] = []
    reports: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))

    def handle(item: int) -> None:
        if item == 1:
            raise ValueError("one is too few")
        got.append(item)

    mailbox = Mailbox(loop, handle)
    for number in range(3):
        mailbox.post(number)
    await asyncio.sleep(0.01)

    assert got == [0, 2]
    assert [str(error) for error in reports] == ["one is too few"]


async def test_a_handler_that_posts_for_ever_does_not_hold_the_loop() -> None:
    loop = asyncio.get_running_loop()
    handled = 0

    def handle(item: None) -> None:
        nonlocal handled
        handled += 1
        if running:
            mailbox.post(item)

    running = True
    mailbox = Mailbox(loop, handle)
    mailbox.post(None)
    for _ in range(10):
        await asyncio.sleep(0)  # comes back although there is always another item
    running = False

    assert 1 <= handled <= 11


def test_posting_to_a_closed_loop_is_harmless() -> None:
    loop = asyncio.new_event_loop()
    got: list[int] = []
    mailbox = Mailbox(loop, got.append)
    loop.close()

    mailbox.post(1)
    mailbox.post(2)

    assert got == []
