"""What users write stays text, wherever it comes from and whatever it looks like."""

from __future__ import annotations

import itertools
import re
import unicodedata
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskflow import task_log
from tests.browser.conftest import Open, Serve
from tests.browser.lively import Lively

pytestmark = pytest.mark.browser

HIT = "window.hit=1"
MARKUP = [
    f"<script>{HIT}</script>",
    f"<img src=x onerror={HIT}>",
    f'"><svg onload={HIT}>',
    f"' autofocus onfocus={HIT} x='",
    f"</textarea></title></style><script>{HIT}</script>",
    f"<iframe srcdoc='<script>parent.{HIT}</script>'></iframe>",
    f"<a href='javascript:{HIT}'>click</a>",
    f"javascript:{HIT}//",
    f"data:text/html,<script>parent.{HIT}</script>",
    f"<style>*{{background:url(javascript:{HIT})}}</style>",
    f"{{{{constructor.constructor('{HIT}')()}}}}",
    f"${{{HIT}}} <%= {HIT} %> #{{{HIT}}}",
    f"<math><mtext></form><form><mglyph><style></math><img src onerror={HIT}>",
    f"]]><!--<script>{HIT}</script>-->",
    f"\\u003cscript\\u003e{HIT}\\u003c/script\\u003e",
    f"&lt;script&gt;{HIT}&lt;/script&gt;",
    f"<template shadowrootmode=open><script>{HIT}</script></template>",
    f"<base href=//evil.example/><link rel=stylesheet href=//evil.example/x.css>{HIT}",
    f"<meta http-equiv=refresh content='0;url=javascript:{HIT}'>",
    "__proto__ constructor toString",
]
AROUND = [
    "{}",
    "\u202e{}\u202c",
    "\x00{}\x1b[31m",
    "\u2066{}\u200b\ufeff",
    "{}" + "x" * 1500,
    "a\r\n\t{}",
    "\u0300\u0301{}🍞\U000e0041",
    "{} or 1=1; --",
    "../../{}?a=1#b%2f%00",
    "‹U+202E›{}",
]
STRINGS = [
    around.format(markup) if "{}" in around else around
    for around, markup in itertools.product(AROUND, MARKUP)
]
#: None of these may be on the page: they turn or hide what stands around them.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff]")


def shown(text: str) -> str:
    """How the page shows a text."""
    return "".join(
        f"‹U+{ord(c):04X}›"
        if c not in "\t\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c != "\u200d"
        else c
        for c in text
    )


class Hostile(Lively):
    """An app whose users write all of it everywhere."""

    def plant(self) -> list[str]:
        """Adds the tasks; gives their ids."""
        ids = []
        for number in range(0, len(STRINGS), 50):
            some = STRINGS[number : number + 50]
            tags = {f"t{i}": text[:90] for i, text in enumerate(some[:8])}

            @self.manager.task(name=f"{number} {MARKUP[number // 50]}"[:255])
            async def evil(strings: list[str], **named: Any) -> None:
                for text in strings:
                    task_log(text)
                raise ValueError("\n".join(strings)[:4000])

            ids.append(self.add(evil, some, tags=tags, queue=MARKUP[3 + number // 50][:60]))
        return ids


def test_two_hundred_hostile_strings_are_text_on_every_page(
    tmp_path: Path, serve: Serve, open_tab: Open
) -> None:
    assert len(set(STRINGS)) == 200
    hostile = Hostile(tmp_path / "tasks.db")

    url = serve(hostile.app)
    ids = hostile.plant()
    tab = open_tab(f"{url}/tasks/dashboard")
    page: Any = tab.page

    def judge(path: str) -> None:
        tab.go(path)
        assert page.evaluate("window.hit") is None, path
        assert not UNSEEN.search(page.evaluate("document.body.textContent")), path
        assert page.locator("main img, main iframe, main script, main style").count() == 0
        assert page.locator("[href^='javascript'], [href^='data'], [onerror]").count() == 0

    for task_id in ids:
        judge(f"/tasks/{task_id}")
        page.locator("tf-logs li").nth(49).wait_for(state="attached")
        told = httpx.get(f"{url}/tasks/{task_id}").json()
        lines = page.locator("tf-logs .message").evaluate_all("all => all.map(n => n.textContent)")
        assert lines == [shown(line["message"]) for line in told["logs"]]
        error = page.locator(".attempt pre").first.evaluate("node => node.textContent")
        assert error == shown(told["error"])
        assert page.locator(".tree .v").count() == 50
    for path in ("", "/tasks", "/errors", "/dead", "/lanes"):
        judge(path)
    # They do no harm in the query bar, nor in the address.
    tab.expected = ["422", "404"]
    for text in STRINGS[::40]:
        page.goto(f"{tab.dashboard}/tasks?{httpx.QueryParams({'query': text})}")
        page.locator(".chips a").first.wait_for()
        assert page.evaluate("window.hit") is None
    page.goto(f"{tab.dashboard}/tasks/%3Cscript%3E")
    page.locator("#note:not([hidden])").wait_for()
