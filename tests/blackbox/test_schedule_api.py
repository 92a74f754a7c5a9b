"""Schedules and plans as a client of the REST API sees and changes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from taskflow import TaskManager
from tests.apps.site import Site
from tests.guide.hands import Hands

NAMES = ["a/b:c", "100 %", "näme ☃ 🎉", "run", "x/run", "preview", "a?b=c&d#e", "../up", "%2F"]


class Item(BaseModel):
    size: int


class Planned(Site):
    """A site with schedules, whose wall clock stands still at 12:00 UTC on 26 June 2026."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.hands = Hands()
        super().__init__(path, clock=self.hands, **settings)
        manager = self.manager
        self.given: list[tuple[object, ...]] = []

        @manager.schedule(cron="30 14 * * MON-FRI", timezone="Europe/Berlin", name="lunch")
        async def lunch(dish: str = "soup") -> str:
            return dish

        @manager.schedule(every=3600, name="old", kwargs={"x": 7}, jitter=5)
        @manager.task(name="double")
        async def double(x: int = 0) -> int:
            return x * 2

        manager.schedule(every=60, name="held")(self.held)

        self.double = double

        @manager.task(name="typed")
        async def typed(at: datetime, item: Item, tags: frozenset[str] = frozenset()) -> None:
            self.given.append((at, item, tags))

        @manager.task(name="keyed", concurrency_key=lambda: 1)
        async def keyed() -> None: ...

    async def pass_by(self, seconds: float) -> None:
        """Time passes, and the scheduler has looked at the clock since."""
        self.hands.pass_by(seconds)
        await self.manager.engine.scheduler.look()
        await self.manager.engine.outbox.flush()

    async def schedule(self, name: str) -> Any:
        return await self.get(f"/tasks/schedules/{quote(name)}")

    async def post(self, path: str, status: int, body: object = None) -> Any:
        """The answer to a wish that is obeyed."""
        given: dict[str, Any] = {} if body is None else {"json": body}
        answer = await self.http.post(path, **given)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
