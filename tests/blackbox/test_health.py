"""What a load balancer and Prometheus read."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from taskflow import QueueConfig, QueueFullError, StoreUnavailableError, TaskAdmin, TaskManager
from taskflow.admin.health import Signs, judge
from taskflow.admin.health_routes import check_open_routes
from taskflow.admin.prom import MOST_QUEUES
from taskflow.errors import SettingsError
from tests.apps.locks import locked
from tests.apps.site import PATIENCE, Site

NAMES = ["engine", "store", "last write", "services", "lanes", "loop", "sampler"]


@pytest.fixture
async def site(db_path: Path) -> AsyncIterator[Site]:
    site = Site(db_path)
    async with site.serve():
        yield site


async def scrape(site: Site) -> dict[str, Metric]:
    """The families of a scrape by name; each once."""
    answer = await site.http.get("/tasks/metrics.prom")
    assert answer.status_code == 200
    families = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in families}) == len(families)
    return {family.name: family for family in families}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    """The one number with this name and these labels."""
    (found,) = (
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == f"taskflow_{name}" and sample.labels == labels
    )
    return found


async def health_until(site: Site, **wanted: object) -> Any:
    """The health as soon as it is so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = await site.http.get("/tasks/health")
        found = answer.json()
        assert (answer.status_code == 200) == found["ready"]
        if wanted.items() <= found.items():
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)


def wrong(health: Any) -> dict[str, str]:
    """What is not ok, with its detail."""
    return {check["name"]: check["detail"] for check in health["checks"] if not check["ok"]}


# -- health --------------------------------------------------------------------------------------


async def test_an_instance_that_runs_is_ok(site: Site) -> None:
    answer = await site.http.get("/tasks/health")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "live": True,
        "ready": True,
        "checks": [{"name": name, "ok": True, "detail": None} for name in NAMES],
    }


async def test_both_routes_answer_head_without_a_body(site: Site) -> None:
    for path in ("/tasks/health", "/tasks/health?live", "/tasks/metrics.prom"):
        head, get = await site.http.head(path), await site.http.get(path)

        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == get.headers["content-type"]


async def test_other_methods_are_refused(site: Site) -> None:
    for path in ("/tasks/health", "/tasks/metrics.prom"):
        assert (await site.http.post(path)).status_code == 405


async def test_while_the_store_is_locked_it_is_live_but_not_ready_and_comes_back(
    db_path: Path,
) -> None:
    site = Site(db_path, enqueue_timeout=1.0, history=False)
    async with site.serve() as http:
        with locked(db_path):
            # Refused before it has written anything else, so that nothing is left to write.
            with pytest.raises(StoreUnavailableError):
                await site.add(site.held)
            outbox = site.manager.engine.outbox
            deadline = time.monotonic() + PATIENCE
            while not outbox.empty:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            # The first two are told before the store has given up, the third what it said.
            for _ in range(3):
                answer = await http.get("/tasks/health")
                assert answer.status_code == 503
            found = answer.json()

            assert outbox.empty
            assert (found["status"], found["live"]) == ("down", True)
            assert wrong(found)["store"] == "it takes no writes"
            assert str(db_path.parent) not in json.dumps(found)
            assert value(await scrape(site), "store_trouble") == 1
            assert (await http.get("/tasks/health?live")).status_code == 200

        # Nobody adds anything to an instance that is not ready: it finds out by itself.
        found = await health_until(site, ready=True)

        assert found["status"] == "degraded"
        assert "last write" in wrong(found)
        await site.until(await site.add(site.quick), "success")
        assert "last write" not in wrong(await health_until(site, ready=True))
        assert value(await scrape(site), "store_trouble") == 0


async def test_a_point_of_the_history_shows_that_writes_are_taken_again(db_path: Path) -> None:
    site = Site(db_path, enqueue_timeout=1.0)
    async with site.serve():
        with locked(db_path), pytest.raises(StoreUnavailableError):
            await site.add(site.held)

        # Nobody adds anything; the next point is due within 10 s.
        found = await health_until(site, status="ok")

        assert wrong(found) == {}


async def test_an_instance_that_stops_is_not_ready(db_path: Path) -> None:
    site = Site(db_path, shutdown_grace=PATIENCE)
    async with site.serve() as http:
        task_id = await site.add(site.held)
        await site.until(task_id, "running")

        stopping = asyncio.create_task(site.manager.drain())
        found = await health_until(site, ready=False)

        assert wrong(found) == {"engine": "it stops"}
        assert (await http.get("/tasks/health?live")).status_code == 200
        site.release.set()
        await stopping


