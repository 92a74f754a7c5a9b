"""How the files of the dashboard are written and served; needs no browser."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from taskflow import TaskAdmin, TaskManager

ASSETS = Path(__file__).parents[2] / "taskflow" / "dashboard" / "assets"
MODULES = sorted(ASSETS.rglob("*.js"))
STYLES = sorted(ASSETS.rglob("*.css"))
#: What makes markup or code of text, or asks the user in a way that no style reaches.
FORBIDDEN = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|"
    r"setHTML|srcdoc|createContextualFragment|window\.(confirm|alert|prompt)|https?://(?!www\.w3\.org)"
)


def test_the_modules_and_styles_are_small() -> None:
    assert len(MODULES) > 20
    for file in MODULES:
        assert file.read_text("utf-8").count("\n") <= 300, file.name
    sent = sum(len(gzip.compress(file.read_bytes())) for file in MODULES + STYLES)
    assert sent < 80_000


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.name)
def test_no_module_makes_markup_of_text_or_asks_elsewhere(file: Path) -> None:
    text = file.read_text("utf-8")

    assert text.startswith("// "), "say what it is for"
    assert not re.search(FORBIDDEN, text)
    for name in re.findall(r"""from "([^"]+)"|import "([^"]+)";""", text):
        assert (file.parent / "".join(name)).is_file(), f"{file.name} imports {name}"


def test_no_style_asks_elsewhere() -> None:
    for file in STYLES:
        assert "url(" not in file.read_text("utf-8"), file.name


async def test_assets_are_kept_by_their_version_and_sent_packed(db_path: Path) -> None:
    app = FastAPI()
    manager = TaskManager(db_path)
    TaskAdmin(app, manager)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            page = await http.get("/tasks/dashboard/tasks/some-id")
            links = re.findall(r'(?:href|src)="([^"#]+)"', page.text)
            found = [await http.get(str(page.url.join(link))) for link in links]
            other = str(page.url.join(links[0])).replace("/assets/", "/assets/older/", 1)
            old = await http.get(re.sub(r"/older/[^/]+/", "/older/", other))
            missing = await http.get("/tasks/dashboard/assets/1/__init__.py")
            nowhere = await http.get("/tasks/dashboard/nowhere")

    assert len(found) > len(MODULES)
    for answer in found:
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.headers["x-content-type-options"] == "nosniff"
    # While two versions serve one page, either answers for the other, but not for ever.
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-store")
    assert {missing.status_code, nowhere.status_code} == {404}
