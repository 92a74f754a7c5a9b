"""Every route of the admin is closed to everybody but those it was opened for."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from taskflow import TaskAdmin, TaskManager

PAIR = ("ada", "pässword:with colon")
LOOPBACK = ("127.0.0.1", 50000)
SAFE = {"GET", "HEAD", "OPTIONS"}


def make(path: Path, *, env: str = "development", **options: Any) -> TaskAdmin:
    manager = TaskManager(path, env=env, io_workers=1, cpu_workers=1)
    return TaskAdmin(FastAPI(), manager, **options)


@asynccontextmanager
async def served(
    admin: TaskAdmin,
    *,
    client: tuple[str, int] = LOOPBACK,
    host: str = "localhost:8000",
    root_path: str = "",
) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = admin.app
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=client, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
            yield http


#: What stands in a path for a parameter, by what comes before it; "some thing" for any other.
PARAMETERS = {
    "lanes/{name}": "lanes/cpu",
    "assets/{version}/{name:path}": "assets/1/icon.svg",
    "schedules/{name:path}": "schedules/some/schedule",
    "queues/{name:path}": "queues/some/queue",
    "{run_key:path}": "some/key",
}


def every_route(admin: TaskAdmin) -> Iterator[tuple[str, str]]:
    """Method and path of each route, with something in place of the parameters."""
    for route in admin.router.routes:
        assert isinstance(route, APIRoute), "only these take the dependencies of the router"
        path = route.path
        for pattern, stand_in in PARAMETERS.items():
            path = path.replace(pattern, stand_in)
        path = re.sub(r"\{[^}]+\}", "some-id", path)
        if path.endswith("/events"):
            path += f"?last_event_id={'x' * 201}"  # refused once let in: a stream has no end
        for method in sorted(route.methods or ()):
            yield method, path


def takes_body(method: str, path: str) -> bool:
    """Whether a request without one is no wish at all."""
    return method == "PATCH" or (
        method == "POST" and path.endswith(("/schedules", "/preview", "/bulk"))
    )


def test_the_walk_over_the_routes_finds_the_page_its_assets_and_the_api(db_path: Path) -> None:
    found = set(every_route(make(db_path)))

    assert {
        ("GET", "/tasks"),
        ("GET", "/tasks/"),
        ("GET", "/tasks/metrics"),
        ("GET", "/tasks/lanes"),
        ("PATCH", "/tasks/lanes/cpu"),
        ("GET", "/tasks/queues"),
        ("PATCH", "/tasks/queues/some/queue"),
        ("GET", "/tasks/schedules"),
        ("POST", "/tasks/schedules"),
        ("POST", "/tasks/schedules/preview"),
        ("GET", "/tasks/schedules/some/schedule"),
        ("PATCH", "/tasks/schedules/some/schedule"),
        ("DELETE", "/tasks/schedules/some/schedule"),
        ("POST", "/tasks/schedules/some/schedule/run"),
        ("POST", "/tasks/schedules/some/schedule/pause"),
        ("POST", "/tasks/schedules/some/schedule/resume"),
        ("GET", "/tasks/scheduled"),
        ("DELETE", "/tasks/scheduled/some/key"),
        ("GET", "/tasks/some-id"),
        ("POST", "/tasks/some-id/retry"),
        ("POST", "/tasks/some-id/cancel"),
        ("GET", "/tasks/dashboard"),
        ("GET", "/tasks/dashboard/"),
        ("GET", "/tasks/dashboard/assets/1/icon.svg"),
        ("GET", "/tasks/me"),
        ("GET", "/tasks/audit"),
        ("GET", "/tasks/history"),
        ("GET", "/tasks/system"),
    } <= found


async def test_without_auth_every_route_is_open_on_this_machine(db_path: Path) -> None:
    admin = make(db_path)

    async with served(admin) as http:
        answers = {
            (method, path): await http.request(method, path) for method, path in every_route(admin)
        }

    for (method, path), answer in answers.items():
        if "/dashboard" in path:
            assert answer.status_code in {200, 308}, (method, path)
        elif "last_event_id" in path:
            assert answer.json()["detail"][0]["loc"][-1] in {"last-event-id", "last_event_id"}
        elif "some-id" in path:
            assert answer.json()["detail"].startswith("there is no task"), (method, path)
        elif takes_body(method, path):
            assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body"])
        elif "some/schedule" in path:
            assert answer.json()["detail"].startswith("there is no schedule"), (method, path)
        elif "some/key" in path:
            assert answer.json()["detail"].startswith("no plan waits"), (method, path)
        else:
            assert answer.status_code in {200, 308}, (method, path)


STRANGERS: dict[str, dict[str, Any]] = {
    "a peer elsewhere": {"client": ("10.1.2.3", 1)},
    "a peer elsewhere that says it is here": {
        "client": ("10.1.2.3", 1),
        "headers": {"X-Forwarded-For": "127.0.0.1"},
    },
    "a proxy on this machine": {"headers": {"X-Forwarded-For": "127.0.0.1"}},
    "a proxy that says so in another way": {"headers": {"Via": "1.1 cache"}},
    "a foreign host, as after DNS rebinding": {"host": "evil.example:8000"},
    "a script of another site": {
        "headers": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    },
    "the test client of Starlette": {"client": ("testclient", 50000), "host": "testserver"},
}


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_without_auth_every_route_is_missing_for_strangers(
    db_path: Path, stranger: str
) -> None:
    admin = make(db_path)
    given = dict(STRANGERS[stranger])
    headers = given.pop("headers", {})

    async with served(admin, **given) as http:
        for method, path in every_route(admin):
            answer = await http.request(method, path, headers=headers)

            assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"}), path


async def test_whoever_is_kept_out_hears_nothing_about_the_body_that_he_sends(
    db_path: Path,
) -> None:
    broken = {"content": b"{", "headers": {"Content-Type": "application/json"}}

    for auth, status in ((None, 404), (PAIR, 401)):
        admin = make(db_path, auth=auth)
        async with served(admin, client=("10.1.2.3", 1)) as http:
            for method, path in every_route(admin):
                answer = await http.request(method, path, **broken)  # type: ignore[arg-type]  # two of many

                assert answer.status_code == status, (method, path)


async def test_in_production_without_auth_nobody_is_let_in_and_the_log_says_so(
    db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    admin = make(db_path, env="production")

    async with served(admin) as http:
        for method, path in every_route(admin):
            assert (await http.request(method, path)).status_code == 404, path
        schema = (await http.get("/openapi.json")).json()
    assert schema["paths"] == {}
    assert "the admin at /tasks is closed" in caplog.text
    assert "auth=" in caplog.text


async def test_the_log_says_once_for_each_reason_why_the_admin_is_missing(
    db_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    admin = make(db_path)
    caplog.set_level(logging.WARNING)

    async with served(admin) as http:
        for _ in range(3):
            await http.get("/tasks", headers={"Host": "evil.example"})
            await http.get("/tasks", headers={"X-Real-IP": "1.2.3.4"})

    told = [record.message for record in caplog.records if "404" in record.message]
    assert len(told) == 2
    assert "'evil.example'" in told[0]
    assert "'x-real-ip'" in told[1]
    assert all("auth=" in line for line in told)


async def test_with_pairs_every_route_asks_for_one_of_them(db_path: Path) -> None:
    admin = make(db_path, env="production", auth=[("bob", "other"), PAIR])
    wrong = [None, ("ada", "wrong"), ("bob", PAIR[1]), ("", ""), ("ada", ""), ("nobody", "other")]

    async with served(admin, client=("10.1.2.3", 1), host="app.example") as http:
        for method, path in every_route(admin):
            for pair in wrong:
                auth = httpx.BasicAuth(*pair) if pair else None
                answer = await http.request(method, path, auth=auth)

                assert answer.status_code == 401, (method, path, pair)
                assert answer.headers["www-authenticate"].startswith("Basic realm=")
            answer = await http.request(method, path, auth=httpx.BasicAuth(*PAIR))

            assert answer.status_code in {200, 308, 404, 422}
            assert answer.status_code != 404 or "/some" in path
            assert answer.status_code != 422 or takes_body(method, path) or "?" in path


async def test_the_schema_says_that_user_and_password_are_needed(db_path: Path) -> None:
    async with served(make(db_path, auth=PAIR)) as http:
        schema = (await http.get("/openapi.json")).json()

    assert schema["components"]["securitySchemes"] == {
        "taskflow": {"type": "http", "scheme": "basic"}
    }
    assert schema["paths"]["/tasks/metrics"]["get"]["security"] == [{"taskflow": []}]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One app for all who are not let in."""
    admin = make(tmp_path_factory.mktemp("guarded") / "tasks.db", auth=PAIR)
    with TestClient(admin.app, "http://localhost:8000", client=LOOPBACK) as http:
        yield http


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Bearer " + base64.b64encode(":".join(PAIR).encode()).decode(),
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(":".join(PAIR).encode()).decode() + "AAAA",
    ],
)
def test_a_header_that_is_no_pair_is_refused_like_a_wrong_one(
    guarded: TestClient, header: str
) -> None:
    assert guarded.get("/tasks", headers={"Authorization": header}).status_code == 401


