"""Limits of a served app, changed over HTTP while it has much to do, hold in every lane."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.server import Server, until

CHANGES = 30
MOST = 4


def running_after_each_mark(server: Server) -> list[int]:
    """How many tasks ran after each start and each end."""
    running, found = 0, []
    for line in (server.folder / "marks").read_text().splitlines():
        running += 1 if line.startswith("start") else -1
        found.append(running)
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings: dict[str, Any] = {"io_workers": MOST, "async_limit": MOST, "cpu_workers": 1}
    flags = ("--loop", "uvloop", "--log-level", "warning")
    with Server(tmp_path, flags=flags, length=0.02, **settings) as server:
        yield server


def patch(server: Server, path: str, **values: object) -> None:
    server.http.patch(path, json=values).raise_for_status()


@pytest.mark.parametrize("lane", ["async", "io"])
def test_a_lane_that_is_resized_under_load_never_runs_more_than_it_may(
    server: Server, lane: str
) -> None:
    draw = random.Random(20261122)
    over = threading.Event()
    ids: list[str] = []

    def add() -> None:
        while not over.is_set():
            ids.extend(server.add(*[lane] * 10))

    adding = threading.Thread(target=add)
    adding.start()
    try:
        for _ in range(CHANGES):
            patch(server, f"/tasks/lanes/{lane}", limit=draw.randint(1, MOST))
    finally:
        over.set()
        adding.join()
    patch(server, f"/tasks/lanes/{lane}", limit=1)
    changed = len(running_after_each_mark(server))
    ids += server.add(*[lane] * 10)
    until(lambda: 1 in running_after_each_mark(server)[changed:], "no more run than may")
    server.length(0.0)
    server.wait_until_done(ids)

    found = running_after_each_mark(server)
    calm = found.index(1, changed)
    assert 1 < max(found) <= MOST
    assert max(found[calm:]) == 1
    assert set(server.marks("start").values()) == {1}
