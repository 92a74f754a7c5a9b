"""A few visitors: about two requests a second, so that there is something to see."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

_NAMES = ("Ada", "Grace", "Edsger", "Barbara", "Donald", "Frances", "Ken", "Radia", "Tony")
_log = logging.getLogger(__name__)


@asynccontextmanager
async def visitors(base_url: str) -> AsyncIterator[None]:
    """Visit the application at ``base_url`` for as long as the context lasts."""
    visiting = asyncio.create_task(_visit(base_url), name="demo visitors")
    try:
        yield
    finally:
        visiting.cancel()
        await asyncio.wait([visiting])


async def _visit(base_url: str) -> None:
    numbers = random.Random()
    async with httpx.AsyncClient(base_url=base_url, timeout=10) as client:
        while True:
            await asyncio.sleep(numbers.uniform(0.3, 0.7))
            try:
                await _one_request(client, numbers)
            except httpx.HTTPError as error:
                # The server does not listen yet, or does not any more.
                _log.debug("a visitor was turned away: %r", error)


async def _one_request(client: httpx.AsyncClient, numbers: random.Random) -> None:
    name = numbers.choice(_NAMES)
    kind = numbers.choices(["signup", "report", "order"], weights=[5, 2, 3])[0]
    if kind == "signup":
        email = f"{name.lower()}{numbers.randrange(1000)}@example.com"
        await client.post("/signup", json={"name": name, "email": email})
    elif kind == "report":
        await client.post("/reports", json={"title": f"Sales as {name} sees them"})
    else:
        await client.post("/orders", json={"customer": numbers.randrange(1000)})
