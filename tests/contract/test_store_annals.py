"""What every store keeps for people to look back at: deeds and figures, both bounded."""

from __future__ import annotations

import pytest

from taskflow.stores.annals import Deed, Point
from taskflow.stores.base import Store
from tests.contract.store_bench import NOW, Place


def deed(number: int, **values: object) -> Deed:
    known = {"at": NOW + number, "user": "ada", "action": "retry", "target": f"task {number}",
             "detail": None, "status": 200}  # fmt: skip
    return Deed(**{**known, **values})  # type: ignore[arg-type]  # tests set any field


async def test_deeds_come_back_as_they_were_newest_first_and_in_pages(store: Store) -> None:
    deeds = [deed(n, user=None if n == 2 else "ada", detail='{"a":1}') for n in range(5)]
    for each in deeds:
        await store.annals.record(each, keep=100, before=0.0)

    first = await store.annals.deeds(3, None)
    rest = await store.annals.deeds(3, first.next_cursor)

    assert first.items + rest.items == deeds[::-1]
    assert rest.next_cursor is None


async def test_a_page_goes_on_where_the_last_one_ended_whatever_was_done_meanwhile(
    store: Store,
) -> None:
    for number in range(3):
        await store.annals.record(deed(number), keep=100, before=0.0)
    first = await store.annals.deeds(2, None)

    await store.annals.record(deed(9), keep=100, before=0.0)

    rest = await store.annals.deeds(2, first.next_cursor)
    assert [each.target for each in rest.items] == ["task 0"]


async def test_only_so_many_deeds_are_kept_and_none_that_are_too_old(store: Store) -> None:
    for number in range(10):
        await store.annals.record(deed(number), keep=4, before=0.0)
    assert [it.at - NOW for it in (await store.annals.deeds(50, None)).items] == [9, 8, 7, 6]

    await store.annals.record(deed(10), keep=4, before=NOW + 8)

    assert [it.at - NOW for it in (await store.annals.deeds(50, None)).items] == [10, 9, 8]


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 40, "\u0663", ""])
async def test_a_cursor_that_no_page_gave_is_an_error_that_names_it(
    store: Store, cursor: str
) -> None:
    with pytest.raises(ValueError, match="cursor="):
        await store.annals.deeds(3, cursor)


async def test_text_that_no_database_can_hold_is_kept_as_an_escape(store: Store) -> None:
    await store.annals.record(deed(1, target="a\ud800b"), keep=4, before=0.0)

    (found,) = (await store.annals.deeds(1, None)).items
    assert found.target == "a\\ud800b"


async def test_points_of_a_step_come_back_newest_first(store: Store) -> None:
    points = [Point(10, int(NOW) + at, "me", f'{{"n":{at}}}') for at in (0, 10, 20)]
    await store.annals.put_points([*points, Point(60, int(NOW), "me", "{}")], {})

    assert await store.annals.points(10, NOW + 10, 99) == points[:0:-1]
    assert await store.annals.points(10, 0.0, 1) == points[-1:]
    assert await store.annals.points(10, 0.0, 99, until=NOW + 10) == points[1::-1]


async def test_a_point_of_the_same_moment_takes_the_place_of_the_first(place: Place) -> None:
    one, other = await place.open("one"), await place.open("other")
    await one.annals.put_points([Point(60, 60, "one", "1"), Point(60, 60, "other", "2")], {})

    await other.annals.put_points([Point(60, 60, "one", "3")], {})

    assert {(it.instance, it.figures) for it in await one.annals.points(60, 0.0, 9)} == {
        ("one", "3"),
        ("other", "2"),
    }


async def test_points_that_are_too_old_go_step_by_step(store: Store) -> None:
    old = [Point(step, 100, "me", "{}") for step in (0, 10, 60)]
    await store.annals.put_points(old, {})

    await store.annals.put_points([Point(10, 200, "me", "{}")], {10: 150.0, 60: 50.0})

    assert [it.at for it in await store.annals.points(10, 0.0, 9)] == [200]
    assert len(await store.annals.points(60, 0.0, 9)) == len(await store.annals.points(0, 0.0, 9))


async def test_the_instances_are_those_that_are_open_and_a_dead_one_is_told_apart(
    place: Place,
) -> None:
    one, other = await place.open("one"), await place.open("other")
    assert {(it.instance, it.alive) for it in await one.annals.instances(9)} == {
        ("one", True),
        ("other", True),
    }

    place.backend.die(other)

    found = {it.instance: it for it in await one.annals.instances(9)}
    assert (found["one"].alive, found["other"].alive) == (True, False)
    assert found["one"].pid > 0
    assert found["one"].started_at == NOW


async def test_a_store_knows_its_size(store: Store) -> None:
    size = await store.annals.size()

    assert size.database is not None
    assert size.database > 0
    assert size.free is not None
    assert size.free > 0
