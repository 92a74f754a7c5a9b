"""The REST API as a client sees it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from taskflow import (
    QueueFullError,
    SettingsError,
    StoreUnavailableError,
    TaskAdmin,
    TaskflowError,
    TaskManager,
)
from taskflow.admin import actions
from tests.apps.site import FINAL, PATIENCE, Site

NAMES = {
    *("task_id", "func_name", "status", "lane", "queue", "priority", "created_at", "run_at"),
    *("start_time", "end_time", "duration", "attempts", "max_attempts", "error", "stacktrace"),
    *("logs", "progress", "tags", "source", "instance"),
}
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


@pytest.fixture
async def site(db_path: Path) -> AsyncIterator[Site]:
    site = Site(db_path)
    async with site.serve():
        yield site


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One app for everything that it refuses, which changes nothing there."""
    site = Site(tmp_path_factory.mktemp("refusing") / "tasks.db")
    with TestClient(site.app, "http://localhost:8000", client=("127.0.0.1", 1)) as http:
        yield http


# -- reading -------------------------------------------------------------------------------------


async def test_the_list_shows_the_newest_task_first_with_every_name(site: Site) -> None:
    first, second = await site.add(site.quick), await site.add(site.quick, tags={"a": "b"})
    await site.until(second, "success")

    page = await site.get("/tasks")

    assert [task["task_id"] for task in page["items"]] == [second, first]
    assert page["next_cursor"] is None
    assert set(page["items"][0]) >= NAMES
    assert page["items"][0]["tags"] == {"a": "b"}
    assert page["items"][1]["tags"] == {}
    assert page["items"][0]["logs"] == []


async def test_the_list_answers_with_and_without_a_slash(site: Site) -> None:
    task_id = await site.add(site.quick)

    for path in ("/tasks", "/tasks/"):
        assert [task["task_id"] for task in (await site.get(path))["items"]] == [task_id]


async def test_a_client_reads_what_its_request_has_written(site: Site) -> None:
    @site.app.post("/add")
    async def add(background_tasks: BackgroundTasks) -> str:
        return str(background_tasks.add_task(site.held))  # type: ignore[func-returns-value]  # managed

    for _ in range(20):
        task_id = (await site.http.post("/add")).json()
        assert (await site.get(f"/tasks/{task_id}"))["task_id"] == task_id


async def test_what_has_ended_for_the_program_has_ended_for_the_client(site: Site) -> None:
    for _ in range(20):
        handle = await site.manager.enqueue(site.quick)
        await handle.result(PATIENCE)

        assert (await site.get(f"/tasks/{handle.task_id}"))["status"] == "success"
        handle = await site.manager.enqueue(site.quick)
        await handle.result(PATIENCE)
        assert (await site.get("/tasks?limit=1"))["items"][0]["status"] == "success"


async def test_one_task_tells_everything(site: Site) -> None:
    task_id = await site.add(site.quick, x=21)

    task = await site.until(task_id, "success")

    assert set(task) >= NAMES | {"history", "result", "waiting_for", "arguments"}
    assert task["func_name"].endswith("quick")
    assert (task["lane"], task["attempts"], task["max_attempts"]) == ("async", 1, 1)
    assert task["arguments"] == {"args": [], "kwargs": {"x": 21}}
    assert task["result"] == 42
    assert task["waiting_for"] is None
    assert [(line["level"], line["message"], line["attempt"]) for line in task["logs"]] == [
        ("warning", "x is 21", 1)
    ]
    for name in ("created_at", "start_time", "end_time"):
        assert ISO.fullmatch(task[name])
    seconds = (
        datetime.fromisoformat(task["end_time"]) - datetime.fromisoformat(task["start_time"])
    ).total_seconds()
    assert task["duration"] == pytest.approx(seconds, abs=2e-6)
    assert [(run["number"], run["outcome"]) for run in task["history"]] == [(1, "success")]


async def test_the_history_has_one_entry_for_each_execution(site: Site) -> None:
    task_id = await site.add(site.flaky)

    task = await site.until(task_id, "failed")

    assert (task["attempts"], task["max_attempts"]) == (2, 2)
    assert task["error"] == "ConnectionError: nobody answers"
    assert [(run["number"], run["outcome"], run["error"]) for run in task["history"]] == [
        (1, "failed", "ConnectionError: nobody answers"),
        (2, "failed", "ConnectionError: nobody answers"),
    ]
    assert all("raise ConnectionError" in run["stacktrace"] for run in task["history"])
    assert [line["attempt"] for line in task["logs"]] == [1, 2]


