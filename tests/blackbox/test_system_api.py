"""What the admin tells about itself: the system page, and the history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps.site import Site


@pytest.fixture
async def site(db_path: Path) -> AsyncIterator[Site]:
    site = Site(db_path)
    async with site.serve():
        yield site


async def test_the_system_page_has_everything_with_its_type(site: Site) -> None:
    await site.until(await site.add(site.quick), "success")

    found = await site.get("/tasks/system")

    engine = site.manager.engine
    assert (found["instance"], found["pid"] > 0) == (engine.instance, True)
    assert found["started_at"].endswith("+00:00")
    assert found["sqlite"].startswith("3.")
    store = found["store"]
    assert (store["ok"], store["trouble"], store["url"]) == (True, None, engine.store.url)
    assert store["database_bytes"] > 0
    assert store["free_bytes"] > 0
    assert store["commit_ms"]["count"] > 0
    assert store["commit_ms"]["p95"] > 0
    (own,) = found["instances"]
    assert (own["id"], own["alive"], own["self"]) == (engine.instance, True, True)


async def test_settings_are_told_with_their_source_and_without_secrets(
    db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKFLOW_IO_QUEUE", "7")
    site = Site(db_path, redact="pin", env="development")
    async with site.serve():
        found = {it["name"]: it for it in (await site.get("/tasks/system"))["settings"]}

    def told(name: str) -> tuple[Any, ...]:
        return tuple(found[f"TASKFLOW_{name}"][key] for key in ("value", "source", "default"))

    assert told("IO_QUEUE") == ("7", "environment", "2000")
    assert told("IO_WORKERS")[:2] == ("1", "code")
    assert told("CPU_NICE") == ("19", "default", "19")
    assert told("IO_TIMEOUT") == ("none", "default", "none")
    assert told("CAPTURE_LOGGING") == ("true", "default", "true")
    assert told("DB")[1] == "code"
    assert all(it["help"] for it in found.values())


async def test_two_instances_see_each_other(db_path: Path) -> None:
    one, other = Site(db_path), Site(db_path)
    async with one.serve(), other.serve():
        names = [site.manager.engine.instance for site in (one, other)]
        found = (await one.get("/tasks/system"))["instances"]

    assert {(it["id"], it["self"], it["alive"]) for it in found} == {
        (names[0], True, True),
        (names[1], False, True),
    }


@pytest.mark.parametrize("span", ["15m", "1h", "6h", "24h", "7d", "30d", None])
async def test_each_span_of_the_history_answers(site: Site, span: str | None) -> None:
    found = await site.get("/tasks/history" + (f"?span={span}" if span else ""))

    assert set(found) == {"step", "from", "points", "restarts"}
    assert len(found["points"]) <= 400


@pytest.mark.parametrize("span", ["", "2h", "1h\x00", "x" * 1000])
async def test_a_span_that_there_is_not_is_refused(site: Site, span: str) -> None:
    answer = await site.http.get("/tasks/history", params={"span": span})

    assert answer.status_code == 422
