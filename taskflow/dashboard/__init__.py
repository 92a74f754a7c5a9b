"""The dashboard: one static page and its assets, served by the router of the admin."""

from __future__ import annotations

import html
from importlib.resources import files

from fastapi import APIRouter, HTTPException
from starlette.responses import RedirectResponse, Response

#: Nothing inline, nothing from elsewhere, no text that becomes markup, no frames.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}
_ASSETS = {
    "app.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_TITLE = "<!--title-->"


def add_pages(router: APIRouter, *, title: str) -> None:
    """Add the dashboard to ``router``. All its links are relative, so that it works anywhere."""
    folder = files(__name__)
    shell = (folder / "index.html").read_text("utf-8").replace(_TITLE, html.escape(title))
    assets = {name: (folder / name).read_bytes() for name in _ASSETS}

    @router.get("/dashboard", include_in_schema=False)
    async def dashboard() -> Response:
        return Response(shell, media_type="text/html", headers=_PAGE_HEADERS)

    @router.get("/dashboard/", include_in_schema=False)
    async def dashboard_with_slash() -> Response:
        return RedirectResponse("../dashboard", 308)

    @router.get("/dashboard/assets/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404)
        return Response(assets[name], media_type=_ASSETS[name])