async def test_a_running_task_has_a_duration_that_grows(site: Site) -> None:
    task_id = await site.add(site.held)
    earlier = await site.until(task_id, "running")

    later = await site.get(f"/tasks/{task_id}")

    assert 0 <= earlier["duration"] < later["duration"]
    assert later["end_time"] is None
    assert later["history"][0]["outcome"] == "running"


async def test_paging_shows_every_task_once_while_new_ones_come(site: Site) -> None:
    known = [await site.add(site.quick) for _ in range(7)]
    seen = []

    path = "/tasks?limit=3"
    while True:
        page = await site.get(path)
        seen += [task["task_id"] for task in page["items"]]
        if page["next_cursor"] is None:
            break
        await site.add(site.quick)
        path = f"/tasks?limit=3&cursor={page['next_cursor']}"

    assert seen == known[::-1]


async def test_filters_take_a_part_of_the_name_a_status_or_an_id(site: Site) -> None:
    quick, flaky = await site.add(site.quick), await site.add(site.flaky)
    await site.until(flaky, "failed")
    await site.until(quick, "success")

    async def ids(query: str) -> list[str]:
        return [task["task_id"] for task in (await site.get(f"/tasks?{query}"))["items"]]

    assert await ids("q=flak") == [flaky]
    assert await ids("status=success") == [quick]
    assert await ids(f"q={quick}") == [quick]
    assert await ids("q=flak&status=success") == []
    assert await ids("q=%25") == []
    assert await ids("q=&status=&limit=&cursor=") == [flaky, quick]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=1e9",
        "status=zzz",
        "cursor=forged",
        "cursor=%00",
        f"cursor={'9' * 501}",
        f"q={'x' * 201}",
    ],
)
def test_a_query_out_of_range_is_refused_with_a_reason(refusing: TestClient, query: str) -> None:
    answer = refusing.get(f"/tasks?{query}")

    assert answer.status_code == 422
    assert query.partition("=")[0] in str(answer.json()["detail"])


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/tasks/nope"), ("POST", "/tasks/nope/retry"), ("POST", "/tasks/nope/cancel")],
)
def test_an_unknown_task_is_404_and_the_answer_names_it(
    refusing: TestClient, method: str, path: str
) -> None:
    answer = refusing.request(method, path)

    assert answer.status_code == 404
    assert "'nope'" in answer.json()["detail"]


async def test_a_result_that_json_does_not_know_is_spelled_out(site: Site) -> None:
    async def odd() -> list[float]:
        return [float("nan"), float("-inf"), 1.5]

    task_id = await site.add(odd)

    assert (await site.until(task_id, "success"))["result"] == ["NaN", "-Infinity", 1.5]


async def test_long_arguments_are_cut_and_say_so(site: Site) -> None:
    async def swallow(text: str, numbers: list[int]) -> None: ...

    task_id = await site.add(swallow, text="x" * 9000, numbers=list(range(1000)))

    kwargs = (await site.get(f"/tasks/{task_id}"))["arguments"]["kwargs"]
    assert len(kwargs["text"]) < 2100
    assert kwargs["text"].endswith("(9,000 characters)")
    assert kwargs["numbers"][-1] == "… 900 more"


# -- why it waits --------------------------------------------------------------------------------


async def test_a_waiting_task_says_what_for_and_until_when(site: Site) -> None:
    scheduled = await site.add(site.quick, run_in=3600)
    retrying = await site.add(site.patient)
    await site.until(retrying, "retrying")
    running = [await site.add(site.held) for _ in range(2)]
    for task_id in running:
        await site.until(task_id, "running")
    queued = await site.add(site.quick)

    told = {
        task_id: await site.get(f"/tasks/{task_id}") for task_id in (scheduled, retrying, queued)
    }

    for task_id, reason in ((scheduled, "scheduled"), (retrying, "retry")):
        waiting_for = told[task_id]["waiting_for"]
        assert waiting_for["reason"] == reason
        assert waiting_for["until"] == told[task_id]["run_at"]
        assert waiting_for["until"][:10] in waiting_for["text"]
    assert "attempt 2 of 4" in told[retrying]["waiting_for"]["text"]
    assert told[queued]["waiting_for"]["reason"] == "lane"
    assert told[queued]["waiting_for"]["until"] is None
    assert "2 of 2 run" in told[queued]["waiting_for"]["text"]


