"""Who may use the admin: one guard, in front of every route of its router.

Closed unless opened. Whoever is not let in by `Guard` sees no route, no asset and no schema; and
whoever may only look can change nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Depends, HTTPException, Request
from fastapi.openapi.models import HTTPBase
from fastapi.params import Depends as DependsMarker
from fastapi.security.base import SecurityBase

from taskflow.admin.locality import why_foreign
from taskflow.admin.roles import (
    ROLES,
    SOMEBODY,
    Role,
    Visitor,
    admit,
    remember,
    visitor_in,
    visitor_of,
)
from taskflow.admin.same_origin import SAFE_METHODS, is_json_or_empty, why_cross_site
from taskflow.errors import SettingsError
from taskflow.printable import printable

log = logging.getLogger(__name__)

#: User and password; with ``"view"`` as the third, one who only looks.
Pair = tuple[str, str] | tuple[str, str, Role]
#: A pair, a list of them, a FastAPI dependency, or nothing.
Auth = Pair | Sequence[Pair] | Callable[..., Any] | DependsMarker | None

CHALLENGE = {"WWW-Authenticate": 'Basic realm="taskflow", charset="UTF-8"'}
_HELP = "pass auth= to TaskAdmin to open it to others"


class Guard:
    """Lets requests in by ``auth``; without it, only those made on this machine in development.

    Raises `SettingsError` if ``auth`` is something else than its type says: a password that is
    missing must not mean that there is none.
    """

    def __init__(self, auth: Auth, *, production: bool) -> None:
        #: Nobody is let in.
        self.closed = auth is None and production
        who: list[Any]
        if auth is None:
            who = [Depends(nobody if production else LoopbackOnly().check)]
        elif isinstance(auth, DependsMarker):
            who = [auth]
        elif callable(auth):
            who = [Depends(auth)]
        else:
            who = [Depends(BasicScheme()), Depends(BasicPairs(_pairs(auth)).check)]
        #: For the router: who is asking first, then how, then for what.
        self.dependencies: list[Any] = [
            *who[:-1],
            Depends(_introduce(who[-1])),
            Depends(from_own_page),
            Depends(within_role),
        ]

    def announce(self, path: str) -> None:
        """Say in the log that the admin is closed, if it is."""
        if self.closed:
            log.warning("the admin at %s is closed: TASKFLOW_ENV=production and no auth=", path)


def _introduce(who: DependsMarker) -> Callable[..., Any]:
    """A dependency that leaves word of whom ``who`` has let in."""

    async def introduce(request: Request, found: Any = who) -> None:
        remember(request.scope, found if isinstance(found, Visitor) else visitor_of(found))

    return introduce


async def within_role(request: Request) -> None:
    """Refuse what whoever asks may not do."""
    visitor = visitor_in(request.scope)
    if visitor.role != "operate" and request.method not in SAFE_METHODS:
        raise HTTPException(403, f"{visitor.user or 'you'} may only look: the role is 'view'")
    admit(request.scope)


async def nobody() -> None:
    """Lets nobody in."""
    raise HTTPException(404)


class LoopbackOnly:
    """Lets in what was asked for on this machine; everybody else hears that nothing is here."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    async def check(self, request: Request) -> Visitor:
        foreign = why_foreign(request.scope)
        if foreign is None:
            return SOMEBODY
        if foreign.kind not in self._told:
            self._told.add(foreign.kind)
            log.warning(
                "the admin answered 404: %s, and without auth= it is open on this machine only; "
                "%s (further cases of this kind are not logged)",
                foreign.text,
                _HELP,
            )
        raise HTTPException(404)


class BasicScheme(SecurityBase):
    """Says in the schema of the app that user and password are needed; checks nothing."""

    def __init__(self) -> None:
        self.model = HTTPBase(scheme="basic")
        self.scheme_name = "taskflow"

    async def __call__(self) -> None:
        return


class BasicPairs:
    """Lets in who knows one of the pairs, by HTTP Basic in UTF-8.

    FastAPI's own HTTPBasic reads ASCII only.
    """

    def __init__(self, pairs: Sequence[tuple[str, str, Role]]) -> None:
        self._known = [
            (f"{user}:{password}".encode(), Visitor(printable(user), role))
            for user, password, role in pairs
        ]

    async def check(self, request: Request) -> Visitor:
        given = _decode(request.headers.get("authorization", ""))
        # Every pair is compared, so that the time says nothing about which one came close.
        found = [visitor for known, visitor in self._known if hmac.compare_digest(given, known)]
        if not found:
            raise HTTPException(401, "user and password are needed", CHALLENGE)
        return found[0]


async def from_own_page(request: Request) -> None:
    """Refuse what a page of another site makes a browser send."""
    reason = why_cross_site(request.method, request.headers)
    if reason is not None:
        raise HTTPException(403, reason)
    if not is_json_or_empty(request.headers):
        raise HTTPException(415, "send the body as JSON: Content-Type: application/json")


def _decode(header: str) -> bytes:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _pairs(auth: object) -> list[tuple[str, str, Role]]:
    if isinstance(auth, tuple) and len(auth) in {2, 3} and not isinstance(auth[0], tuple | list):
        auth = [auth]
    if isinstance(auth, str | bytes) or not isinstance(auth, Sequence) or not auth:
        raise SettingsError(
            f"auth={type(auth).__name__}: give a (user, password) pair, a list of pairs that is "
            "not empty, or a FastAPI dependency"
        )
    return [_pair(number, pair) for number, pair in enumerate(auth)]


def _pair(number: int, pair: object) -> tuple[str, str, Role]:
    # The values are secrets: the message says which one is wrong, never what it is.
    if not isinstance(pair, tuple | list) or len(pair) not in {2, 3}:
        raise SettingsError(
            f"auth: entry {number} is neither a (user, password) pair nor (user, password, role)"
        )
    user, password, role = (*pair, "operate")[:3]
    if not isinstance(user, str) or not user or ":" in user:
        raise SettingsError(f"auth: the user of entry {number} must be a text without a colon")
    if not isinstance(password, str) or not password:
        raise SettingsError(
            f"auth: the password of {user!r} must be a text that is not empty; is the environment "
            "variable set that it comes from?"
        )
    if role not in ROLES:
        raise SettingsError(f"auth: the role of {user!r} must be one of {', '.join(ROLES)}")
    return user, password, role
