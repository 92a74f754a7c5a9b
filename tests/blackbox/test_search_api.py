"""The query bar, counts, kinds of errors, bulk actions and exports, as a client sees them."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import random
import string
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from taskflow import TaskManager
from taskflow.admin import bulk, export
from tests.apps.site import Site


class Search(Site):
    """A site with tasks that fail in several ways."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)

        @self.manager.task(name="shop:charge", queue="money", priority=-3)
        async def charge(amount: float, password: str = "", note: str = "") -> float:
            if amount < 0:
                raise ValueError(f"=cmd {amount} is less than 0")
            return amount + len(password)

        self.charge = charge

    async def add_failed(self, *amounts: float) -> list[str]:
        ids = [await self.add(self.charge, amount=amount) for amount in amounts]
        for task_id in ids:
            await self.until(task_id, "failed")
        return ids

    async def post(self, path: str, status: int = 200, **body: Any) -> Any:
        answer = await self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def found(self, query: str) -> list[str]:
        page = await self.http.get("/tasks", params={"query": query})
        assert page.status_code == 200, page.text
        return [task["task_id"] for task in page.json()["items"]]

    async def bulk(self, action: str, query: str) -> Any:
        """What is done by an order that follows a preview."""
        seen = await self.post("/tasks/bulk/preview", action=action, query=query)
        return await self.post("/tasks/bulk", action=action, query=query, expected=seen["count"])


def done(number: int, **others: int) -> dict[str, Any]:
    """The answer to an order that was obeyed."""
    nothing = {"asked": 0, "unknown": 0, "skipped": 0, "left": 0, "complete": True}
    return {"done": number, **nothing, **others}


@pytest.fixture
async def site(db_path: Path) -> AsyncIterator[Search]:
    site = Search(db_path)
    async with site.serve():
        yield site


# -- looking -------------------------------------------------------------------------------------


async def test_a_query_finds_tasks_counts_them_and_may_be_combined(site: Search) -> None:
    failed = await site.add_failed(-1, -2)
    good = await site.add(site.charge, amount=1)
    await site.until(good, "success")

    assert await site.found("status:failed task:charge") == failed[::-1]
    assert await site.found("-status:failed queue:money") == [good]
    params = {"query": "task:charge", "status": "success", "q": "shop"}
    page = (await site.http.get("/tasks", params=params)).json()
    assert [task["task_id"] for task in page["items"]] == [good]
    assert (page["next_cursor"], page["searched_to"]) == (None, None)
    counts = await site.get("/tasks/counts?query=task:charge%20status:failed")
    assert (counts["total"], counts["complete"]) == (3, True)
    assert (counts["counts"]["failed"], counts["counts"]["success"]) == (2, 1)
    assert (await site.get("/tasks/counts"))["total"] == 3


async def test_a_wrong_query_is_refused_with_what_is_possible(site: Search) -> None:
    for path in ("/tasks", "/tasks/counts", "/tasks/export"):
        answer = await site.http.get(path, params={"query": "colour:red"})
        assert answer.status_code == 422
        assert "task:send_*" in answer.json()["detail"]


async def test_no_query_makes_a_server_error(site: Search) -> None:
    await site.add_failed(-1)
    draw = random.Random(3)
    letters = string.printable + "\0é\u202e'\"%_*?:<>-" * 5
    for number in range(200):
        size = 10_000 if number % 40 == 0 else draw.choice((2, 10, 60))
        text = "".join(draw.choices(letters, k=size))
        for path in ("/tasks", "/tasks/counts", "/tasks/export"):
            answer = await site.http.get(path, params={"query": text})
            assert answer.status_code in {200, 422}, (path, text)
    body = b'{"action": "retry", "query": "\\ud800"}'
    kind = {"Content-Type": "application/json"}
    answer = await site.http.post("/tasks/bulk/preview", content=body, headers=kind)
    assert answer.status_code == 422