async def test_a_dependency_decides_for_every_route_and_its_refusal_is_passed_on(
    db_path: Path,
) -> None:
    async def staff(request: Request) -> None:
        if request.cookies.get("session") != "staff":
            raise HTTPException(418, "staff only", {"X-Why": "no session"})

    for auth in (staff, Depends(staff)):
        admin = make(db_path, env="production", auth=auth)
        async with served(admin, client=("10.1.2.3", 1), host="app.example") as http:
            for method, path in every_route(admin):
                answer = await http.request(method, path)
                assert (answer.status_code, answer.json()) == (418, {"detail": "staff only"})
                assert answer.headers["x-why"] == "no session"
                assert answer.headers["cache-control"] == "no-store"
            allowed = await http.get("/tasks", headers={"Cookie": "session=staff"})
            assert allowed.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
    ],
)
async def test_pages_of_other_origins_change_nothing_even_with_the_password(
    db_path: Path, headers: dict[str, str]
) -> None:
    admin = make(db_path, auth=PAIR)

    async with served(admin) as http:
        unsafe = [route for route in every_route(admin) if route[0] not in SAFE]
        for method, path in unsafe:
            answer = await http.request(method, path, headers=headers, auth=httpx.BasicAuth(*PAIR))
            assert answer.status_code == 403
            assert "another origin" in answer.json()["detail"]
    assert unsafe


