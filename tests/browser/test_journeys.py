"""What people do with the dashboard, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.browser.conftest import PHONE, Open, Serve
from tests.browser.lively import Lively, serving

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser
PATH = "/tasks/dashboard"


def expect(locator: Any) -> Any:
    return playwright_api.expect(locator)


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> tuple[Lively, str]:
    """An app of its own, with nothing in it."""
    lively = Lively(tmp_path / "tasks.db")
    return lively, serve(lively.app)


def test_a_person_finds_a_failed_task_reads_why_and_runs_it_again(
    site: tuple[Lively, str], open_tab: Open
) -> None:
    lively, url = site
    tab = open_tab(f"{url}{PATH}")
    page = tab.page

    # An empty store teaches how to fill it.
    tab.go("")
    expect(page.locator(".sentence")).to_have_text("No task has been added yet.")
    expect(page.locator(".lesson")).to_contain_text("background_tasks.add_task")
    expect(page.locator("tf-lane")).to_have_count(3)

    # What happens is shown without a reload, and every number is a door.
    lively.add(lively.rise, 90)
    failed = lively.add(lively.charge_card, 8812, "12.50 EUR")
    expect(page.locator(".sentence")).to_contain_text("1 task failed")
    page.locator(".sentence a", has_text="1 task failed").click()
    assert "query=status%3Afailed" in page.url
    expect(page.locator(".rows-body .row")).to_have_count(1)
    page.locator(".rows-body a").click()
    assert page.url.endswith(f"/tasks/{failed}")
    expect(page.locator(".attempt pre").first).to_contain_text("ConnectionError: payment gateway")
    expect(page.locator(".trace")).to_contain_text("in charge_card")
    expect(page.locator("tf-logs")).to_contain_text("charging 12.50 EUR")
    expect(page).to_have_title("charge_card · Bakery")

    # It is run again as it is, and with other arguments as a task of its own.
    page.get_by_role("button", name="Run again").click()
    expect(page.locator(".attempt")).to_have_count(2)
    page.get_by_role("button", name="Run with other arguments").click()
    area = page.locator("dialog textarea")
    area.fill('{"args": [1], "kwargs": {}')
    expect(page.locator("dialog .bad")).to_contain_text("This is no JSON")
    area.fill('{"args": [1], "kwargs": {"amount": "99 EUR"}}')
    page.get_by_role("button", name="Add the task").click()
    expect(page.locator(".tree")).to_contain_text("99 EUR")
    assert failed not in page.url

    # A running one is cancelled, and the way back leads where one was.
    page.goto(f"{url}{PATH}/tasks?query=status:running")
    page.locator(".rows-body a").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".title .chip")).to_have_text("cancelled")
    page.go_back()
    expect(page.get_by_role("combobox")).to_have_value("status:running")
    expect(page.locator(".empty")).to_contain_text("No task matches")
    page.goto(f"{url}{PATH}/audit")
    expect(page.locator(".audit")).to_contain_text("cancel")


def test_everything_that_matches_is_run_again_or_discarded_after_a_look_at_it(
    site: tuple[Lively, str], open_tab: Open
) -> None:
    lively, url = site
    for order in range(12):
        lively.add(lively.charge_card, order, "1 EUR")
    lively.add(lively.say, "kept")
    tab = open_tab(f"{url}{PATH}")
    page = tab.go("/errors")

    expect(page.locator(".group")).to_have_count(1)
    page.get_by_role("button", name="Retry all").click()
    expect(page.locator("dialog .figure")).to_contain_text("12 tasks")
    expect(page.locator("dialog")).to_contain_text("bakery:charge_card")
    page.get_by_role("button", name="Keep as it is").click()
    tab.go("/dead?query=task:charge")
    expect(page.locator(".chips a").first).to_have_text("all 12")

    # The number has to be written first.
    page.locator("tf-dead").get_by_role("button", name="Discard").click()
    button = page.get_by_role("button", name="Discard 12 tasks")
    expect(button).to_be_disabled()
    page.locator("dialog input").fill("12")
    button.click()
    expect(page.locator(".toast")).to_contain_text("12 tasks discarded")
    expect(page.locator(".rows-body .row")).to_have_count(0)
    assert httpx.get(f"{url}/tasks").json()["items"][0]["func_name"] == "bakery:say"


def test_the_keyboard_is_enough(bakery: tuple[Lively, str], open_tab: Open) -> None:
    tab = open_tab(f"{bakery[1]}{PATH}")
    page = tab.go("")
    press = page.keyboard.press

    press("g")
    press("t")
    tab.ready()
    assert page.url.endswith("/dashboard/tasks")
    press("/")
    page.keyboard.type("status:fai")
    page.locator("#query-offers li").first.wait_for()
    press("ArrowDown")
    press("Enter")
    expect(page.get_by_role("combobox")).to_have_value("status:failed ")
    page.wait_for_url("**/tasks?query=status%3Afailed")
    press("Escape")
    press("Escape")
    expect(page.locator(".chips a.failed")).to_have_attribute("aria-current", "true")
    rows = page.locator(".rows-body .row")
    expect(rows.first.locator(".chip")).to_have_text("failed")
    press("j")
    press("j")
    press("k")
    press("x")
    expect(rows.first).to_have_class(re.compile("picked"))
    expect(page.locator(".acts")).to_contain_text("1 task selected")
    press("x")
    press("Enter")
    expect(page.locator(".title .chip")).to_have_text("failed")
    press("Escape")
    expect(page.locator(".rows")).to_be_visible()
    press("?")
    expect(page.get_by_role("dialog")).to_contain_text("to the query bar")
    press("Escape")
    for key, path in {"e": "errors", "l": "lanes", "s": "schedules", "d": "dead"}.items():
        press("g")
        press(key)
        page.wait_for_url(f"**/dashboard/{path}")


def test_a_query_narrows_the_list_and_a_wrong_one_says_what_is_possible(
    bakery: tuple[Lively, str], open_tab: Open
) -> None:
    tab = open_tab(f"{bakery[1]}{PATH}")
    page = tab.go("/tasks?query=task:send_* tag:team=blue".replace(" ", "%20"))
    names = page.locator(".c-task a")

    assert set(names.all_inner_texts()) == {"send_invoice"}
    link = page.get_by_role("link", name="CSV")
    export = httpx.get(f"{bakery[1]}{link.get_attribute('href')}")
    assert export.text.count("bakery:send_invoice") == names.count()

    tab.expected = ["422"]
    page.get_by_role("combobox").fill("colour:red")
    expect(page.locator(".query-help")).to_contain_text("colour")
    page.get_by_role("combobox").fill("task:slice status:pending")
    expect(names.first).to_have_text("slice")
    expect(page.locator(".query-help")).to_have_text("")


def test_rows_change_as_tasks_do_and_stand_still_while_paused(
    site: tuple[Lively, str], open_tab: Open
) -> None:
    lively, url = site
    first = lively.add(lively.rise, 90)
    tab = open_tab(f"{url}{PATH}")
    page = tab.go("/tasks")
    row = page.locator(f".row[data-id='{first}']")
    expect(row.locator(".chip")).to_have_text("running")
    before = row.bounding_box()
    expect(row.locator(".reason")).to_contain_text("dough")
    after = row.bounding_box()
    assert (before["y"], before["height"]) == (after["y"], after["height"])

    page.get_by_role("button", name="Pause").click()
    second = lively.add(lively.say, "while nobody looks")
    expect(page.locator("#live")).to_contain_text("new")
    expect(page.locator(f".row[data-id='{second}']")).to_have_count(0)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(f".row[data-id='{second}'] .chip")).to_have_text("success")

    httpx.post(f"{url}/tasks/{first}/cancel", timeout=30)
    expect(row.locator(".chip")).to_have_text("cancelled")


def test_ten_thousand_rows_are_few_nodes(bakery: tuple[Lively, str], open_tab: Open) -> None:
    tab = open_tab(f"{bakery[1]}{PATH}")
    page = tab.go("/lanes")
    longest = page.evaluate(
        """async () => {
          const rows = document.createElement("tf-rows");
          document.getElementById("main").replaceChildren(rows);
          rows.show(Array.from({length: 10_000}, (_, i) => ({task_id: `t${i}`, func_name: "a:b",
            status: "success", lane: "io", created_at: "2026-11-22T10:00:00Z", tags: {}})));
          const frame = () => new Promise((done) => requestAnimationFrame(done));
          let longest = 0;
          for (let y = 0; y < 370_000; y += 9_000) {
            scrollTo(0, y);
            await frame();
            const began = performance.now();
            await frame();
            longest = Math.max(longest, document.querySelectorAll(".rows-body .row").length);
          }
          return longest;
        }"""
    )

    assert 20 < longest < 80
    assert page.locator(".rows-body .row").last.get_attribute("data-id") == "t9999"


def test_who_may_only_look_sees_no_button_that_changes_something(
    tmp_path: Path, serve: Serve, open_tab: Open
) -> None:
    lively = Lively(tmp_path / "tasks.db", auth=[("ada", "pw"), ("bob", "pw", "view")])
    url = serve(lively.app)
    failed = lively.add(lively.charge_card, 1, "1 EUR")
    credentials = {"username": "bob", "password": "pw"}
    tab = open_tab(f"{url}{PATH}", http_credentials=credentials)
    writes = re.compile("^(Run|Retry|Cancel|Discard|Pause|Resume|Set|Limits)")

    for path in ("/tasks", "/errors", "/lanes", "/schedules", "/dead", f"/tasks/{failed}"):
        page = tab.go(path)
        expect(page.locator("#facts")).to_contain_text("you may look only")
        found = page.locator("main").get_by_role("button", name=writes)
        assert found.all_inner_texts() == [], path
        assert page.locator("main input[type=checkbox]").count() == 0


def test_lanes_queues_and_schedules_are_steered_from_their_pages(
    site: tuple[Lively, str], open_tab: Open
) -> None:
    _, url = site
    tab = open_tab(f"{url}{PATH}")
    page = tab.go("/lanes")
    lane = page.locator(".with-tools").nth(1)

    lane.get_by_role("button", name="Pause").click()
    expect(lane.locator(".why")).to_contain_text("Paused")
    lane.get_by_role("button", name="Resume").click()
    expect(lane.locator(".why")).to_contain_text("Nothing waits")
    lane.get_by_role("button", name="Set slots").click()
    page.locator("dialog input").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(lane.locator(".busy")).to_contain_text("of 3 busy")

    tab.go("/schedules")
    schedule = page.locator(".schedule").first
    schedule.get_by_role("button", name="Pause").click()
    expect(schedule.locator(".chip").first).to_have_text("paused")
    schedule.get_by_role("button", name="Run now").click()
    expect(schedule.locator(".run.success")).to_have_count(1)


@pytest.mark.parametrize("root_path", ["", "/behind/a/proxy"])
def test_it_works_in_a_mounted_app_and_behind_a_prefix(
    tmp_path: Path, serve: Serve, open_tab: Open, root_path: str
) -> None:
    lively = Lively(tmp_path / "tasks.db")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with lively.app.router.lifespan_context(lively.app):
            yield

    outer = FastAPI(lifespan=lifespan)
    outer.mount(f"{root_path}/inner", lively.app)

    url = serve(outer)
    task = lively.add(lively.say, "hello")
    tab = open_tab(f"{url}{root_path}/inner{PATH}", viewport=PHONE)
    page = tab.go("/")
    page.locator("#nav").get_by_role("link", name="Tasks").click()
    page.locator(".rows-body a").click()
    expect(page.locator(".title")).to_contain_text("say")
    assert page.url == f"{url}{root_path}/inner{PATH}/tasks/{task}"
    page.reload()
    expect(page.locator(".title")).to_contain_text("say")


def test_the_page_says_when_the_app_is_gone_and_goes_on_when_it_is_back(
    tmp_path: Path, open_tab: Open
) -> None:
    lively = Lively(tmp_path / "tasks.db")
    with serving(lively.app) as url:
        lively.add(lively.say, "hello")
        tab = open_tab(f"{url}{PATH}")
        page = tab.go("/tasks")
        tab.expected = ["ERR_", "Failed to load resource"]

    expect(page.locator("#live")).to_have_class(re.compile("off"))
    expect(page.locator(".rows-body .row")).to_have_count(1)

    again = Lively(tmp_path / "tasks.db")
    with serving(again.app, int(url.rpartition(":")[2])):
        added = again.add(again.say, "hello again")
        expect(page.locator("#live")).to_have_text("live")
        expect(page.locator(f".row[data-id='{added}']")).to_have_count(1)
