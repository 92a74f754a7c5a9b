"""Who did what over the API is written down, and read back; nothing secret is in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from taskflow import TaskAdmin, TaskManager
from taskflow.admin.audit import Audit
from tests.apps.locks import locked

ADA, BOB = httpx.BasicAuth("ada", "pw"), httpx.BasicAuth("bob", "pw")
AUTH: Any = [("ada", "pw"), ("bob", "pw", "view")]


@asynccontextmanager
async def served(
    path: Path, auth: Any = AUTH, **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, TaskManager]]:
    manager = TaskManager(path, io_workers=1, cpu_workers=1, **settings)
    app = FastAPI()
    TaskAdmin(app, manager, auth=auth)

    @manager.task(name="shop:send")
    async def send(to: str, pin: SecretStr, note: str = "") -> None:
        return

    @manager.task(name="shop:quick")
    async def quick() -> None:
        return

    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", auth=ADA if auth else None
        ) as http:
            yield http, manager


async def log_of(http: httpx.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await http.get(f"/tasks/audit{query}")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def put(http: httpx.AsyncClient, number: int) -> None:
    """A deed whose target is ``number``."""
    answer = await http.patch(f"/tasks/queues/{number}", json={"concurrency": 2})
    assert answer.status_code == 200, answer.text


def short(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in ("user", "action", "target", "ok", "status"))


async def test_every_wish_is_a_row_obeyed_or_not(db_path: Path) -> None:
    async with served(db_path) as (http, manager):
        task = manager.registry.find("", "shop:quick")
        assert task is not None
        handle = await manager.enqueue(task.function)
        await manager.join()
        await http.post(f"/tasks/{handle.task_id}/retry")
        await http.patch("/tasks/lanes/io", json={"limit": 1})
        await http.patch("/tasks/queues/mail/out", json={"concurrency": 2})
        new = {"name": "a/b", "task": "shop:quick", "every": 60}
        await http.post("/tasks/schedules", json=new)
        await http.post("/tasks/schedules/a%2Fb/pause")
        await http.delete("/tasks/schedules/a%2Fb")
        await http.post("/tasks/schedules", json={**new, "name": "c"})
        await http.post("/tasks/schedules", json={**new, "name": "c"})

        found = await log_of(http)

    assert [short(entry) for entry in reversed(found)] == [
        ("ada", "retry", handle.task_id, True, 200),
        ("ada", "lane.patch", "io", True, 200),
        ("ada", "queue.patch", "mail/out", True, 200),
        ("ada", "schedule.add", "", True, 201),
        ("ada", "schedule.pause", "a/b", True, 200),
        ("ada", "schedule.delete", "a/b", True, 204),
        ("ada", "schedule.add", "", True, 201),
        ("ada", "schedule.add", "", False, 409),
    ]
    assert found[-2]["detail"] == '{"limit":1}'
    assert found[-1]["detail"] is None


async def test_what_there_was_nothing_to_do_for_leaves_no_row(db_path: Path) -> None:
    """Or whoever knocks at names that there are not drives out what was done."""
    async with served(db_path, audit_rows=2) as (http, _):
        await http.patch("/tasks/lanes/io", json={"limit": 1})
        answers = [
            await http.post("/tasks/none/cancel"),
            await http.post("/tasks/none/retry"),
            await http.delete("/tasks/schedules/none"),
            await http.patch("/tasks/lanes/io", json={"limit": 0}),
        ]

        assert [answer.status_code for answer in answers] == [404, 404, 404, 422]
        assert [entry["action"] for entry in await log_of(http)] == ["lane.patch"]


async def test_looking_previews_and_whoever_is_kept_out_leave_no_row(db_path: Path) -> None:
    async with served(db_path) as (http, _):
        await http.get("/tasks")
        await http.post("/tasks/schedules/preview", json={"every": 60})
        await http.post("/tasks/bulk/preview", json={"action": "retry", "query": "status:failed"})
        await http.post("/tasks/x/retry", auth=httpx.BasicAuth("ada", "wrong"))
        await http.post("/tasks/x/retry", headers={"Origin": "https://evil.example"})
        await http.post("/tasks/x/retry", auth=BOB)
        await http.post("/tasks/x/retry", content="x", headers={"Content-Type": "text/plain"})
        await http.request("PURGE", "/tasks/metrics")

        assert await log_of(http) == []
        assert (await http.get("/tasks/audit", auth=BOB)).status_code == 200


async def test_without_auth_a_row_has_no_name(db_path: Path) -> None:
    async with served(db_path, auth=None) as (http, _):
        await http.patch("/tasks/lanes/io", json={"limit": 1})

        assert [short(it) for it in await log_of(http)] == [(None, "lane.patch", "io", True, 200)]


async def test_what_is_secret_is_neither_kept_nor_shown(db_path: Path) -> None:
    secrets = ("hunter22", "s3cretpin", "Bearer abcdef0123456789")
    async with served(db_path) as (http, manager):
        new = {"name": "daily", "task": "shop:send", "every": 60}
        args = {"args": ["ada@x.org", "s3cretpin"], "kwargs": {"note": "see password=hunter22"}}
        added = await http.post("/tasks/schedules", json={**new, **args})
        assert added.status_code == 201, added.text
        change = {"kwargs": {"to": "a", "pin": "s3cretpin"}, "args": []}
        await http.patch("/tasks/schedules/daily", json=change)
        task = manager.registry.find("", "shop:send")
        assert task is not None
        handle = await manager.enqueue(task.function, "ada@x.org", SecretStr("s3cretpin"))
        await manager.join()
        edited = {"args": ["a", "s3cretpin"], "kwargs": {}}
        again = await http.post(f"/tasks/{handle.task_id}/retry", json=edited)
        assert again.status_code == 201, again.text
        await http.patch("/tasks/lanes/io", json={"password": "hunter22", "x": secrets[2]})
        kept = (await manager.engine.store.annals.deeds(50, None)).items
        shown = await log_of(http)

    text = repr(kept) + repr(shown)
    assert not [secret for secret in secrets if secret in text]
    assert '"to"' in text
    assert "shop:send" in text


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b"[]", b"null", b'"x"', b"1e999", b"[" * 5000,
     b'{"a":"' + b"x" * 5000 + b'"}', b"{" + b'"a":{' * 3000, b"x" * 100_000,
     b'{"args":7,"kwargs":[],"task":[]}', b'{"":""}',
     b'{"a":"\\ud800"}', b'{"limit":1e400}'],
)  # fmt: skip
async def test_odd_bodies_are_answered_and_can_be_written_down(
    db_path: Path, content: bytes
) -> None:
    async with served(db_path) as (http, manager):
        answer = await http.patch(
            "/tasks/lanes/io", content=content, headers={"Content-Type": "application/json"}
        )
        detail = Audit(manager, "/tasks")._show(content)

    assert 400 <= answer.status_code < 500
    assert detail is not None
    assert len(detail) <= 2000


async def test_the_log_comes_in_pages_and_odd_cursors_are_refused(db_path: Path) -> None:
    async with served(db_path) as (http, _):
        for number in range(5):
            await put(http, number)
        first = (await http.get("/tasks/audit?limit=3")).json()
        rest = (await http.get(f"/tasks/audit?limit=3&cursor={first['next_cursor']}")).json()
        odd = [
            (await http.get(f"/tasks/audit?{query}")).status_code
            for query in ("cursor=x", "cursor=-1", "cursor=" + "9" * 30, "limit=0", "limit=x")
        ]

    assert [entry["target"] for entry in first["items"] + rest["items"]] == list("43210")
    assert rest["next_cursor"] is None
    assert odd == [422] * 5


async def test_only_as_many_rows_are_kept_as_the_settings_say(db_path: Path) -> None:
    async with served(db_path, audit_rows=2) as (http, _):
        for number in range(4):
            await put(http, number)

        assert [entry["target"] for entry in await log_of(http)] == ["3", "2"]


async def test_a_row_that_cannot_be_written_changes_no_answer(
    db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(db_path, enqueue_timeout=0.3, history=False) as (http, _):
        with locked(db_path):
            answer = await http.patch("/tasks/lanes/io", json={"limit": 1})
        assert answer.status_code == 503

    assert "lane.patch of io by ada, answered 503, is not in the audit log" in caplog.text


async def test_a_name_a_dependency_gives_stands_in_the_log(db_path: Path) -> None:
    async def staff(role: Annotated[str, "of a cookie"] = "operate") -> dict[str, str]:
        return {"role": role, "user": "grace"}

    async with served(db_path, auth=staff) as (http, _):
        await http.patch("/tasks/lanes/io", json={"limit": 1})

        assert [entry["user"] for entry in await log_of(http)] == ["grace"]
