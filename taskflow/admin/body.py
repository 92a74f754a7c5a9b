"""The JSON body of a request, read after the guard has let it in.

FastAPI reads a body that it parses itself before it runs any dependency: a stranger could send as
much as he likes, and would hear what is wrong with it.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

#: Bytes; more is no body that any route asks for.
LARGEST = 64 * 1024


class JsonBody(Generic[M]):
    """Its `read` is a dependency that gives the body as a ``model``."""

    def __init__(self, model: type[M]) -> None:
        self._model = model

    async def read(self, request: Request) -> M:
        """The checked body; 422 for one that does not fit, 413 for one that is too large."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST:
                raise HTTPException(413, f"the body is larger than {LARGEST} bytes")
        try:
            return self._model.model_validate_json(bytes(body))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            raise RequestValidationError(
                [{**problem, "loc": ("body", *problem["loc"])} for problem in problems]
            ) from error

    async def read_if_any(self, request: Request) -> M | None:
        """As `read`; None if there is no body, by what the guard goes, too."""
        headers = request.headers
        if "transfer-encoding" in headers or headers.get("content-length", "").strip(" 0"):
            return await self.read(request)
        return None

    @property
    def optional_schema(self) -> dict[str, Any]:
        """As `schema`, of a body that may be left out."""
        return {"requestBody": {**self.schema["requestBody"], "required": False}}

    @property
    def schema(self) -> dict[str, Any]:
        """What the OpenAPI document says about it, for ``openapi_extra``."""
        content = {"application/json": {"schema": self._model.model_json_schema()}}
        return {"requestBody": {"required": True, "content": content}}
