"""Lanes and queues as a client of the REST API sees and changes them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends
from fastapi.testclient import TestClient

from taskflow import QueueConfig
from taskflow.admin.queues import MOST_QUEUES
from tests.apps.site import PATIENCE, Site


@pytest.fixture
async def site(db_path: Path) -> AsyncIterator[Site]:
    site = Site(db_path)
    async with site.serve():
        yield site


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, TestClient]]:
    """One app for everything that it refuses, which changes nothing there."""
    site = Site(tmp_path_factory.mktemp("refusing") / "tasks.db")
    with TestClient(site.app, "http://localhost:8000", client=("127.0.0.1", 1)) as http:
        yield site, http


def burn(seconds: float) -> None:
    """For a worker process, which finds it by its name."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def crash() -> None:
    import os  # noqa: PLC0415  (only in the process that is to die)

    os.abort()


# -- what a lane says ----------------------------------------------------------------------------


async def test_lanes_show_slots_room_and_workers(site: Site) -> None:
    held = threading.Event()
    site.manager.task(name="hold-thread")(held.wait)
    await site.manager.enqueue(held.wait, PATIENCE)
    waiting = await site.manager.enqueue(held.wait, PATIENCE)
    await site.add(site.held)

    answer = await site.get("/tasks/lanes")
    lanes = {lane["name"]: lane for lane in answer["items"]}
    held.set()
    await waiting.result(PATIENCE)

    assert answer["instance"] == site.manager.engine.instance
    assert list(lanes) == ["async", "io", "cpu"]
    assert [lane["kind"] for lane in lanes.values()] == ["event loop", "threads", "processes"]
    assert (lanes["io"]["limit"], lanes["io"]["running"], lanes["io"]["waiting"]) == (1, 1, 1)
    assert (lanes["io"]["stuck"], lanes["io"]["max_stuck"]) == (0, 2)
    assert lanes["io"]["free"] == lanes["io"]["room"] - 1
    assert 0 < lanes["io"]["oldest_age"] < PATIENCE
    assert (lanes["async"]["limit"], lanes["async"]["running"]) == (2, 1)
    assert lanes["async"]["room"] == site.manager.settings.async_queue
    assert (lanes["async"]["oldest_age"], lanes["async"]["strays"]) == (None, 0)
    assert lanes["cpu"]["workers"] == []
    assert lanes["io"]["workers"] is None
    for lane in lanes.values():
        assert lane["configured_limit"] == lane["limit"]
        assert (lane["paused"], lane["brakes"], lane["refusing"]) == (False, [], None)


async def test_a_lane_counts_what_ended_badly_and_measures_waiting_and_running(
    db_path: Path,
) -> None:
    site = Site(db_path, max_crashes=1)

    @site.manager.task(timeout=0.05)
    async def too_slow() -> None:
        await asyncio.Event().wait()

    site.manager.task(lane="cpu")(crash)
    async with site.serve():
        ended = [
            *[await site.add(site.quick) for _ in range(3)],
            *[await site.add(site.flaky), await site.add(too_slow)],
            (await site.manager.enqueue(crash)).task_id,
        ]
        for task_id in ended:
            await site.until(task_id, "success", "failed")
        lane = (await site.get_until("/tasks/lanes", measured))["items"][0]
        cpu = await site.lane("cpu")

    assert (lane["failed"], lane["timed_out"], lane["crashed"]) == (2, 1, 0)
    assert (cpu["failed"], cpu["crashed"]) == (0, 1)
    assert lane["throughput"] > 0
    for figures in (lane["run"]["last_minute"], lane["run"]["since_start"]):
        assert figures["count"] == 6
        assert 0 <= figures["p50"] <= figures["p95"] <= figures["p99"] <= figures["max"]
        assert 0.05 <= figures["max"] < PATIENCE
    assert lane["wait"]["since_start"]["count"] == 6
    assert lane["wait"]["since_start"]["p50"] is not None


