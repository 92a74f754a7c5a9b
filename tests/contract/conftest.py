"""Stores for the tests of what every store promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskflow.stores.base import Store
from tests.contract.store_bench import BACKENDS, Place


@pytest.fixture(params=list(BACKENDS))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(BACKENDS[request.param](tmp_path))
    yield place
    await place.close()


@pytest.fixture
async def store(place: Place) -> Store:
    """The store of instance ``me``."""
    return await place.open("me")
