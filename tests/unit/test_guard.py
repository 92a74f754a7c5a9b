"""The pure parts of the guard: what is local, what comes from our own page, what `auth` may be."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any, NamedTuple

import pytest
from fastapi import HTTPException
from starlette.datastructures import Headers

from taskflow.admin.audit import action_of
from taskflow.admin.guard import BasicScheme, Guard
from taskflow.admin.locality import host_name, is_loopback_name, why_foreign
from taskflow.admin.roles import Visitor, visitor_of
from taskflow.admin.same_origin import is_json_or_empty, why_cross_site
from taskflow.errors import SettingsError


def scope(
    client: tuple[str, int] | None = ("127.0.0.1", 50000),
    version: str = "1.1",
    **headers: str,
) -> dict[str, Any]:
    headers = {"host": "localhost:8000", **headers}
    return {
        "type": "http",
        "client": client,
        "http_version": version,
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
    }


@pytest.mark.parametrize(
    ("client", "host"),
    [
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "LOCALHOST:8000"),
        ("127.8.9.1", "127.0.0.1:8000"),
        ("::1", "[::1]:8000"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_loopback_peer_that_asks_for_a_loopback_host_is_local(client: str, host: str) -> None:
    assert why_foreign(scope((client, 1), host=host)) is None


@pytest.mark.parametrize(
    "client", ["10.0.0.7", "::2", "128.0.0.1", "::ffff:10.0.0.1", "localhost", "testclient", ""]
)
def test_a_peer_that_is_not_a_loopback_address_is_foreign(client: str) -> None:
    foreign = why_foreign(scope((client, 1)))

    assert foreign is not None
    assert foreign.kind == "peer"


def test_a_connection_without_a_peer_address_is_foreign() -> None:
    foreign = why_foreign(scope(None))

    assert foreign is not None
    assert foreign.kind == "peer"


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "localhost.example.com",
        "example.com:8000",
        "127.0.0.1.nip.io",
        "localhost@example.com",
        "[::1",
        "[::1]x",
        "127.0.0.1:80:80",
        "10.0.0.1",
        "0.0.0.0",
        "",
    ],
)
def test_a_host_that_may_lead_elsewhere_is_foreign(host: str) -> None:
    foreign = why_foreign(scope(host=host))

    assert foreign is not None
    assert foreign.kind == "host"


def test_two_hosts_and_no_host_are_foreign() -> None:
    twice = scope()
    twice["headers"].append((b"host", b"localhost"))
    never = scope()
    never["headers"].clear()

    assert why_foreign(twice) is not None
    assert why_foreign(never) is not None


@pytest.mark.parametrize(
    "header",
    [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded",
        "x-real-ip",
        "via",
        "cf-connecting-ip",
        "true-client-ip",
    ],
)
def test_any_forwarding_header_is_foreign_whatever_it_says(header: str) -> None:
    request = scope()
    request["headers"].append((header.encode(), b"127.0.0.1"))

    foreign = why_foreign(request)

    assert foreign is not None
    assert foreign.kind == "proxy"


def test_http_1_0_is_foreign_because_proxies_speak_it_unless_told_otherwise() -> None:
    assert why_foreign(scope(version="1.0")) is not None


def test_a_script_of_another_site_is_foreign_but_a_link_from_there_may_be_followed() -> None:
    script = scope(sec_fetch_site="cross-site", sec_fetch_mode="cors", sec_fetch_dest="empty")
    frame = scope(sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="iframe")
    old_browser = scope(origin="https://example.com")
    link = scope(sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document")
    own = scope(sec_fetch_site="same-origin")

    assert [
        request is not None for request in map(why_foreign, (script, frame, old_browser, link, own))
    ] == [True, True, True, False, False]


def test_the_name_in_a_host_header_has_neither_port_nor_brackets() -> None:
    hosts = ["a:1", "a", "[::1]:80", "[::1]", "[::1]junk", "::1"]

    assert [host_name(host) for host in hosts] == ["a", "a", "::1", "::1", "", ""]
    assert not is_loopback_name("127.1")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://app.test"},
        {"origin": "null"},
        {"origin": "http://evil.test"},
        {"origin": "http://app.test:81"},
        {"origin": "http://app.test.evil.test"},
        {"origin": ""},
    ],
)
def test_what_another_origin_sends_may_change_nothing(method: str, headers: dict[str, str]) -> None:
    assert why_cross_site(method, Headers({"host": "app.test", **headers})) is not None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "http://app.test"},
        {"origin": "https://app.test"},
        {"origin": "https://APP.test:443"},
    ],
)
def test_our_own_page_and_programs_may_change_things(headers: dict[str, str]) -> None:
    assert why_cross_site("POST", Headers({"host": "app.test", **headers})) is None


def test_an_origin_is_never_equal_to_a_host_that_is_missing() -> None:
    assert why_cross_site("POST", Headers({"origin": "http://app.test"})) is not None


def test_reading_is_not_a_matter_of_origin() -> None:
    assert why_cross_site("GET", Headers({"sec-fetch-site": "cross-site"})) is None


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({}, True),
        ({"content-length": "0", "content-type": "text/plain"}, True),
        ({"content-length": "2", "content-type": "application/json; charset=utf-8"}, True),
        ({"content-length": "2", "content-type": "application/merge-patch+json"}, True),
        ({"content-length": "2", "content-type": "text/plain"}, False),
        ({"content-length": "2"}, False),
        ({"transfer-encoding": "chunked", "content-type": "multipart/form-data"}, False),
    ],
)
def test_a_body_must_be_json(headers: dict[str, str], fine: bool) -> None:
    assert is_json_or_empty(Headers(headers)) is fine


@pytest.mark.parametrize(
    "auth",
    [
        "admin:secret",
        ("admin", ""),
        ("admin", None),
        (None, None),
        ("", "secret"),
        ("ad:min", "secret"),
        ("admin", "secret", "more"),
        ("admin", "secret", "view", "more"),
        [("admin", "secret", None)],
        ("admin", "secret", "View"),
        [],
        [("admin",)],
        [("admin", "secret"), ("other", "")],
        42,
        False,
    ],
)
def test_an_auth_that_would_let_in_anybody_by_mistake_is_refused(auth: Any) -> None:
    with pytest.raises(SettingsError, match="auth"):
        Guard(auth, production=False)


def test_the_message_about_a_wrong_pair_does_not_tell_the_password() -> None:
    with pytest.raises(SettingsError) as refused:
        Guard([("admin", "s3cret", "x")], production=False)  # type: ignore[list-item]  # on purpose

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "auth",
    [
        ("u", "p"),
        [("u", "p"), ("v", "q")],
        [["u", "p"]],
        ("u", "p", "view"),
        [("u", "p", "operate")],
    ],
)
def test_pairs_are_basic_auth(auth: Any) -> None:
    guard = Guard(auth, production=True)

    assert isinstance(guard.dependencies[0].dependency, BasicScheme)
    assert not guard.closed


class Level(StrEnum):
    VIEW = "view"
    OTHER = "other"


class Plain(Enum):
    VIEW = "view"
    LOUD = "VIEW"
    NUMBER = 1


class Named(NamedTuple):
    user: str
    role: str


@pytest.mark.parametrize(
    ("found", "visitor"),
    [
        (None, Visitor(None, "operate")),
        (Level.VIEW, Visitor(None, "view")),
        (Plain.VIEW, Visitor(None, "view")),
        (Plain.NUMBER, Visitor(None, "operate")),
        ({"role": Level.VIEW, "user": "ada"}, Visitor("ada", "view")),
        ({"role": Plain.VIEW, "user": "ada"}, Visitor("ada", "view")),
        (Named("ada", "view"), Visitor("ada", "view")),
        ("viewer", Visitor(None, "operate")),
        ({"user": "", "name": "ada"}, Visitor("ada", "operate")),
        ({"user": "a\x1b" + "b" * 300}, Visitor("a\\x1b" + "b" * 195, "operate")),
    ],
)
def test_a_visitor_is_made_of_whatever_a_dependency_returns(
    found: object, visitor: Visitor
) -> None:
    assert visitor_of(found) == visitor


@pytest.mark.parametrize(
    "found",
    [
        "VIEW",
        " view",
        "view\n",
        "Operate",
        Plain.LOUD,
        ["view"],
        ("ada", "view"),
        ("view",),
        [],
        (),
    ],
)
def test_what_is_nearly_a_role_or_may_hold_one_lets_nobody_in(found: object) -> None:
    with pytest.raises(HTTPException) as refused:
        visitor_of(found)

    assert refused.value.status_code == 403


@pytest.mark.parametrize("role", ["admin", None, 1, Level.OTHER, [], "view "])
def test_a_role_that_there_is_not_lets_nobody_in(role: object) -> None:
    with pytest.raises(HTTPException) as refused:
        visitor_of({"role": role})

    assert refused.value.status_code == 403
    assert "view or operate" in refused.value.detail


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("POST", "/{task_id}/retry", "retry"),
        ("POST", "/bulk", "bulk"),
        ("PATCH", "/lanes/{name}", "lane.patch"),
        ("PATCH", "/queues/{name:path}", "queue.patch"),
        ("POST", "/schedules", "schedule.add"),
        ("POST", "/schedules/{name:path}/pause", "schedule.pause"),
        ("DELETE", "/schedules/{name:path}", "schedule.delete"),
        ("DELETE", "/scheduled/{run_key:path}", "plan.delete"),
        ("DELETE", "/{task_id}", "delete"),
    ],
)
def test_the_name_of_an_action_comes_from_its_route(method: str, path: str, action: str) -> None:
    assert action_of(method, path) == action
