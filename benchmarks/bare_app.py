"""A FastAPI app with one route and nothing else: what the machine makes of that alone."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/ping")
async def ping() -> dict[str, bool]:
    """A route on the event loop."""
    return {"ok": True}
