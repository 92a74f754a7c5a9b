"""How every route of the admin answers, in success and in trouble."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, ClassVar

from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from taskflow.admin.audit import Audit, Overheard, is_audited
from taskflow.admin.outgoing import Outgoing
from taskflow.errors import NotStartedError, StoreUnavailableError

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
LATER = {"Retry-After": "1"}


class AdminRoute(APIRoute):
    """A route with the headers of the admin, on errors too.

    Its errors are always ``{"detail": ...}``, whatever handlers the app has for its own routes.
    Whatever it answers goes through ``outgoing``, so that no route can forget to hide secrets, and
    whatever it was to change is told to ``audit``.
    """

    outgoing: ClassVar[Outgoing | None] = None
    audit: ClassVar[Audit | None] = None

    @classmethod
    def through(cls, outgoing: Outgoing, audit: Audit | None = None) -> type[AdminRoute]:
        """The class of the routes of one admin."""
        return type(cls.__name__, (cls,), {"outgoing": outgoing, "audit": audit})

    def get_route_handler(self) -> Handler:
        answer = self._make_answer(super().get_route_handler())

        async def answer_and_note(request: Request) -> Response:
            audit = self.audit
            if audit is None or not is_audited(self, request.method):
                return await answer(request)
            overheard = Overheard(request.receive)
            status = 500
            try:
                response = await answer(Request(request.scope, overheard))
                status = response.status_code
            except HTTPException as error:
                status = error.status_code
                raise
            finally:
                await audit.note(request, self, bytes(overheard.body), status)
            return response

        return answer_and_note

    def _make_answer(self, handle: Handler) -> Handler:
        """``handle`` with the headers, and the errors, of the admin."""

        async def answer(request: Request) -> Response:
            try:
                response = await handle(request)
            except HTTPException as error:
                error.headers = {**HEADERS, **(error.headers or {})}
                error.detail = self._hide(error.detail)
                raise
            except RequestValidationError as error:
                problems = self._hide(jsonable_encoder(error.errors()))
                raise HTTPException(422, problems, HEADERS) from error
            except StoreUnavailableError as error:
                detail = self._hide(f"the store does not answer now: {error}")
                raise HTTPException(503, detail, {**HEADERS, **LATER}) from error
            except NotStartedError as error:
                raise HTTPException(503, "no tasks run here now", {**HEADERS, **LATER}) from error
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            if self.outgoing is not None:
                self.outgoing.clean(response)
            return response

        return answer

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.methods and scope["method"] not in self.methods:
            # Strangers must not hear by this which paths there are.
            await self._other_methods.app(scope, receive, send)
            return
        await super().handle(scope, receive, send)

    @cached_property
    def _other_methods(self) -> APIRoute:
        """What answers requests by another method: the same guard, then 405."""
        allowed = {"Allow": ", ".join(sorted(self.methods or ()))}

        async def refuse() -> None:
            raise HTTPException(405, headers=allowed)

        # Nothing is done, so that there is nothing to tell the audit.
        return AdminRoute(self.path, refuse, dependencies=self.dependencies)

    def _hide(self, detail: Any) -> Any:
        return detail if self.outgoing is None else self.outgoing.hide(detail)


class AdminRouter(APIRouter):
    """A router that costs the app's own requests next to nothing.

    An app usually has its admin before its own routes, so that each of its requests is held
    against the admin's first: a dozen patterns, a sixth of what a small request takes in all.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        # Whatever a proxy or a mount puts before it, the prefix is in the path as it is.
        if self.prefix not in scope["path"]:
            return Match.NONE, {}
        return super().matches(scope)