async def test_a_form_of_another_site_cannot_even_be_sent(db_path: Path) -> None:
    async with served(make(db_path)) as http:
        answer = await http.post(
            "/tasks/x/retry", content="{}", headers={"Content-Type": "text/plain"}
        )

    assert answer.status_code == 415


async def test_our_own_page_and_curl_are_heard(db_path: Path) -> None:
    own = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8000"}

    async with served(make(db_path)) as http:
        for headers in (own, {"Origin": "http://localhost:8000"}, {}):
            answer = await http.post("/tasks/some-id/retry", headers=headers)

            assert answer.json()["detail"].startswith("there is no task")


async def test_only_the_listed_assets_are_served(db_path: Path) -> None:
    async with served(make(db_path)) as http:
        page = (await http.get("/tasks/dashboard")).text
        listed = set(re.findall(r'(?:src|href)="([^"]*assets/[^"]+)"', page))
        for address in listed:
            assert (await http.get(f"/tasks/{address}")).status_code == 200, address
        for name in ("__init__.py", "index.html", "..%2f__init__.py", "%2e%2e/__init__.py", "."):
            answer = await http.get(f"/tasks/dashboard/assets/1/{name}", follow_redirects=True)
            assert "import" not in answer.text
    assert listed


async def test_every_answer_carries_the_headers_of_the_admin(db_path: Path) -> None:
    async with served(make(db_path, auth=PAIR)) as http:
        auth = httpx.BasicAuth(*PAIR)
        answers = [
            await http.get("/tasks"),
            await http.get("/tasks", auth=auth),
            await http.get("/tasks?limit=0", auth=auth),
            await http.get("/tasks/unknown", auth=auth),
            await http.get("/tasks/dashboard", auth=auth),
            await http.get("/tasks/dashboard/assets/1/icon.svg", auth=auth),
            await http.post("/tasks/x/cancel", auth=auth, headers={"Origin": "null"}),
        ]

    assert [answer.status_code for answer in answers] == [401, 200, 422, 404, 200, 200, 403]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
    policy = answers[4].headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


# -- roles ---------------------------------------------------------------------------------------

ADA, BOB = httpx.BasicAuth("ada", "pw"), httpx.BasicAuth("bob", "pw")
BOTH = [("ada", "pw"), ("bob", "pw", "view")]


