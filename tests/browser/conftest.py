"""Chromium for the tests of the dashboard, and a watch over everything that goes wrong in it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from executors import ProcessLane
from tests.browser.lively import Lively, serving

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

#: Milliseconds that the page may take to show something on a busy machine.
PATIENCE = 30_000
#: Notes what the policy of the page forbids, before anything of the page runs.
_WATCH = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


class Tab:
    """A page and what went wrong in it; ``expected`` are parts of messages that may come."""

    def __init__(self, page: Any, dashboard: str) -> None:
        self.page = page
        self.dashboard = dashboard
        self.trouble: list[str] = []
        self.expected: list[str] = []
        page.on("console", lambda message: self._note(f"{message.text} {message.location}"))
        page.on("pageerror", lambda error: self._note(f"{error}\n{error.stack}"))
        page.on("dialog", self._refuse)
        page.on("popup", lambda popup: self._note(f"opened {popup.url}"))

    def _refuse(self, dialog: Any) -> None:
        self._note(f"said {dialog.message}")
        dialog.dismiss()

    def _note(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.trouble.append(text)

    def go(self, path: str) -> Any:
        """Open ``path`` of the dashboard and wait until it is there and live."""
        self.page.goto(f"{self.dashboard}{path}")
        self.ready()
        return self.page

    def ready(self) -> None:
        self.page.locator("main > [data-ready]").wait_for(state="attached")
        self.page.locator(".live.on").wait_for()


Open = Callable[..., Tab]
Serve = Callable[[FastAPI], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve an app until the end of the test, when no tab is open any more; gives its address."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(serving(app))


@pytest.fixture
def chromium(chromium_path: str) -> Iterator[Any]:
    """A Chromium. One for more tests would keep an event loop running beside theirs."""
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_tab(chromium: Any, serve: Serve) -> Iterator[Open]:
    """Open a tab on a dashboard; at the end nothing may have gone wrong in any."""
    tabs: list[Tab] = []
    contexts: list[Any] = []

    def opened(dashboard: str, **options: Any) -> Tab:
        context = chromium.new_context(**{"viewport": DESKTOP, **options})
        context.set_default_timeout(PATIENCE)
        context.add_init_script(_WATCH)
        contexts.append(context)
        tab = Tab(context.new_page(), dashboard)

        def refuse(route: Any) -> None:
            tab.trouble.append(f"asked for {route.request.url}")
            route.abort()

        host = re.match(r"https?://[^/]+/", f"{dashboard}/")
        assert host is not None
        context.route(lambda url: not url.startswith(host[0]), refuse)
        tabs.append(tab)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert [tab.trouble for tab in tabs if tab.trouble] == []


@pytest.fixture(scope="session")
def bakery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lively, str]]:
    """A served app with tasks in all states: the app and its address. Tests only read it."""
    lively = Lively(Path(tmp_path_factory.mktemp("bakery")) / "tasks.db")
    with serving(lively.app) as url:
        lively.call(lively.fill(2))
        # A worker that starts later, beside a test, would count as left behind by that test.
        until = time.monotonic() + PATIENCE / 1000
        lane = lively.manager.engine.lanes["cpu"]
        assert isinstance(lane, ProcessLane)
        while len(lane.workers()) < 2:
            assert time.monotonic() < until, "the spare worker process does not start"
            time.sleep(0.05)
        yield lively, url
