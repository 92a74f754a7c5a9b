"""How soon is a change of a task on the screen?

The list of tasks is open in a real Chromium beside an app under uvicorn on uvloop that is asked for
some tasks a second. What is measured is the time from the end of a task, as the app wrote it down,
to the change of its row in the page, both by the clock of this machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from benchmarks.bench_streams import ask
from benchmarks.harness import Figure, Report, collect, first_line
from benchmarks.served import Served, served

TINY = {"rounds": 1, "seconds": 1}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
#: Writes down when each row says first that its task succeeded.
OBSERVE = """() => {
    window.seen = {};
    const look = () => {
        for (const row of document.querySelectorAll("[data-id]"))
            if (!(row.dataset.id in window.seen) && row.textContent.includes("success"))
                window.seen[row.dataset.id] = Date.now();
    };
    look();
    window.seen = Object.fromEntries(Object.keys(window.seen).map((id) => [id, 0]));
    const changes = { subtree: true, childList: true, characterData: true, attributes: true };
    new MutationObserver(look).observe(document.body, changes);
}"""


def measure(page: Any, app: Served, seconds: float) -> list[float]:
    """Seconds from the end of each task that was seen to its row."""
    page.goto(f"{app.url}/tasks/dashboard/tasks")
    page.wait_for_load_state("load")
    page.wait_for_timeout(1500)
    page.evaluate(OBSERVE)
    ask(app.url, seconds, rate=10)
    page.wait_for_timeout(1500)
    seen: dict[str, float] = page.evaluate("() => window.seen")
    ends = {
        task["task_id"]: datetime.fromisoformat(task["end_time"]).timestamp()
        for task in app.get("/tasks?limit=200")["items"]
        if task["end_time"]
    }
    return [at / 1000 - ends[key] for key, at in seen.items() if at and key in ends]


def one_round(browser: Any, seconds: float) -> Mapping[str, float]:
    """In milliseconds."""
    with served() as app:
        ask(app.url, 1)
        page = browser.new_page()
        took = sorted(measure(page, app, seconds))
        page.close()
    if not took:
        raise RuntimeError("no row changed on the screen")
    return {
        "p50": statistics.median(took) * 1000,
        "p95": took[-(-95 * len(took) // 100) - 1] * 1000,
        "rows": float(len(took)),
    }


def run(rounds: int = 3, seconds: int = 10) -> Report:
    """The figures of this benchmark; ``seconds`` are those of one load."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415  (only this one needs it)
    except ImportError:
        path = None
    if path is None:
        return Report(first_line(__doc__), (), ("needs Chromium and playwright",))
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        found = collect(rounds, lambda: one_round(browser, seconds), warm_up=False)
        browser.close()
    return Report(
        first_line(__doc__),
        (
            Figure("end of a task to its row, p50", "ms", found["p50"]),
            Figure("end of a task to its row, p95", "ms", found["p95"], at_most=400),
            Figure("rows that were seen to change", "", found["rows"]),
        ),
        ("10 tasks a second; the browser shares the cpus with the app",),
    )
