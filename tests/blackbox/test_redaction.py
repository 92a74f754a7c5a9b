"""Thirty secrets are planted wherever tasks leave traces, and none of them gets out."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel, SecretStr

from taskflow import TaskManager, get_task_context, task_log
from tests.apps.site import Site

MASK = "[redacted]"
#: Each can be told from every other, and from every text that is not a secret.
SECRETS = [f"zq{number:02d}hunter" for number in range(30)]
S = SECRETS
#: Places of one secret each, in what a task says, raises or returns.
RAISED = (
    f"login failed: password={S[0]!r} at postgres://app:{S[1]}@db/main "
    f"headers={{'authorization': 'Bearer {S[2]}', 'cookie': 'a={S[3]}'}}"
)
LOGGED = [
    f"token: {S[4]}",
    f"GET https://x.io/reset?token={S[5]}&user=ada",
    f'{{"api_key": "{S[6]}"}}',
    f"X-Api-Key: {S[7]}",
    f"Authorization: Basic {S[8]}",
    f"-----BEGIN PRIVATE KEY-----\n{S[9]}\n-----END PRIVATE KEY-----",
    f"sent Bearer {S[10]}",
    f"run --password {S[11]} -v",
]
RESULT = {"session": {"id": S[12]}, "url": f"redis://:{S[13]}@cache", "accessToken": S[14], "n": 42}


class Login(BaseModel):
    user: str
    word: SecretStr


def plant(site: Site) -> dict[str, Any]:
    """Task functions that let secrets slip; what they were given is noted."""
    given: dict[str, Any] = {}
    manager = site.manager

    @manager.task
    async def good(user: str, password: str, login: Login, **more: Any) -> object:
        given.update(user=user, password=password, login=login, more=more)
        for line in LOGGED:
            task_log(line)
        logging.getLogger("app").warning("connecting with secret=%s", S[15])
        context = get_task_context()
        assert context is not None
        context.progress(1, 2, f"using token={S[16]}")
        return RESULT

    @manager.task(retries=1)
    async def bad(pin: int, word: SecretStr) -> None:
        client_secret = S[17]
        raise ConnectionError(f"{RAISED} client_secret={client_secret}")

    @manager.schedule(every=3600, name="nightly", args=(S[18],), kwargs={"dsn": S[19]})
    async def regular(token: str, dsn: str) -> None: ...

    given["good"], given["bad"] = good, bad
    return given


@pytest.fixture
async def site(db_path: Path) -> Site:
    return Site(db_path, async_limit=4)


async def everything(site: Site, ids: list[str]) -> dict[str, str]:
    """What each GET route of the admin answers, for each of the tasks."""
    answers = {}
    routes = {route.path for route in site.admin.router.routes if isinstance(route, APIRoute)
              and "GET" in (route.methods or ())
              # It has no end, see `listen`.
              and not route.path.endswith("/events")}  # fmt: skip
    assert len(routes) >= 8
    for path in sorted(routes):
        for task_id in ids:
            url = path.replace("{task_id}", task_id).replace("{name:path}", "nightly")
            url = url.replace("{name}", "app.js")
            answer = await site.http.get(url)
            assert answer.status_code in {200, 308, 404, 503}, f"{url}: {answer.text}"
            answers[url] = answer.text
    return answers


async def listen(site: Site, heard: list[str]) -> None:
    """Read the event stream until the app stops."""

    async def receive() -> Any:
        await asyncio.Event().wait()  # the client stays

    async def send(message: Any) -> None:
        heard.append(message.get("body", b"").decode())

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": "/tasks/events", "raw_path": b"/tasks/events",
        "query_string": b"", "headers": [(b"host", b"localhost:8000")], "root_path": "",
        "client": ("127.0.0.1", 1), "server": ("localhost", 8000),
    }  # fmt: skip
    await site.app(scope, receive, send)


async def test_none_of_thirty_secrets_is_in_any_answer_event_or_line_of_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    given = plant(site)
    caplog.set_level(logging.DEBUG)
    # What the app and the client of this test write themselves is their own.
    caplog.handler.addFilter(lambda record: record.name not in {"app", "httpx"})

    stream: list[str] = []
    async with site.serve() as http:
        listening = asyncio.create_task(listen(site, stream))
        async with site.manager.subscribe() as events:
            login = Login(user="ada", word=SecretStr(S[20]))
            good = await site.manager.enqueue(
                given["good"], "ada", S[21], login, headers={"X-Auth-Token": S[22]},
                private_key=S[23], env=[{"name": "PGPASSWORD", "value": S[24]}],
                note=f"see https://me:{S[25]}@x.io", tags={"token": S[26]},
                idempotency_key=f"https://me:{S[27]}@x.io",
            )  # fmt: skip
            bad = await site.manager.enqueue(given["bad"], 9876, SecretStr(S[28]))
            done = await site.until(good.task_id, "success")
            failed = await site.until(bad.task_id, "failed")
            refused = await http.get(f"/tasks/no-such?q=1&token={S[29]}")
            mistaken = await http.get(f"/tasks?cursor=token={S[29]}")
            answers = await everything(site, [good.task_id, bad.task_id])
            while bad.task_id not in "".join(stream) or '"failed"' not in "".join(stream):
                await asyncio.sleep(0.01)
        heard = [str(event) async for event in events]
    await listening

    leaving = {**answers, "refused": refused.text, "mistaken": mistaken.text}
    leaving |= {"events": "\n".join(heard), "stream": "".join(stream), "log": caplog.text}
    found = {(where, it) for where, text in leaving.items() for it in SECRETS if it in text}
    assert not found
    assert "9876" not in answers[f"/tasks/{bad.task_id}"]
    assert done["arguments"]["args"] == ["ada", MASK, {"user": "ada", "word": MASK}]
    assert done["result"]["n"] == 42
    assert failed["history"][0]["error"].startswith("ConnectionError: login failed")
    assert "login failed: password=" in caplog.text

    # The task itself got everything as it was.
    assert given["password"] == S[21]
    assert given["login"].word.get_secret_value() == S[20]
    assert given["more"]["private_key"] == S[23]


async def test_subscribers_hear_no_secrets(site: Site) -> None:
    given = plant(site)

    async with site.serve(), site.manager.subscribe() as events:
        await site.manager.enqueue(given["bad"], 1, SecretStr("x"))
        heard = []
        async with asyncio.timeout(20):
            async for event in events:
                heard.append(event)
                if getattr(event, "status", "") == "failed":
                    break

    text = "\n".join(map(str, heard))
    assert MASK in text
    assert not [secret for secret in SECRETS if secret in text]


async def test_names_and_a_hook_of_the_app_count_as_well(db_path: Path) -> None:
    def hook(name: str, value: Any) -> Any:
        return "A." if value == "Ada" else value

    site = Site(db_path, redact=hook)
    named = TaskManager(db_path, redact="tax_id, iban")

    @site.manager.task
    async def note(patient: str) -> None: ...

    async with site.serve():
        task = await site.until((await site.manager.enqueue(note, "Ada")).task_id, "success")

    assert task["arguments"]["args"] == ["A."]
    assert task["task_id"]
    assert named.redactor.value({"taxId": "1", "IBAN": "2"}) == {"taxId": MASK, "IBAN": MASK}


async def test_what_is_stored_stays_as_it_is_so_that_a_task_can_run_again(site: Site) -> None:
    seen: list[str] = []

    @site.manager.task
    async def once_more(password: SecretStr) -> None:
        seen.append(password.get_secret_value())

    async with site.serve() as http:
        handle = await site.manager.enqueue(once_more, SecretStr("hunter2"))
        await site.until(handle.task_id, "success")
        again = await http.post(f"/tasks/{handle.task_id}/retry")
        await site.get_until(f"/tasks/{handle.task_id}", lambda _task: len(seen) == 2)

    assert again.status_code == 200
    assert seen == ["hunter2", "hunter2"]
