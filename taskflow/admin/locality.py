"""Whether a request was made on this very machine, by its own user. Pure.

Without ``auth=`` this is all that protects the admin, so that anything unclear counts as foreign.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

#: Headers that only a proxy sets, beside everything that begins with ``x-forwarded``.
_FORWARDING = frozenset(
    {
        "cf-connecting-ip",
        "client-ip",
        "fastly-client-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-original-forwarded-for",
        "x-original-host",
        "x-real-ip",
    }
)


@dataclass(frozen=True, slots=True)
class Foreign:
    """Why a request does not count as local: a short kind, and a sentence for the log."""

    kind: str
    text: str


def why_foreign(scope: Mapping[str, Any]) -> Foreign | None:
    """What keeps the request with this ASGI scope from being local; None if it is local."""
    headers = Headers(raw=scope["headers"])
    client = scope.get("client")
    if client is None:
        # A Unix socket has no peer address, and what connects to one is nearly always a proxy.
        return Foreign("peer", "the server does not know who is connected")
    if not _is_loopback_address(client[0]):
        return Foreign("peer", f"the connection comes from {client[0]!r:.80}")
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_loopback_name(host_name(hosts[0])):
        # A name that an attacker's DNS turned to 127.0.0.1 is still not a loopback name.
        return Foreign("host", f"it asks for the host {', '.join(hosts)!r:.80}")
    for name in headers:
        if name in _FORWARDING or name.startswith("x-forwarded"):
            return Foreign("proxy", f"the header {name!r:.80} says that a proxy forwarded it")
    if scope.get("http_version") == "1.0":
        # Proxies that were told nothing else speak this, hide the client and rewrite the host.
        return Foreign("proxy", "it came by HTTP/1.0, as from a proxy")
    if _is_from_other_site(headers):
        # An app with a generous CORS policy would hand the answer to any page on the web.
        return Foreign("site", "a page of another site asked for it")
    return None


def host_name(host: str) -> str:
    """The name in a ``Host`` header, without port and without brackets."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name if bracket and (not port or port.startswith(":")) else ""
    name, _, port = host.partition(":")
    return "" if ":" in port else name


def is_loopback_name(name: str) -> bool:
    """Whether ``name`` can only mean this machine."""
    return name.lower() == "localhost" or _is_loopback_address(name)


def _is_loopback_address(text: object) -> bool:
    try:
        address = ipaddress.ip_address(str(text))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def _is_from_other_site(headers: Headers) -> bool:
    site = headers.get("sec-fetch-site")
    if site is None:
        origin = headers.get("origin")
        return origin is not None and origin != "null" and _origin_is_elsewhere(origin)
    # Following a link from elsewhere shows the page to the person, not to the site.
    followed = headers.get("sec-fetch-mode") == "navigate" and (
        headers.get("sec-fetch-dest") == "document"
    )
    return site == "cross-site" and not followed


def _origin_is_elsewhere(origin: str) -> bool:
    _, _, host = origin.partition("://")
    return not is_loopback_name(host_name(host))
