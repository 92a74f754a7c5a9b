"""Whether a request that changes something was made by our own page or by no browser at all. Pure.

Browsers say where a request comes from in ``Sec-Fetch-Site``, and in ``Origin`` where they leave
that out (plain HTTP away from localhost). Programs like curl send neither.
"""

from __future__ import annotations

from starlette.datastructures import Headers

#: Methods that change nothing.
SAFE_METHODS = frozenset({"GET", "HEAD"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def why_cross_site(method: str, headers: Headers) -> str | None:
    """Why this request may not change anything; None if it may."""
    if method in SAFE_METHODS:
        return None
    sites = headers.getlist("sec-fetch-site")
    if sites:
        if all(site in {"same-origin", "none"} for site in sites):
            return None
        return f"refused: a page of another origin sent this request (Sec-Fetch-Site: {sites[0]})"
    origins = headers.getlist("origin")
    if not origins:
        return None
    host = headers.get("host", "").lower()
    if host and all(_authority(origin) == host for origin in origins):
        return None
    return (
        "refused: a page of another origin sent this request (its Origin is not the Host it asks "
        "for; a proxy in front must pass the Host header on)"
    )


def is_json_or_empty(headers: Headers) -> bool:
    """Whether the body is JSON or there is none: forms of other sites cannot send JSON."""
    length = headers.get("content-length", "0").strip()
    if length.strip("0") == "" and "transfer-encoding" not in headers:
        return True
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _authority(origin: str) -> str:
    """Host and port of an origin as a ``Host`` header has them; default ports are left out."""
    scheme, separator, authority = origin.lower().partition("://")
    if not separator:
        return ""
    return authority.removesuffix(_DEFAULT_PORTS.get(scheme, ":"))
