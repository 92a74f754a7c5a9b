"""Every way in which a FastAPI app can meet its background tasks."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient
from starlette.background import BackgroundTask
from starlette.types import Message, Receive, Scope, Send

import fastapi_taskflow
from taskflow import (
    ManagedBackgroundTasks,
    TaskAdmin,
    TaskManager,
    TaskStatus,
    get_task_context,
)
from taskflow.record import TaskFilter, TaskRecord


class Site:
    """An app with a manager, and a memory of what its tasks did."""

    def __init__(
        self, path: Path, app: FastAPI | None = None, *, auto_install: bool = True
    ) -> None:
        self.manager = TaskManager(path, io_workers=2, cpu_workers=1, shutdown_grace=5)
        self.app = app or FastAPI()
        TaskAdmin(self.app, self.manager, auto_install=auto_install, auth=("user", "password"))
        self.done: list[object] = []

    def note(self, what: str) -> None:
        self.done.append(what)

    async def note_async(self, what: str) -> None:
        self.done.append(what)

    def rows(self, client: TestClient) -> list[TaskRecord]:
        """What is stored when everything is over, oldest first."""
        assert client.portal is not None
        client.portal.call(self.manager.join)
        page = client.portal.call(self.manager.engine.store.list, TaskFilter(limit=200))
        return list(reversed(page.items))


def adding(site: Site, what: str = "x") -> Callable[[BackgroundTasks], str]:
    """A route that adds one task and returns its id."""

    def add(background_tasks: BackgroundTasks) -> str:
        return str(background_tasks.add_task(site.note, what))  # type: ignore[func-returns-value]

    return add


@pytest.fixture
def site(db_path: Path) -> Site:
    return Site(db_path)


def test_the_plain_annotation_gives_an_id_and_a_durable_task(site: Site) -> None:
    site.app.post("/signup")(adding(site, "ada"))

    with TestClient(site.app) as client:
        response = client.post("/signup")
        rows = site.rows(client)

    assert response.status_code == 200
    assert [(row.task_id, row.status) for row in rows] == [(response.json(), TaskStatus.SUCCESS)]
    assert site.done == ["ada"]


def test_without_auto_install_the_plain_annotation_stays_fastapis_own(db_path: Path) -> None:
    site = Site(db_path, auto_install=False)

    @site.app.post("/")
    def add(background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(site.note, "plain")
        return type(background_tasks).__name__

    with TestClient(site.app) as client:
        assert client.post("/").json() == "BackgroundTasks"
        assert site.rows(client) == []
    assert site.done == ["plain"]


@pytest.mark.parametrize("auto_install", [True, False])
def test_the_managed_annotation_works_with_and_without_auto_install(
    db_path: Path, auto_install: bool
) -> None:
    site = Site(db_path, auto_install=auto_install)

    @site.app.post("/")
    async def add(tasks: ManagedBackgroundTasks) -> str:
        return tasks.add_task(site.note_async, "managed")

    with TestClient(site.app) as client:
        task_id = client.post("/").json()
        assert [row.task_id for row in site.rows(client)] == [task_id]


def test_the_dependency_works_without_auto_install(db_path: Path) -> None:
    site = Site(db_path, auto_install=False)

    @site.app.post("/")
    def add(tasks: ManagedBackgroundTasks = Depends(site.manager.get_tasks)) -> str:
        return tasks.add_task(site.note, "by dependency")

    with TestClient(site.app) as client:
        task_id = client.post("/").json()
        assert [row.task_id for row in site.rows(client)] == [task_id]


def test_a_route_that_raises_runs_nothing_and_leaves_no_row(site: Site) -> None:
    @site.app.post("/")
    def add(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(site.note, "never")
        raise HTTPException(400)

    with TestClient(site.app) as client:
        assert client.post("/").status_code == 400
        assert site.rows(client) == []
    assert site.done == []


def test_a_response_that_does_not_validate_leaves_no_row(site: Site) -> None:
    @site.app.post("/")
    def add(background_tasks: BackgroundTasks) -> int:
        background_tasks.add_task(site.note, "never")
        return "not a number"  # type: ignore[return-value]

    with TestClient(site.app, raise_server_exceptions=False) as client:
        assert client.post("/").status_code == 500
        assert site.rows(client) == []


def test_an_error_response_that_is_returned_runs_its_tasks(site: Site) -> None:
    @site.app.post("/")
    def add(background_tasks: BackgroundTasks) -> JSONResponse:
        background_tasks.add_task(site.note, "told")
        return JSONResponse({}, 409)

    with TestClient(site.app) as client:
        assert client.post("/").status_code == 409
        assert len(site.rows(client)) == 1
    assert site.done == ["told"]


def test_a_response_with_a_background_of_its_own_loses_neither(site: Site) -> None:
    @site.app.post("/")
    def add(background_tasks: BackgroundTasks) -> JSONResponse:
        background_tasks.add_task(site.note, "managed")
        return JSONResponse({}, background=BackgroundTask(site.note, "own"))

    with TestClient(site.app) as client:
        client.post("/")
        site.rows(client)
    assert sorted(map(str, site.done)) == ["managed", "own"]


def test_routers_and_mounted_apps_share_the_manager_of_the_parent(site: Site) -> None:
    router = APIRouter(prefix="/router")
    mounted = FastAPI()
    router.post("/")(adding(site))
    mounted.post("/")(adding(site))
    site.app.include_router(router)
    site.app.mount("/mounted", mounted)

    with TestClient(site.app) as client:
        ids = [client.post(path).json() for path in ("/router/", "/mounted/")]
        assert [row.task_id for row in site.rows(client)] == ids


def test_a_mounted_app_can_have_a_manager_of_its_own(tmp_path: Path) -> None:
    outer, inner = Site(tmp_path / "outer.db"), Site(tmp_path / "inner.db")
    outer.app.post("/")(adding(outer))
    inner.app.post("/")(adding(inner))
    outer.app.mount("/inner", inner.app)

    with TestClient(outer.app) as client:
        outer_id, inner_id = client.post("/").json(), client.post("/inner/").json()
        assert [row.task_id for row in outer.rows(client)] == [outer_id]
        assert [row.task_id for row in inner.rows(client)] == [inner_id]
        assert client.portal is not None
        client.portal.call(inner.manager.shutdown)  # nobody runs the lifespan of a mounted app


def test_two_managers_in_one_process_keep_their_tasks_apart(tmp_path: Path) -> None:
    first, second = Site(tmp_path / "a.db"), Site(tmp_path / "b.db")
    first.app.post("/")(adding(first))
    second.app.post("/")(adding(second))

    with TestClient(first.app) as one, TestClient(second.app) as two:
        ids = one.post("/").json(), two.post("/").json()
        assert [row.task_id for row in first.rows(one)] == [ids[0]]
        assert [row.task_id for row in second.rows(two)] == [ids[1]]
    assert (first.done, second.done) == (["x"], ["x"])


def test_dependencies_with_yield_add_tasks_before_and_after(site: Site) -> None:
    def dependency(background_tasks: BackgroundTasks) -> Iterator[None]:
        background_tasks.add_task(site.note, "before")
        yield
        background_tasks.add_task(site.note, "after")

    @site.app.post("/")
    def add(background_tasks: BackgroundTasks, _: None = Depends(dependency)) -> None:
        background_tasks.add_task(site.note, "in the route")

    with TestClient(site.app) as client:
        client.post("/")
        assert len(site.rows(client)) == 3
    assert sorted(map(str, site.done)) == ["after", "before", "in the route"]


def test_a_dependency_that_fails_before_the_response_drops_the_tasks(site: Site) -> None:
    def transaction() -> Iterator[None]:
        yield
        raise HTTPException(500, "the commit of the app's own session failed")

    @site.app.post("/")
    def add(
        background_tasks: BackgroundTasks, _: None = Depends(transaction, scope="function")
    ) -> None:
        background_tasks.add_task(site.note, "never")

    with TestClient(site.app) as client:
        assert client.post("/").status_code == 500
        assert site.rows(client) == []
    assert site.done == []


async def test_a_manager_without_an_admin_commits_before_the_response_too(db_path: Path) -> None:
    manager = TaskManager(db_path)
    app = FastAPI()
    stored: list[object] = []

    @app.post("/")
    def add(tasks: ManagedBackgroundTasks = Depends(manager.get_tasks)) -> str:
        return tasks.add_task(print, "x")

    class Watch:
        """Looks into the store at the moment at which the response starts."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def look_and_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    stored.extend((await manager.engine.store.list(TaskFilter())).items)
                await send(message)

            await app(scope, receive, look_and_send)

    transport = httpx.ASGITransport(Watch())
    async with manager, httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        task_id = (await client.post("/")).json()

    assert [getattr(row, "task_id", None) for row in stored] == [task_id]