def measured(answer: Any) -> bool:
    """Whether the figures, which are a second old at most, have come to the six attempts."""
    return bool(answer["items"][0]["run"]["since_start"]["count"] == 6)


async def test_a_worker_process_shows_its_task_and_what_it_uses(db_path: Path) -> None:
    site = Site(db_path, sample_interval=0.1)
    site.manager.task(name="shop:burn", lane="cpu")(burn)
    async with site.serve():
        handle = await site.manager.enqueue(burn, PATIENCE)
        await site.until(handle.task_id, "running")

        def is_looked_at(answer: Any) -> bool:
            workers = answer["items"][2]["workers"]
            busy = [worker for worker in workers if worker["busy"]]
            return bool(
                busy and busy[0]["cpu_percent"] and answer["app"]["cpu_percent"] is not None
            )

        answer = await site.get_until("/tasks/lanes", is_looked_at)
        await site.http.post(f"/tasks/{handle.task_id}/cancel")

    (busy,) = (worker for worker in answer["items"][2]["workers"] if worker["busy"])
    assert (busy["task_id"], busy["func_name"]) == (handle.task_id, "shop:burn")
    assert busy["calls_done"] == 0
    assert busy["rss"] > 2**20
    assert busy["threads"] >= 1
    assert 0 < busy["age"] < PATIENCE * 2
    app, host = answer["app"], answer["host"]
    assert app["pid"] != busy["pid"]
    assert app["rss"] > 2**20
    assert app["fds"] > 3
    assert host["cpus"] >= 1
    assert 0 < host["memory_used"] < host["memory_limit"]
    assert 0 < host["memory_percent"] < 100
    assert host["cgroup"] in {True, False}


async def test_what_held_the_event_loop_is_named_with_the_way_out(db_path: Path) -> None:
    # What is done at the start may hold the loop, too, and be one stall with what follows.
    site = Site(db_path, loop_stall_ms=100, gc_freeze=False)

    @site.manager.task(name="shop:blocks")
    async def blocks() -> None:
        time.sleep(0.5)  # noqa: ASYNC251  (that is what is found out)

    async with site.serve():
        await site.get_until("/tasks/lanes", lambda it: it["loop"]["lag"]["count"])
        task_id = await site.add(blocks)

        def of_the_task(answer: Any) -> list[Any]:
            return [stall for stall in answer["loop"]["stalls"] if task_id in stall["culprit"]]

        answer = await site.get_until("/tasks/lanes", of_the_task)

    loop = answer["loop"]
    stall = of_the_task(answer)[0]
    assert loop["stall_threshold"] == 0.1
    assert "shop:blocks" in stall["culprit"]
    assert 'lane="io"' in stall["hint"]
    assert "time.sleep(0.5)" in stall["stack"]
    assert 0.1 < stall["duration"] < PATIENCE
    assert stall["cpu_share"] < 0.5
    assert loop["lag"].keys() == {"count", "p50", "p95", "p99", "max"}


async def test_a_lane_whose_threads_are_stuck_says_so_and_so_do_its_tasks(db_path: Path) -> None:
    site = Site(db_path, io_max_stuck=1)
    release = threading.Event()

    @site.manager.task(timeout=0.05)
    def stuck() -> None:
        release.wait(PATIENCE)

    async with site.serve():
        await site.until((await site.manager.enqueue(stuck)).task_id, "failed")
        waiting = (await site.manager.enqueue(stuck)).task_id
        lane = await site.lane("io")
        task = await site.get(f"/tasks/{waiting}")
        release.set()
        await site.until(waiting, "success")

    assert (lane["stuck"], lane["max_stuck"], lane["free"]) == (1, 1, 0)
    assert "1 thread is stuck" in lane["refusing"]
    assert not lane["paused"]
    assert task["waiting_for"]["reason"] == "brake"
    assert "the io lane takes no work: 1 thread is stuck" in task["waiting_for"]["text"]