async def test_a_task_of_a_function_that_is_gone_says_so_and_can_be_cancelled(
    db_path: Path,
) -> None:
    before = TaskManager(db_path)
    handle_id = ""

    @before.task(name="shop:renamed")
    async def renamed() -> None: ...

    async with before:
        handle_id = (await before.enqueue(before.options(renamed, run_in=0.3))).task_id
    after = Site(db_path)

    async with after.serve():
        task = await after.until(handle_id, "pending")
        assert task["waiting_for"]["reason"] == "unknown function"
        assert "'shop:renamed'" in task["waiting_for"]["text"]
        early = await after.http.post(f"/tasks/{handle_id}/retry")
        cancelled = await after.http.post(f"/tasks/{handle_id}/cancel")
        again = await after.http.post(f"/tasks/{handle_id}/retry")

    assert (early.status_code, "pending" in early.json()["detail"]) == (409, True)
    assert cancelled.json()["status"] == "cancelled"
    assert again.status_code == 409
    assert "'shop:renamed'" in again.json()["detail"]


# -- acting --------------------------------------------------------------------------------------


async def test_a_task_that_waits_or_runs_is_cancelled_and_the_answer_is_the_task(
    site: Site,
) -> None:
    scheduled = await site.add(site.quick, run_in=3600)
    retrying = await site.add(site.patient)
    await site.until(retrying, "retrying")
    running = [await site.add(site.held) for _ in range(2)]
    await site.until(running[1], "running")
    queued = await site.add(site.quick)

    for task_id in (scheduled, retrying, queued, *running):
        answer = await site.http.post(f"/tasks/{task_id}/cancel")

        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert answer.json()["task_id"] == task_id
    assert (await site.get(f"/tasks/{queued}"))["history"] == []


async def test_a_final_task_cannot_be_cancelled(site: Site) -> None:
    task_id = await site.add(site.quick)
    await site.until(task_id, "success")

    answer = await site.http.post(f"/tasks/{task_id}/cancel")

    assert answer.status_code == 409
    assert "success already" in answer.json()["detail"]


async def test_a_task_is_cancelled_only_once(site: Site) -> None:
    task_id = await site.add(site.quick, run_in=3600)

    answers = [await site.http.post(f"/tasks/{task_id}/cancel") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 409]


async def test_a_task_that_runs_in_another_instance_is_cancelled_there(db_path: Path) -> None:
    here, there = Site(db_path), Site(db_path)

    async with here.serve(), there.serve():
        running = [await there.add(there.held) for _ in range(2)]
        await there.until(running[1], "running")
        waiting = await there.add(there.held)
        answers = [
            await here.http.post(f"/tasks/{task_id}/cancel") for task_id in (waiting, *running)
        ]
        ended = [await there.get(f"/tasks/{task_id}") for task_id in (waiting, *running)]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.json()["status"] for answer in answers] == ["cancelled"] * 3
    assert [task["status"] for task in ended] == ["cancelled"] * 3
    assert [len(task["history"]) for task in ended] == [0, 1, 1]


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_cancel_that_takes_its_time_is_accepted_and_then_comes_true(
    db_path: Path, monkeypatch: pytest.MonkeyPatch, *, elsewhere: bool
) -> None:
    monkeypatch.setattr(actions, "PATIENCE", 0.05)
    here, there = Site(db_path), Site(db_path)
    deaf = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await deaf.wait()
            raise

    async with here.serve(), there.serve():
        site = there if elsewhere else here
        task_id = await site.add(slow_to_end)
        await site.until(task_id, "running")

        answer = await here.http.post(f"/tasks/{task_id}/cancel")
        deaf.set()
        task = await here.until(task_id, *FINAL)

    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert task["status"] == "cancelled"