def test_a_streaming_response_may_add_tasks_while_it_streams(site: Site) -> None:
    @site.app.get("/")
    def stream(background_tasks: BackgroundTasks) -> StreamingResponse:
        def body() -> Iterator[str]:
            background_tasks.add_task(site.note, "late")
            yield "chunk"

        return StreamingResponse(body())

    with TestClient(site.app) as client:
        assert client.get("/").text == "chunk"
        assert len(site.rows(client)) == 1


def test_a_websocket_route_uses_enqueue_or_the_dependency(site: Site) -> None:
    @site.app.websocket("/ws")
    async def talk(
        socket: WebSocket, tasks: ManagedBackgroundTasks = Depends(site.manager.get_tasks)
    ) -> None:
        await socket.accept()
        tasks.add_task(site.note, "added")
        handle = await site.manager.enqueue(site.note_async, "enqueued")
        await handle.result(timeout=10)
        await socket.send_text(handle.task_id)
        await socket.close()

    with TestClient(site.app) as client:
        with client.websocket_connect("/ws") as socket:
            assert socket.receive_text()
        assert len(site.rows(client)) == 2
    assert sorted(map(str, site.done)) == ["added", "enqueued"]


def test_the_apps_own_lifespan_can_enqueue_at_both_ends(db_path: Path) -> None:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        handle = await site.manager.enqueue(note, "starting")
        await handle.result(timeout=10)
        yield
        await site.manager.enqueue(note, "stopping")

    app = FastAPI(lifespan=lifespan)
    site = Site(db_path, app)

    @site.manager.task
    async def note(what: str) -> None:
        site.done.append(what)

    with TestClient(app):
        assert site.done == ["starting"]
    assert site.done == ["starting"]

    # What was added while the app stopped waited on disk for the next start.
    with TestClient(app) as client:
        site.rows(client)
        assert sorted(map(str, site.done)) == ["starting", "starting", "stopping"]