# -- changing a lane -----------------------------------------------------------------------------


async def test_a_lane_takes_another_limit_at_once_and_gives_it_back(site: Site) -> None:
    tasks = [await site.add(site.held) for _ in range(4)]

    wider = await site.patch("/tasks/lanes/async", limit=3)
    third = await site.until(tasks[2], "running")
    back = await site.patch("/tasks/lanes/async", limit=None)

    assert (wider["limit"], wider["configured_limit"], wider["running"]) == (3, 2, 3)
    assert third["status"] == "running"
    assert (back["limit"], back["running"]) == (2, 3)
    assert (await site.lane("async"))["limit"] == 2


async def test_a_paused_lane_starts_nothing_until_it_is_resumed(site: Site) -> None:
    paused = await site.patch("/tasks/lanes/async", paused=True)
    task_id = await site.add(site.quick)
    waiting = await site.get(f"/tasks/{task_id}")

    resumed = await site.patch("/tasks/lanes/async", paused=False)
    await site.until(task_id, "success")

    assert (paused["paused"], paused["brakes"]) == (True, ["paused"])
    assert waiting["status"] == "pending"
    assert waiting["waiting_for"]["reason"] == "brake"
    assert waiting["waiting_for"]["text"] == "waits: the async lane is paused"
    assert (resumed["paused"], resumed["brakes"]) == (False, [])


async def test_a_change_leaves_alone_what_it_does_not_name(site: Site) -> None:
    await site.patch("/tasks/lanes/io", limit=7)
    await site.patch("/tasks/lanes/io", paused=True)
    both = await site.lane("io")
    await site.patch("/tasks/lanes/io", paused=None)

    assert (both["limit"], both["paused"]) == (7, True)
    assert (await site.lane("io"))["limit"] == 7


async def test_changes_that_come_at_once_are_all_made(site: Site) -> None:
    await asyncio.gather(
        site.patch("/tasks/lanes/io", limit=7), site.patch("/tasks/lanes/io", paused=True)
    )

    lane = await site.lane("io")
    assert (lane["limit"], lane["paused"]) == (7, True)


async def test_a_change_outlives_the_app_and_reaches_the_other_instances(db_path: Path) -> None:
    first, second, third = Site(db_path), Site(db_path), Site(db_path)

    async with first.serve(), second.serve():
        await first.patch("/tasks/lanes/cpu", limit=3)
        await first.patch("/tasks/queues/email", rate="2/min", paused=True)
        await second.get_until("/tasks/lanes", lambda it: it["items"][2]["limit"] == 3)
    async with third.serve():
        lane, queue = await third.lane("cpu"), await third.queue("email")

    assert (lane["limit"], lane["configured_limit"]) == (3, 1)
    assert (queue["rate"], queue["paused"]) == ("2/min", True)


