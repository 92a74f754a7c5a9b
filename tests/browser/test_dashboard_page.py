"""The dashboard in a real browser."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from taskflow import TaskAdmin, TaskManager, task_log

async_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

pytestmark = pytest.mark.browser
#: Milliseconds that the page may take to show something on a busy machine.
PATIENCE = 30_000
POISON = '<img src=x onerror="document.title=1"></script>\u202e'


class Site:
    """An app on a port of this machine."""

    def __init__(self, path: Path) -> None:
        self.app = FastAPI()
        self.manager = TaskManager(path, io_workers=2, cpu_workers=1, shutdown_grace=0.2)
        TaskAdmin(self.app, self.manager, title="Bakery")
        self.broken = True
        self.release = asyncio.Event()

        @self.manager.task(name="bakery:bake")
        async def bake(what: str) -> str:
            task_log(f"baking {what}", level="warning")
            if self.broken:
                raise ValueError(f"burnt {what}")
            return what

        @self.manager.task(name="bakery:rise")
        async def rise() -> None:
            await self.release.wait()

        self.bake, self.rise = bake, rise

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = uvicorn.Server(uvicorn.Config(self.app, log_level=logging.ERROR))
            serving = asyncio.create_task(server.serve([listener]))
            try:
                while not server.started:
                    assert not serving.done(), "the server did not start"
                    await asyncio.sleep(0.01)
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                await serving


@asynccontextmanager
async def browser_page(chromium: str, **options: Any) -> AsyncIterator[tuple[Any, list[str]]]:
    """A page, and everything that went wrong in it."""
    trouble: list[str] = []
    async with async_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = await browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith("http://127.0.0.1:")
                else trouble.append(f"asked for {request.url}")
            ),
        )
        try:
            yield page, trouble
        finally:
            await browser.close()


async def test_a_person_finds_a_failed_task_reads_why_and_runs_it_again(
    db_path: Path, chromium_path: str
) -> None:
    site = Site(db_path)
    expect = async_api.expect

    async with site.serve() as url, browser_page(chromium_path) as (page, trouble):
        # An empty store teaches how to fill it.
        await page.goto(f"{url}/tasks/dashboard")
        await expect(page.locator("#sentence")).to_have_text("No task has been added yet.")
        await expect(page.locator("#empty")).to_contain_text("background_tasks.add_task")
        await expect(page.locator(".lane")).to_have_count(3)

        # What happens is shown without a reload, and what tasks wrote stays text.
        await site.manager.enqueue(site.rise)
        await site.manager.enqueue(site.bake, POISON)
        await expect(page.locator("#sentence")).to_contain_text("1 task failed")
        await expect(page.locator("#rows tr")).to_have_count(2)
        await expect(page.locator("#chips a.running")).to_have_text("running 1")

        # Every number is a door, and the address says where it led.
        await page.click("#sentence a")
        await expect(page.locator("#rows tr")).to_have_count(1)
        assert page.url.endswith("?status=failed")
        await page.click("#rows a")
        await expect(page.locator("#t-errors")).to_contain_text("ValueError: burnt <img src=x")
        await expect(page.locator("#t-logs")).to_contain_text("WARNING  baking <img")
        await expect(page.locator("#t-values")).to_contain_text("onerror")
        assert "\u202e" not in await page.inner_text("body")
        assert await page.title() == "Bakery"

        # It is put right and run again.
        site.broken = False
        await page.click("#t-actions button:text('Run again')")
        await expect(page.locator("#t-head .chip")).to_have_text("success")

        # Back to the list, which is filtered by typing.
        await page.click(".brand")
        await page.fill("#filter", "ris")
        await page.wait_for_url("**/dashboard?q=ris")
        await expect(page.locator("#rows .task")).to_have_text(["rise"])
        await page.click("#rows a")
        await page.click("#t-actions button:text('Cancel')")
        await expect(page.locator("#t-head .chip")).to_have_text("cancelled")
        await page.go_back()
        await expect(page.locator("#filter")).to_have_value("ris")

    assert trouble == []


async def test_on_a_small_screen_nothing_sticks_out(db_path: Path, chromium_path: str) -> None:
    site = Site(db_path)
    small = {"width": 390, "height": 844}

    async with site.serve() as url, browser_page(chromium_path, viewport=small) as (page, trouble):
        handle = await site.manager.enqueue(site.bake, "x" * 500)
        for path in ("", f"?task={handle.task_id}"):
            await page.goto(f"{url}/tasks/dashboard{path}")
            await page.locator("#live.on").wait_for()

            assert await page.evaluate("document.documentElement.scrollWidth") <= 390

    assert trouble == []


async def test_the_page_says_when_the_app_is_gone_and_keeps_what_it_knew(
    db_path: Path, chromium_path: str
) -> None:
    site = Site(db_path)
    expect = async_api.expect

    async with browser_page(chromium_path) as (page, _trouble):
        async with site.serve() as url:
            await site.manager.enqueue(site.bake, "bread")
            await page.goto(f"{url}/tasks/dashboard")
            await expect(page.locator("#rows tr")).to_have_count(1)

        await expect(page.locator("#live")).to_have_text("the app does not answer")
        await expect(page.locator("#rows tr")).to_have_count(1)


def test_the_assets_are_small() -> None:
    folder = Path(__file__).parents[2] / "taskflow" / "dashboard"

    assert (folder / "app.js").stat().st_size < 25_000
    assert (folder / "style.css").stat().st_size < 10_000