async def test_every_route_of_the_app_under_the_path_of_the_admin_is_one_of_its_router(
    db_path: Path,
) -> None:
    admin = make(db_path, auth=PAIR)

    async with served(admin) as http:
        schema = (await http.get("/openapi.json")).json()

    known = {(method, route.path) for route in admin.router.routes if isinstance(route, APIRoute)
             for method in route.methods or ()}  # fmt: skip
    documented = {
        (method.upper(), path)
        for path, item in schema["paths"].items()
        if path.startswith("/tasks")
        for method in item
    }
    assert documented <= {(method, re.sub(r":path\}", "}", path)) for method, path in known}
    for each in admin.app.routes:  # whatever the schema does not show
        included = getattr(each, "original_router", None)
        if included is not admin.router:
            path = getattr(each, "path", "") if included is None else included.prefix
            assert not path.startswith("/tasks"), path
    for route in admin.router.routes:
        assert isinstance(route, APIRoute)
        guards = [marker.dependency for marker in route.dependencies]
        assert guards == [marker.dependency for marker in admin.guard.dependencies], route.path


async def test_viewers_read_everything_and_change_nothing(db_path: Path) -> None:
    admin = make(db_path, auth=BOTH)

    async with served(admin, client=("10.1.2.3", 1), host="app.example") as http:
        for method, path in every_route(admin):
            answer = await http.request(method, path, auth=BOB)
            if method in SAFE:
                assert answer.status_code not in {401, 403}, (method, path)
            else:
                assert (answer.status_code, answer.json()) == (
                    403,
                    {"detail": "bob may only look: the role is 'view'"},
                ), (method, path)
        assert (await http.get("/tasks/me", auth=BOB)).json()["role"] == "view"
        assert (await http.get("/tasks/me", auth=ADA)).json()["role"] == "operate"
        assert (await http.post("/tasks/x/retry", auth=ADA)).status_code == 404


async def test_a_path_with_another_method_is_guarded_like_the_path(db_path: Path) -> None:
    admin = make(db_path, auth=BOTH)

    async with served(admin, client=("10.1.2.3", 1), host="app.example") as http:
        for _, path in every_route(admin):
            answer = await http.request("PURGE", path)
            assert answer.status_code == 401, path
            assert (await http.request("PURGE", path, auth=BOB)).status_code == 403, path
        answer = await http.request("PURGE", "/tasks/metrics", auth=ADA)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


class Person:
    def __init__(self, role: Any, user: Any = None) -> None:
        self.role, self.user = role, user


@pytest.mark.parametrize(
    ("found", "role", "user"),
    [
        (None, "operate", None),
        (True, "operate", None),
        ("view", "view", None),
        ("operate", "operate", None),
        ("a token, or a name", "operate", None),
        ({"role": "view", "user": "bob"}, "view", "bob"),
        ({"role": "operate", "name": "ada"}, "operate", "ada"),
        ({"username": "ada"}, "operate", "ada"),
        (Person("view", "bob"), "view", "bob"),
        (Person("operate", 42), "operate", None),
    ],
)
async def test_what_a_dependency_returns_says_who_it_is_and_what_he_may_do(
    db_path: Path, found: Any, role: str, user: str | None
) -> None:
    async with served(make(db_path, auth=lambda: found), client=("10.1.2.3", 1)) as http:
        me = (await http.get("/tasks/me")).json()
        wish = await http.post("/tasks/x/retry")

    assert (me["role"], me["user"]) == (role, user)
    assert wish.status_code == (404 if role == "operate" else 403)


@pytest.mark.parametrize("role", ["admin", "", None, ["view"], "VIEW"])
async def test_an_unknown_role_is_refused_by_name_on_every_route(db_path: Path, role: Any) -> None:
    admin = make(db_path, auth=lambda: {"role": role})

    async with served(admin) as http:
        for method, path in every_route(admin):
            answer = await http.request(method, path)
            assert answer.status_code == 403, (method, path)
            assert repr(role) in answer.json()["detail"]


async def test_without_auth_nobody_has_a_name_and_may_operate(db_path: Path) -> None:
    async with served(make(db_path, title="Shop")) as http:
        me = (await http.get("/tasks/me")).json()

    assert me.pop("instance")
    assert me.pop("version")
    assert me == {"user": None, "role": "operate", "title": "Shop", "path": "/tasks"}