async def test_an_unknown_lane_is_404_and_the_answer_names_those_there_are(site: Site) -> None:
    answer = await site.http.patch("/tasks/lanes/gpu", json={"limit": 1})

    assert answer.status_code == 404
    assert answer.json()["detail"] == "there is no lane 'gpu'; the lanes are async, io, cpu"


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("lanes/cpu", {"limit": 0}, "limit=0: lane 'cpu' takes 1 to 256, or null"),
        ("lanes/cpu", {"limit": 10**9}, "lane 'cpu' takes 1 to 256, or null"),
        ("lanes/cpu", {"limit": True}, "limit"),
        ("lanes/cpu", {"limit": "4"}, "limit"),
        ("lanes/cpu", {"limit": 1.5}, "limit"),
        ("lanes/cpu", {"paused": 1}, "paused"),
        ("lanes/cpu", {"limt": 1}, "limt"),
        ("lanes/cpu", {}, "give at least one of limit, paused"),
        ("lanes/cpu", [], "body"),
        ("lanes/cpu", None, "body"),
        ("queues/email", {"rate": "fast"}, "rate='fast': give a number"),
        ("queues/email", {"rate": 10}, "rate"),
        ("queues/email", {"rate": "1" * 101}, "rate"),
        ("queues/email", {"concurrency": 0}, "concurrency=0: give a whole number from 1 on"),
        ("queues/email", {"max_size": -1}, "max_size=-1: give a whole number from 0 on"),
        ("queues/email", {"limit": 1}, "limit"),
        ("queues/email", {}, "give at least one of concurrency, max_size, rate, paused"),
        ("queues/%00", {"paused": True}, "give a name of 1 to 255 printable characters"),
        (f"queues/{'x' * 256}", {"paused": True}, "give a name of 1 to 255 printable characters"),
    ],
)
def test_a_change_that_cannot_work_is_refused_with_a_reason_and_changes_nothing(
    refusing: tuple[Site, TestClient], path: str, body: object, told: str
) -> None:
    site, http = refusing

    answer = http.patch(f"/tasks/{path}", json=body)

    assert answer.status_code == 422
    assert told in str(answer.json()["detail"])
    assert http.portal is not None
    assert http.portal.call(site.manager.engine.store.controls) == {}
    assert http.get("/tasks/lanes").json()["items"][2]["limit"] == 1


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 422),
        (b"", "application/json", 422),
        (b'{"limit": "\xff"}', "application/json", 422),
        (b'{"limit": 2}', "text/plain", 415),
        (b'{"limit": 2' + b" " * 70_000 + b"}", "application/json", 413),
    ],
)
def test_a_body_that_is_no_change_is_refused(
    refusing: tuple[Site, TestClient], content: bytes, kind: str, status: int
) -> None:
    _, http = refusing
    headers = {"Content-Type": kind}

    answer = http.patch("/tasks/lanes/cpu", content=content, headers=headers)

    assert (answer.status_code, "detail" in answer.json()) == (status, True)
    assert http.get("/tasks/lanes").json()["items"][2]["limit"] == 1


async def test_the_schema_says_what_a_change_may_hold(site: Site) -> None:
    paths = (await site.get("/openapi.json"))["paths"]

    for path, names in (
        ("/tasks/lanes/{name}", {"limit", "paused"}),
        ("/tasks/queues/{name}", {"concurrency", "max_size", "rate", "paused"}),
    ):
        body = paths[path]["patch"]["requestBody"]
        assert body["required"] is True
        assert body["content"]["application/json"]["schema"]["properties"].keys() == names


# -- queues --------------------------------------------------------------------------------------


def limited(db_path: Path, **config: Any) -> Site:
    return Site(db_path, async_limit=50, queues={"email": QueueConfig(**config)})


async def test_a_full_queue_shows_its_tasks_and_they_say_what_they_wait_for(db_path: Path) -> None:
    site = limited(db_path, concurrency=2, max_size=9)

    async with site.serve():
        tasks = [await site.add(site.held, queue="email") for _ in range(5)]
        await site.until(tasks[1], "running")
        queue = await site.queue("email")
        waiting_for = (await site.get(f"/tasks/{tasks[4]}"))["waiting_for"]
        lanes = await site.get("/tasks/lanes")

    assert (queue["running"], queue["waiting"], queue["admitted"]) == (2, 3, 2)
    assert (queue["concurrency"], queue["max_size"], queue["rate"]) == (2, 9, None)
    assert queue["configured"] == {"concurrency": 2, "max_size": 9, "rate": None}
    assert (queue["paused"], queue["opens_at"]) == (False, None)
    assert (waiting_for["reason"], waiting_for["queue"]) == ("queue", "email")
    assert waiting_for["text"] == "waits: queue 'email' runs 2 of 2"
    assert lanes["queues"]["items"][0]["name"] == "email"
    assert lanes["items"][0]["backlog"] == 3


