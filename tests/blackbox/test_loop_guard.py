"""Who holds the event loop of a served app is found out, and told where it belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.apps.blocking import WAYS
from tests.apps.server import PATIENCE, Server, until

LANES = {"wait": 'lane="io"', "compute": 'lane="cpu"', "compute_in_c": 'lane="cpu"'}


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One for all tests of this file: each looks for what it has done itself."""
    folder = tmp_path_factory.mktemp(request.param)
    flags = ("--loop", request.param, "--log-level", "warning")
    with Server(folder, app="tests.apps.blocking:app", flags=flags) as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=PATIENCE) as http:
        yield http


def loop_of(http: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = http.get("/tasks/lanes").raise_for_status().json()["loop"]
    return found


def stalls(http: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = loop_of(http)["stalls"]
    return found


def newest_at(http: httpx.Client) -> str:
    return str(next((stall["at"] for stall in stalls(http)), ""))


def hold_until_seen(
    http: httpx.Client, way: str, hold: Callable[[], tuple[str, float, float]]
) -> tuple[str, dict[str, Any]]:
    """Hold the loop by ``hold``, which returns culprit, seconds and share of a processor.

    Again where the machine was too busy for code that computes to look like that, and where native
    code was gone before anybody could look. Returns the culprit and its stall.
    """
    for _ in range(10):
        began = datetime.now(UTC).isoformat()
        culprit, took, share = hold()
        if way != "wait" and share < 0.6:
            continue
        until(lambda: newest_at(http) > began, "a stall")  # noqa: B023 (called before it changes)
        stall = stalls(http)[0]
        if stall["culprit"] == culprit or way != "compute_in_c":
            # It is counted from the first beat that was due in it; they are up to 0.2 s apart.
            assert took - 0.25 < stall["duration"] < took + 0.25
            return culprit, stall
    raise AssertionError(f"{way} was never seen")


def assert_it_says_where_it_belongs(stall: dict[str, Any], way: str) -> None:
    assert LANES[way] in stall["hint"]
    assert not any(lane in stall["hint"] for lane in LANES.values() if lane != LANES[way])
    assert f"in {way}" in stall["stack"]
    assert "blocking.py" in stall["stack"]


@pytest.mark.parametrize("way", WAYS)
def test_a_task_that_holds_the_loop_is_named_and_told_so_in_its_log(
    server: Server, http: httpx.Client, way: str
) -> None:
    task_id = ""

    def hold() -> tuple[str, float, float]:
        nonlocal task_id
        task_id = http.post(f"/add/{way}").raise_for_status().json()
        server.wait_until_done([task_id])
        took, share = http.get(f"/tasks/{task_id}").json()["result"]
        return f"task blocks ({task_id})", took, share

    culprit, stall = hold_until_seen(http, way, hold)

    assert stall["culprit"] == culprit
    assert_it_says_where_it_belongs(stall, way)
    until(lambda: http.get(f"/tasks/{task_id}").json()["logs"], "a line in the task's log")
    (line,) = http.get(f"/tasks/{task_id}").json()["logs"]
    assert line["level"] == "warning"
    assert line["message"].startswith("held the event loop for ")
    assert LANES[way] in line["message"]
    assert f"in {way}" in line["message"]
    assert f"{culprit} held the event loop for " in server.log.read_text()


@pytest.mark.parametrize("way", WAYS)
def test_a_route_that_holds_the_loop_is_named_by_method_and_path(
    server: Server, http: httpx.Client, way: str
) -> None:
    def hold() -> tuple[str, float, float]:
        took, share = http.get(f"/hold/{way}").raise_for_status().json()
        return f"route GET /hold/{way}", took, share

    culprit, stall = hold_until_seen(http, way, hold)

    assert stall["culprit"] == culprit
    assert_it_says_where_it_belongs(stall, way)
    assert f"{culprit} held the event loop for " in server.log.read_text()


def test_a_loop_that_nobody_holds_has_no_stalls(server: Server, http: httpx.Client) -> None:
    def blamed() -> list[dict[str, Any]]:
        return [stall for stall in stalls(http) if "blocking.py" in stall["stack"]]

    before = blamed()
    for _ in range(20):
        http.get("/ping").raise_for_status()

    until(lambda: loop_of(http)["lag"]["count"] > 0, "the first beats are answered")
    assert loop_of(http)["stall_threshold"] == 0.2
    assert blamed() == before
