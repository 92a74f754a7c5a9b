"""The dashboard: one static page and its assets, served by the router of the admin."""

from __future__ import annotations

import gzip
import hashlib
import html
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import RedirectResponse, Response

#: Nothing inline, nothing from elsewhere, no text that becomes markup, no frames.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
#: What stands after ``/dashboard/`` for each page; the first one is also there without it.
PAGES = ("overview", "tasks", "errors", "lanes", "schedules", "dead", "audit", "system")
_PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: An address with the version of its content in it never means anything else.
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
_TITLE, _ASSETS, _PRELOADS = "<!--title-->", "{assets}", "<!--preloads-->"


@dataclass(frozen=True)
class Asset:
    """A file of the dashboard."""

    body: bytes
    kind: str

    @cached_property
    def packed(self) -> bytes:
        """The same for clients that take gzip."""
        return gzip.compress(self.body, mtime=0)


def add_pages(router: APIRouter, *, title: str) -> None:
    """Add the dashboard to ``router``. All its links are relative, so that it works anywhere."""
    assets = dict(_read(files(__name__) / "assets"))
    version = _version(assets)
    shell = _shell(assets, title)

    def page(up: str) -> Response:
        # Relative to the address of the page: there are pages at three depths.
        text = shell.replace(_ASSETS, f"{up}assets/{version}")
        return Response(text, media_type="text/html", headers=_PAGE_HEADERS)

    @router.get("/dashboard", include_in_schema=False)
    async def dashboard() -> Response:
        return page("dashboard/")

    @router.get("/dashboard/", include_in_schema=False)
    async def dashboard_with_slash() -> Response:
        return RedirectResponse("../dashboard", 308)

    async def dashboard_page() -> Response:
        return page("")

    for name in PAGES:
        router.add_api_route(f"/dashboard/{name}", dashboard_page, include_in_schema=False)

    @router.get("/dashboard/tasks/{shown}", include_in_schema=False)
    async def dashboard_task() -> Response:
        return page("../")

    @router.get("/dashboard/assets/{version}/{name:path}", include_in_schema=False)
    async def asset(request: Request, name: str) -> Response:
        return _serve(request, assets, name, version)


def _serve(request: Request, assets: dict[str, Asset], name: str, version: str) -> Response:
    found = assets.get(name)
    if found is None:
        raise HTTPException(404)
    # While instances of two versions answer, a page may ask either for the assets of the other.
    current = request.path_params["version"] == version
    headers = dict(_FOR_EVER) if current else {}
    body = found.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = found.packed
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type=found.kind, headers=headers)


def _shell(assets: dict[str, Asset], title: str) -> str:
    """The page but for where its assets are; it names all modules, so that none waits for another.

    What it preloads has to be there when the first script runs, which imports all of them.
    """
    links = "\n    ".join(
        f'<link rel="modulepreload" href="{_ASSETS}/{name}">'
        for name in sorted(assets)
        if name.endswith(".js")
    )
    text = (files(__name__) / "index.html").read_text("utf-8")
    return text.replace(_PRELOADS, links).replace(_TITLE, html.escape(title))


def _version(assets: dict[str, Asset]) -> str:
    content = hashlib.sha256()
    for name, asset in sorted(assets.items()):
        content.update(name.encode() + b"\0" + asset.body + b"\0")
    return content.hexdigest()[:12]


def _read(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _read(entry, f"{name}/")
            continue
        kind = _KINDS.get(f".{name.rpartition('.')[2]}")
        if kind is not None:
            yield name, Asset(entry.read_bytes(), kind)