def test_the_lifespan_state_of_the_app_is_kept(db_path: Path) -> None:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"greeting": "hello"}

    site = Site(db_path, FastAPI(lifespan=lifespan))

    with TestClient(site.app) as client:
        assert client.app_state["greeting"] == "hello"


def test_the_same_app_works_in_successive_test_clients(site: Site) -> None:
    site.app.post("/")(adding(site))

    for count in (1, 2, 3):
        with TestClient(site.app) as client:
            client.post("/")
            assert len(site.rows(client)) == count
    assert site.done == ["x", "x", "x"]


async def test_a_client_without_lifespan_starts_the_manager_at_the_first_request(
    site: Site,
) -> None:
    site.app.post("/")(adding(site))
    transport = httpx.ASGITransport(site.app)

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        task_id = (await client.post("/")).json()
        await site.manager.join()

    assert (await site.manager.engine.store.get(task_id)) is not None
    assert site.done == ["x"]
    await site.manager.shutdown()


# A read that was under way has nobody left to answer: the thread of aiosqlite says so, and ends.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_test_client_without_lifespan_leaves_no_threads_and_loses_nothing(site: Site) -> None:
    @site.manager.task
    def declared() -> None:
        site.done.append("ran")

    @site.app.post("/")
    def add(background_tasks: BackgroundTasks) -> str:
        return str(background_tasks.add_task(declared))  # type: ignore[func-returns-value]

    client = TestClient(site.app)  # each request gets an event loop of its own
    before = threading.active_count()
    ids = {client.post("/").json() for _ in range(3)}

    assert len(ids) == 3
    until = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() == before
    with TestClient(site.app) as client:
        rows = site.rows(client)
    assert {row.task_id for row in rows} == ids
    assert {row.status for row in rows} == {TaskStatus.SUCCESS}


def test_partials_bound_methods_and_undecorated_functions_are_tasks(site: Site) -> None:
    @site.app.post("/")
    def add(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(functools.partial(site.note, "partial"))
        background_tasks.add_task(functools.partial(site.note, what="keyword"))
        background_tasks.add_task(site.note, "bound")
        background_tasks.add_task(lambda: site.note("closure"))

    with TestClient(site.app) as client:
        client.post("/")
        assert {row.status for row in site.rows(client)} == {TaskStatus.SUCCESS}
    assert sorted(map(str, site.done)) == ["bound", "closure", "keyword", "partial"]


def test_a_parameter_of_the_function_wins_over_an_option_of_the_same_name(site: Site) -> None:
    def deploy(priority: str, tags: list[str]) -> None:
        site.done.append((priority, tags))

    @site.app.post("/")
    def add(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(deploy, priority="high", tags=["a"])
        background_tasks.add_task(
            site.manager.options(deploy, priority=7, tags={"k": "v"}), priority="low", tags=[]
        )

    with TestClient(site.app) as client:
        client.post("/")
        rows = site.rows(client)

    assert sorted(map(str, site.done)) == ["('high', ['a'])", "('low', [])"]
    assert [(row.priority, row.tags) for row in rows] == [(0, None), (7, '{"k": "v"}')]


def test_an_eager_task_starts_before_the_route_returns(site: Site) -> None:
    started: list[str] = []

    @site.manager.task(eager=True)
    async def ping() -> None:
        context = get_task_context()
        assert context is not None
        started.append(context.task_id)

    @site.app.post("/")
    async def add(background_tasks: BackgroundTasks) -> dict[str, object]:
        task_id = background_tasks.add_task(ping)  # type: ignore[func-returns-value]
        for _ in range(100):
            if started:
                break
            await asyncio.sleep(0)
        return {"task_id": task_id, "started": list(started)}

    with TestClient(site.app) as client:
        body = client.post("/").json()
        rows = site.rows(client)

    assert body["started"] == [body["task_id"]]
    assert [row.status for row in rows] == [TaskStatus.SUCCESS]


def test_an_eager_task_of_a_plain_route_starts_too(site: Site) -> None:
    @site.app.post("/")
    def add(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(site.note, "eager", eager=True)  # type: ignore[call-arg]

    with TestClient(site.app) as client:
        client.post("/")
        assert [row.status for row in site.rows(client)] == [TaskStatus.SUCCESS]
    assert site.done == ["eager"]


def test_the_peers_import_name_works() -> None:
    assert fastapi_taskflow.TaskManager is TaskManager
    assert fastapi_taskflow.TaskAdmin is TaskAdmin
