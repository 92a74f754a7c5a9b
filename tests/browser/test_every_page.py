"""Every page of the dashboard, in both themes and at two widths: whole, quiet and for everybody."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.browser.conftest import DESKTOP, PHONE, Open
from tests.browser.lively import Lively

axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")

pytestmark = pytest.mark.browser

#: In another theme only colours are others; what does the judging is in the page by then.
COLOURS = """async () => (await axe.run(document,
  {runOnly: ["color-contrast"], resultTypes: ["violations"]})).violations"""
PAGES = ["", "/tasks", "/errors", "/lanes", "/schedules", "/dead", "/audit", "/system"]


def some_tasks(url: str) -> list[str]:
    """Paths of tasks that each have something else to show."""
    found = []
    for query in ("status:failed task:sync_crm", "status:success", "status:pending", "task:rise"):
        answer = httpx.get(f"{url}/tasks", params={"query": query, "limit": 1}).json()
        found.append(f"/tasks/{answer['items'][0]['task_id']}")
    return found


@pytest.mark.parametrize(
    ("size", "share"),
    [
        # Each page at one of the widths, and at both where there is time for it.
        pytest.param(DESKTOP, slice(0, None, 2), id="desktop"),
        pytest.param(PHONE, slice(1, None, 2), id="phone"),
        pytest.param(DESKTOP, slice(1, None, 2), id="desktop, the others", marks=pytest.mark.slow),
        pytest.param(PHONE, slice(0, None, 2), id="phone, the others", marks=pytest.mark.slow),
    ],
)
def test_no_page_has_a_fault_in_either_theme(
    bakery: tuple[Lively, str], open_tab: Open, size: dict[str, int], share: slice
) -> None:
    url = bakery[1]
    tab = open_tab(f"{url}/tasks/dashboard", viewport=size)
    faults: dict[str, Any] = {}

    def judge(path: str, violations: list[dict[str, Any]]) -> None:
        for fault in violations:
            nodes = [node["html"] for node in fault["nodes"]]
            faults[f"{path} {fault['id']}"] = (fault["help"], nodes[:3])

    for path in (PAGES + some_tasks(url))[share]:
        page = tab.page
        page.emulate_media(color_scheme="light")
        tab.go(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
        judge(path, axe_api.Axe().run(page).response["violations"])
        page.emulate_media(color_scheme="dark")
        judge(f"{path} dark", page.evaluate(COLOURS))

    assert faults == {}


def test_a_dialog_a_menu_and_completion_have_no_fault_either(
    bakery: tuple[Lively, str], open_tab: Open
) -> None:
    tab = open_tab(f"{bakery[1]}/tasks/dashboard", viewport=PHONE)
    page = tab.go("/tasks")

    def judge() -> None:
        assert axe_api.Axe().run(page).response["violations"] == []

    page.get_by_role("button", name="More").click()
    judge()
    page.get_by_role("combobox", name="Filter tasks").click()
    page.locator("#query-offers li").first.wait_for()
    judge()
    page.keyboard.press("Escape")
    page.goto(f"{tab.dashboard}{some_tasks(bakery[1])[0]}")
    page.get_by_role("button", name="Run with other arguments").click()
    page.locator("dialog textarea").wait_for()
    judge()


def test_the_theme_and_the_clock_are_remembered(bakery: tuple[Lively, str], open_tab: Open) -> None:
    tab = open_tab(f"{bakery[1]}/tasks/dashboard", color_scheme="light", timezone_id="Asia/Tokyo")
    page = tab.go("/audit")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(247, 247, 245)"

    page.get_by_role("button", name="Dark").click()
    page.get_by_role("button", name="Local").click()
    tab.go(some_tasks(bakery[1])[1])

    assert page.evaluate(paper) == "rgb(18, 20, 23)"
    assert page.locator(".pairs tf-time").first.inner_text().endswith("UTC")


def test_without_motion_nothing_moves(bakery: tuple[Lively, str], open_tab: Open) -> None:
    tab = open_tab(f"{bakery[1]}/tasks/dashboard", reduced_motion="reduce")
    page = tab.go("/tasks")
    row = page.locator(".rows-body .row").first
    row.evaluate("node => node.classList.add('changed')")

    assert row.evaluate("node => getComputedStyle(node).animationName") == "none"