async def test_a_failed_task_runs_again_with_a_fresh_budget(site: Site) -> None:
    task_id = await site.add(site.flaky)
    await site.until(task_id, "failed")
    site.failing = False

    answer = await site.http.post(f"/tasks/{task_id}/retry")
    task = await site.until(task_id, *FINAL)

    assert (answer.status_code, answer.json()["task_id"]) == (200, task_id)
    assert (task["status"], task["result"], task["error"]) == ("success", "at last", None)


async def test_a_task_that_is_not_final_cannot_be_retried(site: Site) -> None:
    task_id = await site.add(site.held)
    await site.until(task_id, "running")

    answer = await site.http.post(f"/tasks/{task_id}/retry")

    assert answer.status_code == 409
    assert "running" in answer.json()["detail"]


# -- figures -------------------------------------------------------------------------------------


async def test_metrics_count_every_status_and_measure_what_ended(site: Site) -> None:
    good = [await site.add(site.quick) for _ in range(3)]
    bad = await site.add(site.flaky)
    await site.add(site.quick, run_in=3600)
    for task_id in (*good, bad):
        await site.until(task_id, *FINAL)

    metrics = await site.get("/tasks/metrics")

    assert metrics["counts"] == {
        **dict.fromkeys(("pending", "running", "retrying", "cancelled", "interrupted"), 0),
        "scheduled": 1,
        "success": 3,
        "failed": 1,
    }
    assert metrics["total"] == 5
    assert metrics["success_rate"] == 0.75
    assert metrics["throughput_per_minute"] == 0.8
    assert 0 <= metrics["run"]["p50"] <= metrics["run"]["p95"] <= metrics["run"]["p99"]
    assert metrics["wait"]["p50"] is not None
    assert metrics["superseded"] == 0
    assert metrics["store"]["ok"] is True
    assert metrics["store"]["url"].startswith("sqlite:")


async def test_metrics_of_an_empty_store_are_null_where_nothing_is_known(site: Site) -> None:
    metrics = await site.get("/tasks/metrics")

    assert metrics["total"] == 0
    assert metrics["success_rate"] is None
    assert metrics["run"] == {"p50": None, "p95": None, "p99": None}


async def test_metrics_say_at_once_when_the_store_takes_no_writes(site: Site) -> None:
    assert (await site.get("/tasks/metrics"))["store"]["ok"] is True
    site.manager.engine.outbox.trouble = StoreUnavailableError("the disk is full")

    store = (await site.get("/tasks/metrics"))["store"]

    assert (store["ok"], store["trouble"]) == (False, "the disk is full")


# -- the app around it ---------------------------------------------------------------------------


async def test_the_schema_has_one_tag_stable_ids_and_typed_answers(site: Site) -> None:
    paths = (await site.get("/openapi.json"))["paths"]
    operations = [operation for path in paths.values() for operation in path.values()]

    assert {operation["operationId"] for operation in operations} == {
        *("tasks_list", "tasks_metrics", "tasks_lanes"),
        *("tasks_queues", "tasks_change_lane", "tasks_change_queue"),
        *("tasks_get", "tasks_retry", "tasks_cancel"),
        *("tasks_schedules", "tasks_add_schedule", "tasks_preview_schedule"),
        *("tasks_get_schedule", "tasks_change_schedule", "tasks_remove_schedule"),
        *("tasks_health", "tasks_metrics_text"),
        *("tasks_run_schedule", "tasks_pause_schedule", "tasks_resume_schedule"),
        *("tasks_plans", "tasks_cancel_plan"),
        *("tasks_counts", "tasks_names", "tasks_errors", "tasks_export", "tasks_discard"),
        *("tasks_bulk", "tasks_preview_bulk"),
        *("tasks_events", "tasks_me", "tasks_audit", "tasks_history", "tasks_system"),
    }
    for operation in operations:
        assert operation["tags"] == ["tasks"]
        done = min(operation["responses"])
        other = {"tasks_metrics_text", "tasks_export", "tasks_events"}
        if done == "204" or operation["operationId"] in other:
            continue  # nothing, the text of Prometheus, a download, or a stream
        content = operation["responses"][done]["content"]["application/json"]
        assert content["schema"]["$ref"].startswith("#/components/schemas/")