async def test_q_is_a_part_of_the_name_or_the_beginning_of_an_id(site: Search) -> None:
    (failed,) = await site.add_failed(-1)
    quick = await site.add(site.quick)
    await site.until(quick, "success")

    for q, found in {"Charg": [failed], quick[:-1]: [quick], "less than": [], "%": []}.items():
        for query in ("", "attempt:1"):
            params = {"q": q, "query": query}
            page = (await site.http.get("/tasks", params=params)).json()
            assert [task["task_id"] for task in page["items"]] == found, params


async def test_a_search_for_q_is_bounded_and_says_how_far_it_came(
    site: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.add_failed(-1, -2, -3, -4)
    monkeypatch.setattr(site.manager.engine.store.search, "_first", 1)
    monkeypatch.setattr(site.manager.engine.store.search, "_page_time", 0.0)

    page = await site.get("/tasks?q=nothing")
    assert page["items"] == []
    assert page["searched_to"] is not None
    assert page["next_cursor"] is not None


async def test_no_search_gives_a_secret_away(site: Search) -> None:
    @site.manager.task(name="shop:pay")
    async def pay() -> None:
        raise ValueError("no: password=hunter2 for x")

    tags = {"password": "hunter2", "team": "blue"}
    task_id = await site.add(pay, tags=tags, idempotency_key="token=hunter2")
    await site.until(task_id, "failed")

    async def count(query: str) -> tuple[int, int, int, int]:
        seen = await site.post("/tasks/bulk/preview", action="retry", query=query)
        rows = await site.http.get("/tasks/export", params={"query": query, "format": "ndjson"})
        counts = (await site.http.get("/tasks/counts", params={"query": query})).json()
        found = await site.found(query)
        return len(found), seen["count"], len(rows.text.splitlines()), counts["total"]

    good = ['error:"*password=* for x"', 'error:"FOR X"', '"for x"', "tag:team=blue", "tag:team"]
    bad = [
        *(
            'error:"*password=h*"',
            "error:hunter2",
            '"password=h"',
            'error:"*password=??????? for x"',
        ),
        *("tag:password=hunter2", "tag:hunter2", "key:token=hunter2", 'key:"token=h*"'),
        # Nor by the letters of what is shown instead.
        *('error:"*password=*e* for x"', 'error:"*[redacted]*"', '"password=h*"'),
    ]
    for query in good:
        assert await count(query) == (1, 1, 1, 1), query
        assert await count(f"task:pay -{query}") == (0, 0, 0, 0), query
    for query in bad:
        assert await count(query) == (0, 0, 0, 0), query
        assert await count(f"task:pay -{query}") == (1, 1, 1, 1), query


async def test_a_list_has_no_traces_and_only_the_beginning_of_a_long_error(site: Search) -> None:
    @site.manager.task(name="shop:long")
    async def long() -> None:
        raise ValueError("x" * 450 + " postgres://user:" + "hunter2" * 1000 + "@db/x")

    task_id = await site.add(long)
    task = await site.until(task_id, "failed")
    assert task["stacktrace"] is not None

    for params in ({}, {"query": "status:failed"}):
        (listed,) = (await site.http.get("/tasks", params=params)).json()["items"]
        assert listed["stacktrace"] is None
        assert len(listed["error"]) <= 500
        assert "hunter" not in listed["error"]


async def test_names_for_a_query_are_those_that_this_instance_knows(site: Search) -> None:
    names = await site.get("/tasks/names")

    assert "shop:charge" in names["tasks"]
    assert {"default", "money"} <= set(names["queues"])
    assert names["lanes"] == ["async", "io", "cpu"]
    assert "interrupted" in names["statuses"]


async def test_failures_are_grouped_and_lead_to_their_tasks(site: Search) -> None:
    failed = await site.add_failed(-1, -2, -3)
    flaky = await site.add(site.flaky)
    await site.until(flaky, "failed")

    other, group = (await site.get("/tasks/errors"))["items"]

    assert (group["count"], group["func_name"]) == (3, "shop:charge")
    assert group["sample_task_id"] == failed[-1]
    assert group["error"] == "ValueError: =cmd -3 is less than 0"
    assert (len(group["trend"]), sum(group["trend"])) == (24, 3)
    assert other["count"] == 1
    assert await site.found(f"fingerprint:{group['fingerprint']}") == failed[::-1]


# -- bulk ----------------------------------------------------------------------------------------


async def test_a_preview_tells_what_would_happen_and_changes_nothing(site: Search) -> None:
    failed = await site.add_failed(-1, -2)

    seen = await site.post("/tasks/bulk/preview", action="discard", query="task:charge")

    assert (seen["count"], seen["complete"], seen["cap"]) == (2, True, 1000)
    assert seen["tasks"] == {"shop:charge": 2}
    assert seen["oldest"] <= seen["newest"]
    assert len(await site.found("status:failed")) == len(failed)
    seen = await site.post("/tasks/bulk/preview", action="cancel", query="task:charge")
    assert (seen["count"], seen["oldest"]) == (0, None)


async def test_what_matches_is_retried_and_nothing_else(site: Search) -> None:
    failed = await site.add_failed(-1, -2, -3)
    good = await site.add(site.quick)
    await site.until(good, "success")

    assert await site.bulk("retry", "status:failed") == done(3)

    for task_id in failed:
        await site.get_until(f"/tasks/{task_id}", lambda task: task["attempts"] == 2)
    assert (await site.get(f"/tasks/{good}"))["attempts"] == 1


async def test_what_waits_and_what_runs_is_cancelled(site: Search) -> None:
    held = [await site.add(site.held) for _ in range(5)]
    await site.until(held[0], "running")

    answer = await site.bulk("cancel", "task:held")

    # Those that were only told to end match until they have.
    assert answer == done(5, asked=answer["asked"], left=answer["asked"])
    for task_id in held:
        await site.until(task_id, "cancelled")


async def test_what_is_discarded_is_gone(site: Search) -> None:
    failed = await site.add_failed(-1, -2)

    assert (await site.bulk("discard", "status:failed"))["done"] == 2

    assert (await site.http.get(f"/tasks/{failed[0]}")).status_code == 404
    assert (await site.bulk("discard", "status:failed"))["done"] == 0


async def test_a_call_does_no_more_than_its_cap_and_says_what_is_left(
    site: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CAP", 3)
    monkeypatch.setattr(bulk, "BATCH", 2)
    await site.add_failed(-1, -2, -3, -4, -5)

    assert await site.bulk("discard", "status:failed") == done(3, left=2)
    assert await site.bulk("discard", "status:failed") == done(2)


async def test_an_order_is_refused_if_other_tasks_match_than_in_the_preview(site: Search) -> None:
    await site.add_failed(-1)

    order: dict[str, Any] = {"action": "retry", "query": "status:failed"}
    answer = await site.post("/tasks/bulk", 409, **order, expected=50)
    assert "1 tasks match now, and 50 were expected" in answer["detail"]
    await site.post("/tasks/bulk", **order, expected=11)


async def test_an_order_after_an_incomplete_count_is_not_refused_for_another_number(
    site: Search,
) -> None:
    await site.add_failed(-1)

    order: dict[str, Any] = {"action": "discard", "query": "status:failed", "expected": 50}
    await site.post("/tasks/bulk", 409, **order, complete=True)
    assert await site.post("/tasks/bulk", **order, complete=False) == done(1)


async def test_what_is_left_of_unknown_functions_can_be_expected_by_the_next_order(
    site: Search,
) -> None:
    await site.add_failed(*range(-12, 0))
    other = TaskManager(site.manager.settings.db)
    async with other:
        answer = await bulk.run(other.engine, "retry", "status:failed", 12)
        assert answer.model_dump() == done(0, unknown=12, left=12)
        again = await bulk.run(other.engine, "retry", "status:failed", answer.left)
    assert again == answer


@pytest.mark.parametrize(
    "body",
    [
        {"action": "retry", "query": ""},
        {"action": "retry", "query": "   "},
        {"action": "burn", "query": "status:failed"},
        {"action": "retry", "query": "colour:red"},
        {"action": "retry", "query": "x" * 20_000},
        {"action": "retry"},
    ],
)
async def test_an_order_without_a_proper_query_is_refused(
    site: Search, body: dict[str, Any]
) -> None:
    await site.post("/tasks/bulk/preview", 422, **body)
    await site.post("/tasks/bulk", 422, **body, expected=0)


async def test_two_instances_that_are_given_the_same_order_do_it_once(site: Search) -> None:
    failed = await site.add_failed(*range(-30, 0))
    other = TaskManager(site.manager.settings.db)
    other.task(name="shop:charge")(site.charge)
    async with other:
        orders = [
            bulk.run(engine, "discard", "status:failed", len(failed))
            for engine in (site.manager.engine, other.engine)
        ]
        found = await asyncio.gather(*orders, return_exceptions=True)

    # Whoever comes too late may also be told that everything has changed.
    assert sum(one.done for one in found if not isinstance(one, BaseException)) == 30


# -- one task ------------------------------------------------------------------------------------


async def test_a_retry_with_arguments_adds_a_new_task_and_leaves_the_old(site: Search) -> None:
    (failed,) = await site.add_failed(-1)

    new = await site.post(f"/tasks/{failed}/retry", 201, args=[5], kwargs={"note": "n"})

    assert new["task_id"] != failed
    assert (new["queue"], new["priority"], new["source"]) == ("money", -3, "retry")
    task = await site.until(new["task_id"], "success")
    assert (task["result"], task["arguments"]) == (5.0, {"args": [5], "kwargs": {"note": "n"}})
    assert (await site.get(f"/tasks/{failed}"))["status"] == "failed"


async def test_what_was_hidden_in_the_arguments_is_put_back(site: Search) -> None:
    task_id = await site.add(site.charge, amount=-1, password="four")
    task = await site.until(task_id, "failed")
    kwargs = task["arguments"]["kwargs"]
    assert kwargs["password"] == "[redacted]"

    new = await site.post(f"/tasks/{task_id}/retry", 201, kwargs={**kwargs, "amount": 1})

    assert (await site.until(new["task_id"], "success"))["result"] == 5.0
    moved = {"amount": 1, "note": "[redacted]"}
    assert "hidden" in (await site.post(f"/tasks/{task_id}/retry", 422, kwargs=moved))["detail"]


async def test_a_list_with_hidden_items_cannot_change_its_length(site: Search) -> None:
    @site.manager.task(name="shop:dial")
    async def dial(urls: list[str]) -> list[str]:
        return urls

    urls = [f"postgres://user:hunter{number}@db" for number in range(3)]
    task_id = await site.add(dial, urls=urls)
    shown = (await site.until(task_id, "success"))["arguments"]["kwargs"]["urls"]

    path = f"/tasks/{task_id}/retry"
    answer = await site.post(path, 422, kwargs={"urls": shown[1:]})
    assert "3" in answer["detail"]
    await site.post(path, 201, kwargs={"urls": ["sqlite://", *shown[1:]]})
    await site.post(path, 201, kwargs={"urls": ["sqlite://"]})


async def test_a_long_argument_is_cut_after_its_secrets_were_hidden(site: Search) -> None:
    note = "x" * 1985 + " ghp_hunter2secretpasshunter2secretpass"
    task_id = await site.add(site.charge, amount=1, note=note)

    shown = (await site.until(task_id, "success"))["arguments"]["kwargs"]["note"]
    assert "hunter" not in shown
    assert len(shown) < 2100
    kwargs = {"amount": 2, "note": shown}
    new = await site.post(f"/tasks/{task_id}/retry", 201, kwargs=kwargs)
    stored = await site.manager.engine.store.get(new["task_id"])
    assert stored is not None
    assert note in stored.args


@pytest.mark.parametrize(
    "body", [{"kwargs": {"y": 1}}, {"args": ["no number"]}, {"args": 5}, {"colour": "red"}]
)
async def test_arguments_that_do_not_fit_are_refused(site: Search, body: dict[str, Any]) -> None:
    (failed,) = await site.add_failed(-1)

    await site.post(f"/tasks/{failed}/retry", 422, **body)
    assert len(await site.found("task:charge")) == 1


async def test_an_empty_object_is_a_plain_retry(site: Search) -> None:
    (failed,) = await site.add_failed(-1)

    assert (await site.post(f"/tasks/{failed}/retry"))["task_id"] == failed
    await site.get_until(f"/tasks/{failed}", lambda task: task["attempts"] == 2)


async def test_only_a_final_task_can_be_discarded(site: Search) -> None:
    held = await site.add(site.held)
    (failed,) = await site.add_failed(-1)

    await site.post(f"/tasks/{held}/discard", 409)
    await site.post(f"/tasks/{failed}/discard", 204)
    await site.post(f"/tasks/{failed}/discard", 404)


# -- export --------------------------------------------------------------------------------------


async def test_an_export_is_a_download_of_what_matches(
    site: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 2)
    failed = await site.add_failed(-1, -2, -3, -4, -5)
    await site.add(site.quick)

    answer = await site.http.get("/tasks/export?query=status:failed")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert answer.headers["content-disposition"] == 'attachment; filename="tasks.csv"'
    assert [row["task_id"] for row in rows] == failed[::-1]
    answer = await site.http.get("/tasks/export?query=status:failed&format=ndjson")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["task_id"] for line in lines] == failed[::-1]
    assert (await site.http.get("/tasks/export?format=xml")).status_code == 422


async def test_an_export_ends_at_its_limit(site: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MOST_ROWS", 3)
    monkeypatch.setattr(export, "PAGE", 2)
    await site.add_failed(-1, -2, -3, -4, -5)

    answer = await site.http.get("/tasks/export?format=ndjson")
    assert len(answer.text.splitlines()) == 3


async def test_no_cell_is_a_formula_and_no_secret_goes_out(site: Search) -> None:
    @site.manager.task(name="=evil()")
    async def evil() -> None:
        raise ValueError("password=hunter22")

    task_id = await site.add(evil, idempotency_key="@SUM(1)")
    await site.until(task_id, "failed")

    for form in ("csv", "ndjson"):
        answer = await site.http.get(f"/tasks/export?format={form}")
        assert "hunter22" not in answer.text
    rows = list(csv.reader(io.StringIO((await site.http.get("/tasks/export")).text, newline="")))
    assert "'=evil()" in rows[1]
    assert "'@SUM(1)" in rows[1]
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@", "\t"))]


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", " =1+1", "\u00a0=1", "\ufeff=1", "\uff1d1+1", "\x00=1", "\x0b=1", "\u3164@x"),
        *("\u200b\t -1", "\r=1", "\tx", "\uff20x", "\ufe62x"),
    ],
)
def test_what_a_spreadsheet_would_calculate_is_a_plain_cell(text: str) -> None:
    assert export._cell(text) != text
    assert str(export._cell(text)).startswith(("'", "\u200b\t'"))
    if "\t" not in text:
        assert export._cell(f"x;{text};y") == f"x;'{text};y"


def test_an_ordinary_cell_stays_as_it_is() -> None:
    for value in ("a=1", "x; y", "1 - 2", "", None, -3, 1.5):
        assert export._cell(value) == value


async def test_an_export_ends_when_the_client_goes_away(
    site: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 1)
    await site.add_failed(*range(-20, 0))
    gone = asyncio.Event()
    sent = 0
    requests = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        for request in requests:
            return request
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal sent
        sent += len(message.get("body", b"").splitlines())
        if sent >= 3:
            gone.set()

    scope = request_scope("/tasks/export", b"format=ndjson")
    await asyncio.wait_for(site.app(scope, receive, send), 10)

    assert 3 <= sent < 10


def request_scope(path: str, query: bytes) -> dict[str, Any]:
    """A request as a server hands it over."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"localhost:8000")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