BAD = [
    (Signs(running=False), "down", "engine", "no tasks run here now"),
    (Signs(stopping=True), "down", "engine", "it stops"),
    (Signs(writable=False, last_write_failed=True), "down", "store", "it takes no writes"),
    (Signs(last_write_failed=True), "degraded", "last write", "it failed"),
    (Signs(failures=(("timer", 3), ("watch", 2))), "degraded", "services", "timer (3 times)"),
    (Signs(refusing=("io",)), "degraded", "lanes", "take no work: io"),
    (Signs(lag=0.26, stall=0.25), "degraded", "loop", "0.260 s late"),
    (Signs(sample_age=10.1), "degraded", "sampler", "last looked 10 s ago"),
    (Signs(sample_age=301.0, sample_interval=60.0), "degraded", "sampler", "301 s ago"),
]


@pytest.mark.parametrize(("signs", "status", "name", "detail"), BAD)
def test_each_bad_sign_is_told_and_only_some_make_it_unready(
    signs: Signs, status: str, name: str, detail: str
) -> None:
    found = judge(signs)

    assert (found.status, found.ready, found.live) == (status, status != "down", True)
    (check,) = (check for check in found.checks if not check.ok)
    assert check.name == name
    assert detail in str(check.detail)


@pytest.mark.parametrize(
    "signs",
    [
        Signs(failures=(("timer", 2),)),
        Signs(lag=0.25, stall=0.25),
        Signs(lag=60.0, stall=0.0),
        Signs(sample_age=9.9),
        Signs(sample_age=-3600.0),
        Signs(sample_age=299.0, sample_interval=60.0),
    ],
)
def test_what_is_no_bad_sign_yet_is_none(signs: Signs) -> None:
    assert judge(signs).status == "ok"


# -- metrics -------------------------------------------------------------------------------------


async def test_a_scrape_has_the_content_type_of_the_format_and_is_no_json(site: Site) -> None:
    answer = await site.http.get("/tasks/metrics.prom")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.endswith("\n")


async def test_a_scrape_counts_what_each_lane_has_done(site: Site) -> None:
    await site.until(await site.add(site.quick), "success")
    await site.until(await site.add(site.patient), "retrying")
    held = [await site.add(site.held) for _ in range(3)]
    await site.until(held[1], "running")

    found = await scrape(site)

    assert value(found, "lane_limit", lane="async") == 2
    assert value(found, "lane_running", lane="async") == 2
    assert value(found, "lane_waiting", lane="async", place="memory") == 1
    assert value(found, "lane_oldest_waiting_seconds", lane="async") > 0
    assert value(found, "attempts_started_total", lane="async") == 4
    assert value(found, "attempts_succeeded_total", lane="async") == 1
    assert value(found, "attempts_failed_total", lane="async") == 1
    assert value(found, "attempts_started_total", lane="io") == 0
    assert value(found, "wait_seconds_count", lane="async") == 4
    assert value(found, "run_seconds_count", lane="async") == 2
    assert value(found, "run_seconds_bucket", lane="async", le="+Inf") == 2
    assert value(found, "store_commits_total") > 0
    for name in ("attempts_started", "attempts_failed", "attempts_timed_out", "tasks_rejected"):
        assert found[f"taskflow_{name}"].type == "counter"
    assert found["taskflow_wait_seconds"].type == "histogram"
    assert found["taskflow_loop_lag_seconds"].type == "summary"


async def test_every_family_says_what_it_is_and_no_task_is_named(site: Site) -> None:
    await site.until(await site.add(site.quick), "success")

    answer = await site.http.get("/tasks/metrics.prom")

    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    assert all(family.name.startswith("taskflow_") for family in families)
    assert "quick" not in answer.text
    assert str(Path(site.manager.settings.db).parent) not in answer.text


async def test_queues_with_limits_are_told_of_whatever_their_names_are(db_path: Path) -> None:
    names = ['a"b\\c', "{}=,", "\\", "# TYPE x", "ümläut 😀", 'x"} 1 taskflow_forged{y="']
    queues = {name: QueueConfig(concurrency=1, max_size=1) for name in names}
    site = Site(db_path, queues=queues)
    async with site.serve():
        await site.manager.queues[names[0]].pause()
        await site.add(site.held, queue=names[1])
        await site.add(site.held, queue=names[1])
        with pytest.raises(QueueFullError):
            await site.add(site.held, queue=names[1])

        found = await scrape(site)

    told = {sample.labels["queue"] for sample in found["taskflow_queue_running"].samples}
    assert told == set(names)
    assert value(found, "queue_paused", queue=names[0]) == 1
    assert value(found, "queue_running", queue=names[1]) == 1
    assert value(found, "queue_waiting", queue=names[1]) == 1
    assert value(found, "tasks_rejected_total", lane="async") == 1
    assert not any("forged" in name for name in found)


async def test_of_very_many_queues_always_the_same_are_told_of(db_path: Path) -> None:
    queues = {f"q{number:04}": QueueConfig(concurrency=1) for number in range(MOST_QUEUES + 5)}
    site = Site(db_path, queues=queues)
    async with site.serve():
        found = await scrape(site)

    told = {sample.labels["queue"] for sample in found["taskflow_queue_running"].samples}
    assert told == set(sorted(queues)[:MOST_QUEUES])
    assert value(found, "queues_left_out") == 5