async def site(db_path: Path) -> AsyncIterator[Planned]:
    site = Planned(db_path)
    async with site.serve():
        await site.pass_by(0)
        yield site


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One app for everything that it refuses, which changes nothing there."""
    site = Planned(tmp_path_factory.mktemp("refusing") / "tasks.db")
    with TestClient(site.app, "http://localhost:8000", client=("127.0.0.1", 1)) as http:
        yield http


# -- looking ---------------------------------------------------------------------------------------


async def test_a_schedule_shows_its_rule_in_words_its_options_and_its_next_runs(
    site: Planned,
) -> None:
    lunch = await site.schedule("lunch")

    assert lunch["task"].endswith("lunch")
    assert (lunch["cron"], lunch["every"]) == ("30 14 * * MON-FRI", None)
    assert (lunch["words"], lunch["timezone"]) == ("at 14:30 on Monday to Friday", "Europe/Berlin")
    assert (lunch["origin"], lunch["state"], lunch["problem"]) == ("code", "active", None)
    assert (lunch["catch_up"], lunch["overlap"]) == ("latest", "skip")
    assert (lunch["jitter"], lunch["run_on_startup"], lunch["lag"]) == (0, False, 0)
    assert lunch["arguments"] == {"args": [], "kwargs": {}}
    assert (lunch["changes"], lunch["last_runs"]) == (None, [])
    assert lunch["next_runs"][0] == {
        "at": "2026-06-26T12:30:00.000000+00:00",
        "local": "2026-06-26T14:30:00+02:00",
        "note": "",
    }
    assert len(lunch["next_runs"]) == 5


async def test_schedules_come_by_name_in_pages(site: Planned) -> None:
    for name in NAMES:
        await site.post("/tasks/schedules", 201, {"name": name, "task": "keyed", "every": 5})

    pages: list[list[str]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await site.get(f"/tasks/schedules?limit=5&after={quote(cursor, safe='')}")
        pages.append([item["name"] for item in page["items"]])
        cursor = page["next_cursor"]

    assert [name for page in pages for name in page] == sorted(["held", "lunch", "old", *NAMES])
    assert [len(page) for page in pages] == [5, 5, 2]
    assert (await site.get("/tasks/schedules?after=zzz"))["next_cursor"] is None


async def test_the_last_runs_tell_what_became_of_them(site: Planned) -> None:
    await site.pass_by(60)
    await site.pass_by(60)
    started = (await site.post("/tasks/schedules/held/run", 202))["task_id"]
    await site.until(started, "running")
    site.hands.pass_by(7)

    runs = (await site.schedule("held"))["last_runs"]

    assert [(run["kind"], run["outcome"]) for run in runs] == [
        ("hand", "fired"),
        ("slot", "overlaps"),
        ("slot", "fired"),
    ]
    assert [run["slot"] for run in runs] == [
        None,
        "2026-06-26T12:02:00.000000+00:00",
        "2026-06-26T12:01:00.000000+00:00",
    ]
    assert (runs[0]["task_id"], runs[0]["status"], runs[0]["duration"]) == (started, "running", 7)
    assert (runs[1]["task_id"], runs[1]["status"], runs[1]["duration"]) == (None, None, None)
    assert runs[0]["error"] is None
    assert len((await site.get("/tasks/schedules/held?runs=1"))["last_runs"]) == 1


async def test_a_list_shows_five_runs_of_each_and_one_schedule_up_to_a_hundred(
    site: Planned,
) -> None:
    for _ in range(8):
        await site.pass_by(60)
    listed = {item["name"]: item for item in (await site.get("/tasks/schedules"))["items"]}

    assert len(listed["held"]["last_runs"]) == 5
    assert len((await site.get("/tasks/schedules/held?runs=100"))["last_runs"]) == 8


async def test_why_a_schedule_does_not_run_is_one_of_a_few_words_and_a_sentence(
    db_path: Path,
) -> None:
    async with TaskManager(db_path) as before:
        store = before.engine.store
        rows = [("gone", "double", '{"every": 60}'), ("alien", "shop:gone", '{"every": 60}')]
        await store.declare_schedules(rows, 0.0)
        await store.add_schedule("broken", "double", '{"every": 60, "colour": "red"}', 0.0)
    site = Planned(db_path)
    async with site.serve():
        await site.pass_by(0)
        await site.post("/tasks/schedules/lunch/pause", 200)
        await site.post("/tasks/schedules/broken/pause", 200)
        items = {item["name"]: item for item in (await site.get("/tasks/schedules"))["items"]}
        refused = await site.http.post("/tasks/schedules/alien/run")

    assert {name: item["state"] for name, item in items.items()} == {
        "alien": "unknown function",
        "broken": "invalid",
        "gone": "orphaned",
        "held": "active",
        "lunch": "paused",
        "old": "active",
    }
    assert "'shop:gone'" in items["alien"]["problem"]
    assert "another version" in items["broken"]["problem"]
    assert items["broken"]["words"] == ""
    assert "not declare it any more" in items["gone"]["problem"]
    assert [items[name]["next_runs"] for name in ("alien", "broken", "gone", "lunch")] == [[]] * 4
    assert (refused.status_code, "'shop:gone'" in refused.json()["detail"]) == (409, True)


async def test_long_arguments_are_cut_as_those_of_tasks_are(site: Planned) -> None:
    body = {"name": "long", "task": "typed", "every": 60}
    body["kwargs"] = {"at": "2026-01-01T00:00:00Z", "item": {"size": 1}, "tags": ["x" * 5000]}
    answer = await site.post("/tasks/schedules", 201, body)

    (tag,) = answer["arguments"]["kwargs"]["tags"]
    assert tag == "x" * 2000 + "… (5,000 characters)"


@pytest.mark.parametrize("name", ["nothing", "", "a/b", "%00", "x" * 1000, "%F0%9F%8E%89", "%FF"])
@pytest.mark.parametrize(
    ("method", "end"),
    [("GET", ""), ("DELETE", ""), ("PATCH", ""), *(("POST", w) for w in ("/run", "/pause"))],
)
def test_an_unknown_schedule_is_404_and_the_answer_says_so(
    refusing: TestClient, name: str, method: str, end: str
) -> None:
    body = {"every": 5} if method == "PATCH" else None

    answer = refusing.request(method, f"/tasks/schedules/{name}{end}", json=body)

    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("there is no schedule ")


# -- making and changing ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
async def test_a_schedule_of_any_name_is_added_run_paused_changed_and_removed(
    site: Planned, name: str
) -> None:
    path = f"/tasks/schedules/{quote(name, safe='')}"

    added = await site.post("/tasks/schedules", 201, {"name": name, "task": "double", "every": 90})
    paused = await site.post(f"{path}/pause", 200, {"by": "ada"})
    task_id = (await site.post(f"{path}/run", 202))["task_id"]
    resumed = await site.post(f"{path}/resume", 200)
    changed = await site.patch(path, every=120)
    await site.until(task_id, "success")
    shown = await site.get(path)
    removed = await site.http.delete(path)

    assert (added["name"], added["origin"], added["words"]) == (
        name,
        "run time",
        "every 90 seconds",
    )
    assert (paused["state"], paused["paused_by"], paused["next_runs"]) == ("paused", "ada", [])
    assert paused["paused_at"] == "2026-06-26T12:00:00.000000+00:00"
    assert (resumed["state"], resumed["paused_by"], resumed["paused_at"]) == ("active", None, None)
    assert (changed["words"], changed["changes"]) == ("every 2 minutes", {"every": 120})
    assert (shown["last_runs"][0]["task_id"], shown["last_runs"][0]["kind"]) == (task_id, "hand")
    assert (removed.status_code, removed.content) == (204, b"")
    assert (await site.http.get(path)).status_code == 404


async def test_a_schedule_takes_every_option_and_runs_with_its_arguments_as_they_are_annotated(
    site: Planned,
) -> None:
    body = {
        "name": "all",
        "task": "typed",
        "cron": "0 13 * * *",
        "timezone": "UTC",
        "args": ["2026-01-01T00:00:00Z"],
        "kwargs": {"item": {"size": 3}, "tags": ["a"]},
        "catch_up": "all",
        "overlap": "queue",
        "jitter": 0.5,
        "run_on_startup": True,
    }

    added = await site.post("/tasks/schedules", 201, body)
    await site.until((await site.post("/tasks/schedules/all/run", 202))["task_id"], "success")

    assert {name: added[name] for name in body if name not in {"args", "kwargs"}} == {
        name: value for name, value in body.items() if name not in {"args", "kwargs"}
    }
    assert added["arguments"]["kwargs"] == {"item": {"size": 3}, "tags": ["a"]}
    assert site.given == [(datetime(2026, 1, 1, tzinfo=UTC), Item(size=3), frozenset("a"))]


async def test_null_gives_an_option_back_as_it_was_declared(site: Planned) -> None:
    changed = await site.patch(
        "/tasks/schedules/old", cron="0 13 * * *", timezone="Asia/Tokyo", args=[1], jitter=0
    )
    back = await site.patch("/tasks/schedules/old", cron=None, args=None, timezone=None)

    assert (changed["cron"], changed["every"], changed["timezone"]) == (
        "0 13 * * *",
        None,
        "Asia/Tokyo",
    )
    assert changed["arguments"] == {"args": [1], "kwargs": {}}
    assert changed["changes"] == {
        "cron": "0 13 * * *",
        "timezone": "Asia/Tokyo",
        "arguments": {"args": [1], "kwargs": {}},
        "jitter": 0,
    }
    assert (back["every"], back["timezone"], back["changes"]) == (3600, "UTC", {"jitter": 0})
    assert back["arguments"] == {"args": [], "kwargs": {"x": 7}}
    assert (await site.patch("/tasks/schedules/old", jitter=None))["changes"] is None


async def test_a_name_that_is_taken_is_409_also_for_whoever_comes_at_the_same_time(
    site: Planned,
) -> None:
    taken = await site.http.post(
        "/tasks/schedules", json={"name": "lunch", "task": "double", "every": 5}
    )
    body = {"name": "new", "task": "double", "every": 5}
    answers = await asyncio.gather(
        *(site.http.post("/tasks/schedules", json=body) for _ in range(5))
    )

    assert (taken.status_code, "schedule 'lunch' exists" in taken.json()["detail"]) == (409, True)
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_what_the_code_declares_cannot_be_removed_here(site: Planned) -> None:
    answer = await site.http.delete("/tasks/schedules/lunch")

    assert answer.status_code == 409
    assert "declared in code" in answer.json()["detail"]
    assert (await site.schedule("lunch"))["state"] == "active"


async def test_who_paused_is_told_by_the_body_or_by_the_password(db_path: Path) -> None:
    site = Planned(db_path)
    async with site.serve() as http:
        await site.pass_by(0)
        paused = []
        who: dict[str, dict[str, Any]] = {
            "lunch": {"json": {"by": "bob\x1b[2J"}, "auth": ("ada", "secret")},
            "old": {"auth": httpx.BasicAuth("ädä", "secret")},
            "held": {"headers": {"Authorization": "Basic !!"}},
        }
        for name, given in who.items():
            answer = await http.post(f"/tasks/schedules/{name}/pause", **given)
            paused.append(answer.json()["paused_by"])

    assert paused == ["bob\\x1b[2J", "ädä", ""]


async def test_a_pause_keeps_who_was_first_and_stops_its_runs(site: Planned) -> None:
    await site.post("/tasks/schedules/held/pause", 200, {"by": "ada"})
    await site.post("/tasks/schedules/held/pause", 200, {"by": "bob"})
    await site.pass_by(600)

    held = await site.schedule("held")
    assert (held["paused_by"], held["last_runs"]) == ("ada", [])


async def test_a_change_reaches_other_instances_and_outlives_the_app(db_path: Path) -> None:
    first, second, third = Planned(db_path), Planned(db_path), Planned(db_path)

    async with first.serve(), second.serve():
        await first.pass_by(0)
        await first.patch("/tasks/schedules/lunch", cron="0 9 * * *")
        shown = await second.schedule("lunch")
    async with third.serve():
        kept = await third.schedule("lunch")

    assert shown["words"] == kept["words"] == "at 09:00 every day"


# -- a look before ---------------------------------------------------------------------------------


async def test_a_preview_tells_what_a_clock_change_does(site: Planned) -> None:
    answer = await site.post(
        "/tasks/schedules/preview",
        200,
        {
            "cron": "30 2 * * *",
            "timezone": "Europe/Berlin",
            "after": "2027-03-27T12:00",
            "count": 2,
        },
    )

    assert answer == {
        "words": "at 02:30 every day",
        "timezone": "Europe/Berlin",
        "next_runs": [
            {
                "at": "2027-03-28T01:00:00.000000+00:00",
                "local": "2027-03-28T03:00:00+02:00",
                "note": "in the gap: moved from 02:30",
            },
            {
                "at": "2027-03-29T00:30:00.000000+00:00",
                "local": "2027-03-29T02:30:00+02:00",
                "note": "",
            },
        ],
    }


@pytest.mark.parametrize(
    ("body", "first", "count"),
    [
        ({"every": 300}, "2026-06-26T12:05:00.000000+00:00", 5),
        ({"every": 300.0, "count": 100}, "2026-06-26T12:05:00.000000+00:00", 100),
        ({"cron": "@daily", "after": "2030-01-01T00:00+02:00"}, "2030-01-01T00:00:00.000000", 5),
        ({"cron": "@daily", "after": "0001-01-01"}, "1970-01-01T00:00:00.000000+00:00", 5),
        ({"cron": "@yearly", "after": "9998-01-01"}, "9999-01-01T00:00:00.000000+00:00", 1),
        ({"cron": "@daily", "after": "9999-12-31T23:59:59.999999-23:59"}, None, 0),
    ],
)
async def test_a_preview_begins_now_or_at_a_moment_and_ends_with_the_calendar(
    site: Planned, body: dict[str, Any], first: str | None, count: int
) -> None:
    runs = (await site.post("/tasks/schedules/preview", 200, body))["next_runs"]

    assert len(runs) == count
    assert first is None or runs[0]["at"].startswith(first)


# -- what is refused -------------------------------------------------------------------------------

RULES: list[tuple[dict[str, Any], str]] = [
    ({}, "give one of the two"),
    ({"cron": "@daily", "every": 5}, "give one of the two"),
    ({"cron": "0 25 * * *"}, "hour field '25'"),
    ({"cron": "0 0 30 2 *"}, "never comes"),
    ({"cron": "* " * 5000}, "at most 1000 characters"),
    ({"cron": "0" * 900}, "at most 200 characters"),
    ({"cron": "0 0 \x00 * *"}, "day of month"),
    ({"cron": "٣ * * * *"}, "minute"),
    ({"cron": 5}, "cron"),
    ({"every": 0}, "every=0"),
    ({"every": -1}, "every=-1"),
    ({"every": 1.5}, "whole seconds"),
    ({"every": 10**300}, "every=a huge number"),
    ({"every": True}, "every"),
    ({"every": "60"}, "every"),
    ({"every": 60, "timezone": "Europe/Berlln"}, "did you mean Europe/Berlin"),
    ({"every": 60, "timezone": "../../etc/passwd"}, "no such time zone"),
    ({"every": 60, "timezone": "a\x00b"}, "no such time zone"),
    ({"every": 60, "timezone": ""}, "name of a time zone"),
]
NEW: list[tuple[dict[str, Any], str]] = [
    *RULES,
    ({"every": 60, "name": "a\x00b"}, "printable"),
    ({"every": 60, "name": ""}, "printable"),
    ({"every": 60, "name": "x" * 201}, "200 printable"),
    ({"every": 60, "name": "x" * 2000}, "name"),
    ({"every": 60, "name": None}, "name"),
    ({"every": 60, "task": "nothing"}, "no declared task; those are: double, keyed, "),
    ({"every": 60, "task": "\x00🎉/%"}, "no declared task"),
    ({"every": 60, "colour": "red"}, "colour"),
    ({"every": 60, "catch_up": "some"}, "catch_up='some': give one of 'latest', 'all', 'skip'"),
    ({"every": 60, "overlap": ""}, "overlap=''"),
    ({"every": 60, "task": "keyed", "overlap": "queue"}, "concurrency key"),
    ({"every": 60, "jitter": -1}, "jitter=-1"),
    ({"every": 60, "jitter": 86401}, "jitter=86401"),
    ({"every": 60, "jitter": 10**300}, "jitter=a huge number"),
    ({"every": 60, "run_on_startup": 1}, "run_on_startup"),
    ({"every": 60, "args": [1, 2, 3]}, "cannot be called like this"),
    ({"every": 60, "kwargs": {"y": 1}}, "unexpected keyword argument 'y'"),
    ({"every": 60, "args": ["seven"]}, "annotation int"),
    ({"every": 60, "args": {"x": 1}}, "args"),
    ({"every": 60, "kwargs": [1]}, "kwargs"),
    ({"every": 60, "kwargs": {"x": "y" * 60_000}}, "annotation int"),
]


@pytest.mark.parametrize(("body", "told"), NEW)
def test_a_schedule_that_cannot_work_is_422_with_the_reason(
    refusing: TestClient, body: dict[str, Any], told: str
) -> None:
    answer = refusing.post("/tasks/schedules", json={"name": "new", "task": "double", **body})

    assert answer.status_code == 422
    assert told in str(answer.json()["detail"])
    assert len(refusing.get("/tasks/schedules").json()["items"]) == 3


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "give at least one of cron, every, timezone"),
        ({"name": "other"}, "name"),
        ({"task": "double"}, "task"),
        *(rule for rule in RULES if rule[0]),
        *((body, told) for body, told in NEW if body.keys() - {"name", "task", "every", "cron"}),
    ],
)
def test_a_change_that_cannot_work_is_422_and_changes_nothing(
    refusing: TestClient, body: dict[str, Any], told: str
) -> None:
    before = refusing.get("/tasks/schedules/old").json()
    task = body.get("task")

    answer = refusing.patch("/tasks/schedules/old", json=body)

    assert answer.status_code == 422
    assert task or told in str(answer.json()["detail"])
    assert refusing.get("/tasks/schedules/old").json() == before


@pytest.mark.parametrize(
    ("body", "told"),
    [
        *RULES,
        ({"every": 60, "count": 0}, "count"),
        ({"every": 60, "count": 101}, "count"),
        ({"every": 60, "after": "soon"}, "after='soon': give a time"),
        ({"every": 60, "after": "2026-13-01"}, "give a time"),
        ({"every": 60, "after": "2026-01-01T00:00:00\x00"}, "give a time"),
        ({"every": 60, "after": "9" * 100}, "after"),
        ({"every": 60, "after": 5}, "after"),
    ],
)
def test_a_preview_of_what_cannot_work_is_422_with_the_reason(
    refusing: TestClient, body: dict[str, Any], told: str
) -> None:
    answer = refusing.post("/tasks/schedules/preview", json=body)

    assert answer.status_code == 422
    assert told in str(answer.json()["detail"])


RAW: list[tuple[bytes, int]] = [
    (b"", 422),
    (b"{", 422),
    (b"null", 422),
    (b"[]", 422),
    (b'{"every": 1e400, "jitter": 1e400, "name": "new", "task": "typed"}', 422),
    (b'{"every": NaN, "jitter": NaN, "name": "new", "task": "typed"}', 422),
    (b'{"every": 1' + b"0" * 5000 + b', "name": "new", "task": "typed"}', 422),
    (b'{"every": 60, "name": "\\ud800", "cron": "\\udfff"}', 422),
    (b'{"by": "\\ud800", "args": ["\\ud800"]}', 422),
    (b'{"name": "\xff", "by": "\xff"}', 422),
    (b'{"args": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 422),
    (b'{"kwargs": ' + b'{"x":' * 10_000 + b"1" + b"}" * 10_000 + b"}", 422),
    (b'{"cron": "' + b"*" * 70_000 + b'"}', 413),
]


@pytest.mark.parametrize(("content", "status"), RAW)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "schedules"),
        ("POST", "schedules/preview"),
        ("POST", "schedules/lunch/pause"),
        ("PATCH", "schedules/lunch"),
    ],
)
def test_a_body_that_is_nothing_of_the_kind_is_refused(
    refusing: TestClient, method: str, path: str, content: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}

    answer = refusing.request(method, f"/tasks/{path}", content=content, headers=headers)

    if path.endswith("pause") and not content:
        assert answer.status_code == 200  # it needs none
        refusing.post("/tasks/schedules/lunch/resume")
        return
    assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)
    assert refusing.get("/tasks/schedules/lunch").json()["changes"] is None


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=201", "?limit=x", f"?limit={'9' * 5000}", f"?after={'x' * 201}"],
)
def test_a_page_that_cannot_be_is_422(refusing: TestClient, query: str) -> None:
    assert refusing.get(f"/tasks/schedules{query}").status_code == 422


@pytest.mark.parametrize("query", ["?runs=0", "?runs=101", "?runs=1e3"])
def test_so_many_runs_are_422(refusing: TestClient, query: str) -> None:
    assert refusing.get(f"/tasks/schedules/lunch{query}").status_code == 422


def test_odd_cursors_are_names_like_any_other(refusing: TestClient) -> None:
    for cursor in ("%00", "%FF", "%F0%9F%8E%89", "a%2Fb"):
        assert refusing.get(f"/tasks/schedules?after={cursor}").status_code == 200


def test_a_form_cannot_make_a_schedule(refusing: TestClient) -> None:
    answer = refusing.post("/tasks/schedules", data={"name": "x"})

    assert answer.status_code == 415


# -- plans -----------------------------------------------------------------------------------------


async def test_plans_are_listed_by_time_and_cancelled_by_key(site: Planned) -> None:
    now = datetime.fromtimestamp(site.hands.now(), UTC)
    for hours, key in ((2, "auction/7:🎉 %"), (1, "auction:8"), (3, None)):
        await site.manager.schedule_once(
            site.double, hours, run_at=now + timedelta(hours=hours), run_key=key
        )
    plans = await site.get("/tasks/scheduled")
    first = await site.get("/tasks/scheduled?limit=1")
    path = f"/tasks/scheduled/{quote('auction/7:🎉 %', safe='')}"
    cancelled = await site.http.delete(path)
    again = await site.http.delete(path)
    nameless = await site.http.delete(f"/tasks/scheduled/{plans['items'][2]['task_id']}")

    assert [plan["run_key"] for plan in plans["items"]] == ["auction:8", "auction/7:🎉 %", None]
    assert plans["items"][0]["run_at"] == "2026-06-26T13:00:00.000000+00:00"
    assert (plans["items"][0]["task"], plans["more"]) == ("double", False)
    assert (len(first["items"]), first["more"]) == (1, True)
    assert (cancelled.status_code, nameless.status_code) == (204, 204)
    assert (again.status_code, "no plan waits" in again.json()["detail"]) == (404, True)
    assert (await site.get(f"/tasks/{plans['items'][1]['task_id']}"))["status"] == "cancelled"
    assert len((await site.get("/tasks/scheduled"))["items"]) == 1


@pytest.mark.parametrize(
    ("key", "status"), [("%00", 422), ("x" * 1000, 422), ("", 422), ("%FF", 404), ("a/b", 404)]
)
def test_a_key_that_is_none_is_refused(refusing: TestClient, key: str, status: int) -> None:
    answer = refusing.delete(f"/tasks/scheduled/{key}")

    assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)


# -- the schema ------------------------------------------------------------------------------------


async def test_the_schema_has_every_route_with_its_body_and_an_id_of_its_own(
    site: Planned,
) -> None:
    document = await site.get("/openapi.json")
    operations = {
        (method, path.removeprefix("/tasks/")): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/tasks/schedule")
    }

    assert {key: one["operationId"] for key, one in operations.items()} == {
        ("get", "schedules"): "tasks_schedules",
        ("post", "schedules"): "tasks_add_schedule",
        ("post", "schedules/preview"): "tasks_preview_schedule",
        ("get", "schedules/{name}"): "tasks_get_schedule",
        ("patch", "schedules/{name}"): "tasks_change_schedule",
        ("delete", "schedules/{name}"): "tasks_remove_schedule",
        ("post", "schedules/{name}/run"): "tasks_run_schedule",
        ("post", "schedules/{name}/pause"): "tasks_pause_schedule",
        ("post", "schedules/{name}/resume"): "tasks_resume_schedule",
        ("get", "scheduled"): "tasks_plans",
        ("delete", "scheduled/{run_key}"): "tasks_cancel_plan",
    }
    bodies = {
        key: (one["requestBody"]["required"], body_of(one))
        for key, one in operations.items()
        if "requestBody" in one
    }
    assert bodies[("post", "schedules/{name}/pause")] == (False, {"by"})
    assert bodies[("post", "schedules")][1] >= {"name", "task", "cron", "every", "args", "jitter"}
    assert bodies[("patch", "schedules/{name}")][1] >= {"cron", "every", "args", "overlap"}
    assert len(bodies) == 4
    assert "$defs" not in json.dumps([one.get("requestBody") for one in operations.values()])


def body_of(operation: dict[str, Any]) -> set[str]:
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return set(schema["properties"])
