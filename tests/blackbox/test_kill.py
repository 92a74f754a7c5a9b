"""`kill -9` in mid-load: nothing acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.driver import run


async def test_five_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    books = await run(kills=5, seed=20261122, folder=tmp_path, patience=5.0)

    assert books.kills == 5
    assert len(books.acknowledged) > 100
    assert books.lost == set()
    assert books.unfinished == {}
    assert books.repeated <= books.most_repeats
    assert books.orphans == 0
    assert books.integrity == "ok"