async def test_schedules_are_counted_by_their_state(db_path: Path) -> None:
    site = Site(db_path)
    for name in ("one", "two"):
        site.manager.schedule(every=3600, name=name)(site.quick)
    async with site.serve():
        # They are known with the first turn of the scheduler, some moments after the start.
        deadline = time.monotonic() + PATIENCE
        while value(found := await scrape(site), "schedules", state="active") != 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    assert value(found, "schedules", state="paused") == 0
    assert value(found, "schedules_late_seconds") < PATIENCE


async def test_workers_are_told_apart_by_place_and_never_by_process(db_path: Path) -> None:
    site = Site(db_path, sample_interval=0.1)
    site.manager.task(lane="cpu", name="nothing")(time.sleep)
    async with site.serve():
        name = "taskflow_worker_resident_memory_bytes"
        deadline = time.monotonic() + PATIENCE
        while name not in (found := await scrape(site)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    for sample in found[name].samples:
        assert sample.labels["lane"] == "cpu"
        assert int(sample.labels["worker"]) < 3
        assert sample.value > 2**20
    assert value(found, "process_resident_memory_bytes") > 2**20


async def test_neither_route_looks_like_a_task_or_stands_twice_in_the_schema(site: Site) -> None:
    paths = (await site.http.get("/openapi.json")).json()["paths"]

    assert set(paths["/tasks/health"]) == set(paths["/tasks/metrics.prom"]) == {"get"}
    responses = paths["/tasks/health"]["get"]["responses"]
    assert {"200", "503"} <= set(responses)


# -- behind the guard ----------------------------------------------------------------------------


async def test_whoever_is_not_let_in_sees_neither(site: Site) -> None:
    transport = httpx.ASGITransport(site.app, client=("10.1.2.3", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
        for path in ("/tasks/health", "/tasks/health?live", "/tasks/metrics.prom"):
            for method in ("GET", "HEAD"):
                assert (await stranger.request(method, path)).status_code == 404


@pytest.mark.parametrize("names", [(), ("health",), ["health", "metrics"], {"metrics"}])
def test_routes_are_opened_by_name(names: object) -> None:
    assert check_open_routes(names) == frozenset(names)  # type: ignore[call-overload]


@pytest.mark.parametrize("names", [("lanes",), ("",), (None,), (["health"],), "health", None, True])
def test_a_name_that_cannot_be_opened_is_refused_and_the_known_ones_are_named(
    names: object,
) -> None:
    with pytest.raises(SettingsError, match=r"'health', 'metrics'"):
        check_open_routes(names)


OPEN = {"health": "/tasks/health", "metrics": "/tasks/metrics.prom"}


@pytest.mark.parametrize("auth", [None, ("ada", "secret")])
@pytest.mark.parametrize("env", ["development", "production"])
@pytest.mark.parametrize("names", [(), ("health",), ("metrics",), ("health", "metrics")])
async def test_what_is_opened_answers_anybody_and_everything_else_stays_closed(
    db_path: Path, names: tuple[str, ...], env: str, auth: tuple[str, str] | None
) -> None:
    app = FastAPI()
    manager = TaskManager(db_path, env=env, io_workers=1, cpu_workers=1)
    admin = TaskAdmin(app, manager, auth=auth, open_routes=names)
    opened = {OPEN[name] for name in names}
    closed = {route.path for route in admin.router.routes if isinstance(route, APIRoute)}
    assert not closed & opened
    assert set(OPEN.values()) - opened <= closed

    proxied = {"X-Forwarded-For": "10.1.2.3", "Host": "10.0.0.7:8000"}
    transport = httpx.ASGITransport(app, client=("10.1.2.3", 1))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app", headers=proxied) as http,
    ):
        for path in opened:
            for method in ("GET", "HEAD"):
                answer = await http.request(method, path)
                assert answer.status_code == 200
                assert answer.headers["cache-control"] == "no-store"
        for route in admin.router.routes:
            assert isinstance(route, APIRoute)
            path = re.sub(r"{[^}]*}", "x", route.path)
            for method in route.methods or ():
                answer = await http.request(method, path)
                assert answer.status_code == (404 if auth is None else 401), (method, path)
        shown = (await http.get("/openapi.json")).json()["paths"]
        assert opened <= set(shown)
        assert auth is not None or env == "development" or set(shown) == opened


def test_an_admin_with_a_wrong_name_to_open_leaves_the_app_as_it_was(db_path: Path) -> None:
    app = FastAPI()
    before = list(app.routes)

    with pytest.raises(SettingsError, match="'lanes' cannot be opened"):
        TaskAdmin(app, TaskManager(db_path), open_routes=("lanes",))

    assert list(app.routes) == before