async def test_a_queue_takes_other_limits_at_once_and_gives_them_back(db_path: Path) -> None:
    site = limited(db_path, concurrency=1)

    async with site.serve():
        tasks = [await site.add(site.held, queue="email") for _ in range(3)]
        wider = await site.patch("/tasks/queues/email", concurrency=3, rate="100/s")
        await site.until(tasks[2], "running")
        back = await site.patch("/tasks/queues/email", concurrency=None, rate=None)

    assert (wider["concurrency"], wider["rate"]) == (3, "100/s")
    assert wider["configured"]["concurrency"] == 1
    assert (back["concurrency"], back["rate"], back["running"]) == (1, None, 3)


async def test_a_queue_that_nobody_has_heard_of_can_be_paused_and_resumed(site: Site) -> None:
    name = "shop/mail:send ü"

    paused = await site.patch(f"/tasks/queues/{name}", paused=True)
    task_id = await site.add(site.quick, queue=name)
    waiting_for = (await site.get(f"/tasks/{task_id}"))["waiting_for"]
    other = await site.add(site.quick)
    await site.until(other, "success")
    await site.patch(f"/tasks/queues/{name}", paused=None)
    await site.until(task_id, "success")

    assert (paused["name"], paused["paused"]) == (name, True)
    assert waiting_for["reason"] == "queue"
    assert waiting_for["text"] == f"waits: queue {name!r} is paused"


async def test_a_queue_that_waits_for_its_rate_says_when_it_opens(db_path: Path) -> None:
    site = limited(db_path, rate="2/h")

    async with site.serve():
        started = [await site.add(site.quick, queue="email") for _ in range(2)]
        for task_id in started:
            await site.until(task_id, "success")
        waiting_for = (await site.get(f"/tasks/{await site.add(site.quick, queue='email')}"))[
            "waiting_for"
        ]
        queue = await site.queue("email")

    assert waiting_for["reason"] == "rate"
    assert waiting_for["text"].startswith("waits for the rate of queue 'email' (2/h), free in 3")
    assert waiting_for["until"][:15] == queue["opens_at"][:15]
    assert (queue["running"], queue["waiting"]) == (0, 1)


async def test_a_task_that_waits_for_its_key_names_the_task_that_holds_it(site: Site) -> None:
    @site.manager.task(name="shop:ship", concurrency_key=lambda order: f"order:{order}")
    async def ship(order: int) -> None:
        await site.release.wait()

    first = await site.add(ship, order=17)
    await site.until(first, "running")
    second, other = await site.add(ship, order=17), await site.add(ship, order=18)
    await site.until(other, "running")

    task = await site.get(f"/tasks/{second}")

    assert task["concurrency_key"] == "order:17"
    assert task["waiting_for"]["reason"] == "key"
    assert task["waiting_for"]["held_by"] == [first]
    assert task["waiting_for"]["text"] == (
        f"waits for key 'order:17', held by task {first} (shop:ship)"
    )


@pytest.mark.parametrize("limit", [2, 6])
async def test_a_key_that_has_a_place_left_is_not_in_the_way(db_path: Path, limit: int) -> None:
    site = Site(db_path, async_limit=50)

    @site.manager.task(concurrency_key=lambda order: order, concurrency_limit=limit)
    async def ship(order: int) -> None:
        await site.release.wait()

    async with site.serve():
        holding = [await site.add(ship, order=17) for _ in range(limit - 1)]
        for task_id in holding:
            await site.until(task_id, "running")
        await site.patch("/tasks/lanes/async", paused=True)
        path = f"/tasks/{await site.add(ship, order=17)}"
        waiting = await site.get_until(path, lambda it: it["waiting_for"]["reason"] == "brake")
        with_a_place = waiting["waiting_for"]
        await site.patch("/tasks/lanes/async", paused=False)
        await site.until(path.removeprefix("/tasks/"), "running")
        path = f"/tasks/{await site.add(ship, order=17)}"
        # With more than 5 places it is known once those who found none were counted.
        without = await site.get_until(path, lambda it: it["waiting_for"]["reason"] == "key")

    assert (with_a_place["reason"], with_a_place["held_by"]) == ("brake", [])
    assert len(without["waiting_for"]["held_by"]) == min(limit, 5)