async def test_routes_of_the_app_beside_the_admin_are_not_shadowed(db_path: Path) -> None:
    site = Site(db_path)

    @site.app.get("/taskscape")
    def taskscape() -> str:
        return "mine"

    @site.app.get("/{anything}")
    def anything(anything: str) -> str:
        return anything

    async with site.serve():
        assert await site.get("/taskscape") == "mine"
        assert await site.get("/other") == "other"
        assert "items" in await site.get("/tasks")


@pytest.mark.parametrize("root_path", ["", "/behind/a/proxy"])
async def test_the_page_finds_its_assets_and_the_api_wherever_the_app_is(
    db_path: Path, root_path: str
) -> None:
    site = Site(db_path)
    outer = FastAPI()
    outer.mount("/inner", site.app)

    async with site.serve():
        transport = httpx.ASGITransport(outer, client=("127.0.0.1", 1), root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            slash = await http.get(f"{root_path}/inner/tasks/dashboard/")
            page = await http.get(f"{root_path}/inner/tasks/dashboard")
            links = re.findall(r'(?:href|src)="([^"?]+)"', page.text)
            found = [await http.get(str(page.url.join(link))) for link in (*links, "metrics", ".")]
            landed = await http.get(str(slash.url.join(slash.headers["location"])))

    assert len(links) > 3
    assert {answer.status_code for answer in found} == {200}
    assert landed.text == page.text


async def test_the_title_is_text_on_the_page(db_path: Path) -> None:
    app = FastAPI()
    manager = TaskManager(db_path)
    TaskAdmin(app, manager, title="<script>alert(1)</script> & co")

    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            page = await http.get("/tasks/dashboard")

    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page.text


async def test_two_admins_with_their_own_paths_live_in_one_app(tmp_path: Path) -> None:
    app = FastAPI()
    first, second = TaskManager(tmp_path / "1.db"), TaskManager(tmp_path / "2.db")
    TaskAdmin(app, first, "/mail/tasks")
    TaskAdmin(app, second, "/jobs/")

    async with app.router.lifespan_context(app):
        await second.enqueue(asyncio.sleep, 0)
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            assert (await http.get("/mail/tasks")).json()["items"] == []
            assert len((await http.get("/jobs")).json()["items"]) == 1
            assert "jobs_list" in (await http.get("/openapi.json")).text


@pytest.mark.parametrize("path", ["tasks", "", "/", "//", "/a b", "/{x}", "/a//b", "https://x/y"])
def test_a_path_that_cannot_work_is_refused(db_path: Path, path: str) -> None:
    with pytest.raises(SettingsError, match="path="):
        TaskAdmin(FastAPI(), TaskManager(db_path), path)


def test_a_second_admin_under_one_path_is_refused(db_path: Path) -> None:
    app = FastAPI()
    TaskAdmin(app, TaskManager(db_path), "/tasks")

    with pytest.raises(SettingsError, match="this app has a TaskAdmin there"):
        TaskAdmin(app, TaskManager(db_path), "/tasks/")


async def test_an_app_that_has_served_requests_is_refused_and_left_as_it_was(
    db_path: Path,
) -> None:
    app = FastAPI()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        await http.get("/")
        routes = len(app.routes)

        with pytest.raises(TaskflowError, match="where the app is created"):
            TaskAdmin(app, TaskManager(db_path))

        assert len(app.routes) == routes
        assert (await http.get("/tasks")).status_code == 404


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (QueueFullError("the io lane is full", retry_after=2.4), 429, "3"),
        (StoreUnavailableError("sqlite:///secret/path is locked"), 503, "1"),
    ],
)
async def test_a_route_that_cannot_add_a_task_answers_when_to_come_back(
    db_path: Path, error: TaskflowError, status: int, after: str
) -> None:
    site = Site(db_path)

    @site.app.get("/raise")
    async def fail() -> None:
        raise error

    async with site.serve() as http:
        answer = await http.get("/raise")

    assert (answer.status_code, answer.headers["retry-after"]) == (status, after)
    assert "secret" not in answer.text


async def test_the_apps_own_answer_to_a_full_queue_stands(db_path: Path) -> None:
    app = FastAPI()

    @app.exception_handler(TaskflowError)
    async def busy(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({"mine": True}, 418)

    @app.get("/raise")
    async def fail() -> None:
        raise QueueFullError("full")

    TaskAdmin(app, TaskManager(db_path))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answer = await http.get("/raise")

    assert (answer.status_code, answer.json()) == (418, {"mine": True})