async def test_queues_with_limits_come_first_and_very_many_are_cut(db_path: Path) -> None:
    site = limited(db_path, concurrency=1)

    async with site.serve():
        await site.patch("/tasks/lanes/async", paused=True)
        for number in range(MOST_QUEUES + 5):
            await site.add(site.quick, queue=f"customer-{number}")
        await site.add(site.quick, queue="customer-7")
        queues = await site.get("/tasks/queues")

    assert [queue["name"] for queue in queues["items"][:2]] == ["email", "customer-7"]
    assert queues["items"][1]["waiting"] == 2
    assert len(queues["items"]) == MOST_QUEUES
    assert queues["left_out"] == 6


# -- too much ------------------------------------------------------------------------------------


async def stored(site: Site) -> int:
    return int((await site.get("/tasks/metrics"))["total"])


def with_routes(site: Site) -> Site:
    @site.app.post("/add")
    async def add(
        background_tasks: BackgroundTasks, count: int = 1, queue: str = "default"
    ) -> None:
        for _ in range(count):
            background_tasks.add_task(site.manager.options(site.held, queue=queue))

    @site.app.post("/shed", dependencies=[Depends(site.manager.shed_load("async", waiting=0))])
    async def shed(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(site.held)

    return site


def assert_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    # The public hears neither of queues nor of lanes.
    assert answer.json() == {"detail": "too many tasks are waiting; try again later"}


async def test_a_lane_that_rejects_answers_429_and_nothing_of_the_request_is_stored(
    db_path: Path,
) -> None:
    site = with_routes(Site(db_path, overflow="reject", async_limit=1, async_queue=2))

    async with site.serve() as http:
        taken = [await http.post("/add") for _ in range(2)]
        one_fits = await http.post("/add?count=2")
        taken.append(await http.post("/add"))
        none_fits = await http.post("/add")
        in_the_store = await stored(site)
        async with asyncio.timeout(PATIENCE):
            # A task that came while the lane looked at the disk takes the way over it.
            while (lane := await site.lane("async"))["waiting"] < 2:
                await asyncio.sleep(0.01)

    assert [answer.status_code for answer in taken] == [200] * 3
    assert_refused(one_fits)
    assert_refused(none_fits)
    assert in_the_store == 3
    assert (lane["running"], lane["waiting"]) == (1, 2)
    assert lane["rejected"] >= 2


async def test_a_queue_that_is_full_answers_429_and_another_one_goes_on(db_path: Path) -> None:
    site = with_routes(limited(db_path, concurrency=1, max_size=1))

    async with site.serve() as http:
        taken = [await http.post("/add?queue=email") for _ in range(2)]
        refused = await http.post("/add?queue=email")
        elsewhere = await http.post("/add")
        in_the_store = await stored(site)

    assert [answer.status_code for answer in (*taken, elsewhere)] == [200] * 3
    assert_refused(refused)
    assert in_the_store == 3


async def test_a_route_that_sheds_load_answers_429_before_it_does_anything(db_path: Path) -> None:
    site = with_routes(Site(db_path, async_limit=1))

    async with site.serve() as http:
        taken = [await http.post("/shed") for _ in range(2)]
        refused = await http.post("/shed")
        in_the_store = await stored(site)
        site.release.set()
        await site.get_until("/tasks/metrics", lambda it: it["counts"]["success"] == 2)
        again = await http.post("/shed")

    assert [answer.status_code for answer in taken] == [200, 200]
    assert_refused(refused)
    assert in_the_store == 2
    assert again.status_code == 200
