"""What a task is told apart by."""

from __future__ import annotations

from typing import Any

import pytest

from taskflow import TaskDefinitionError, TaskManager, TaskOptionError
from taskflow.concurrency import ConcurrencyKey


def ship(order_id: int, express: bool = False, *, note: str = "") -> None: ...


def key_of(choose: Any, *args: Any, **kwargs: Any) -> str | None:
    key = ConcurrencyKey.checked(choose, 1, ship, "ship")
    assert key is not None
    return key.of(args, kwargs)


def test_the_key_function_gets_the_arguments_it_names() -> None:
    assert key_of(lambda order_id: order_id, 17, note="x") == "ship:17"
    assert key_of(lambda note, order_id: (order_id, note), 17, note="x") == "ship:(17, 'x')"


def test_defaults_of_the_task_are_known_to_the_key() -> None:
    assert key_of(lambda express: express, 17) == "ship:False"


def test_a_key_function_may_take_everything() -> None:
    assert key_of(lambda **given: sorted(given), 17) == "ship:['express', 'note', 'order_id']"


def test_no_key_is_no_limit() -> None:
    assert key_of(lambda order_id: None, 17) is None


def test_a_key_function_that_asks_for_what_the_task_does_not_have_is_refused() -> None:
    with pytest.raises(TaskDefinitionError, match=r"'user_id'.*order_id, express, note"):
        key_of(lambda user_id: user_id, 17)


def test_a_key_function_that_fails_is_told_where_the_task_is_added() -> None:
    with pytest.raises(TaskOptionError, match="'ship' failed: ZeroDivisionError"):
        key_of(lambda order_id: 1 / order_id, 0)
    with pytest.raises(TaskOptionError, match="1 to 256"):
        key_of(lambda order_id: "", 0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"concurrency_limit": 0, "concurrency_key": lambda order_id: 1}, "concurrency_limit=0"),
        ({"concurrency_limit": 3}, "concurrency="),
        ({"concurrency_key": "order_id"}, "lambda"),
        ({"rate": "soon"}, "'10/s'"),
        ({"rate": "1/s", "queue": "mail"}, "QueueConfig"),
        ({"memory_mb": 10}, 'lane="cpu"'),
        ({"memory_mb": 0, "lane": "cpu"}, "memory_mb=0"),
    ],
)
def test_wrong_limits_are_refused_where_the_task_is_declared(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(TaskDefinitionError, match=text):
        TaskManager().task(**options)(ship)


def test_a_task_with_limits_of_its_own_has_a_queue_of_its_own() -> None:
    manager = TaskManager()
    manager.task(name="ship", concurrency=3, rate="5/s")(ship)
    definition = manager.registry.of(ship)
    assert definition is not None
    assert definition.queue == "ship"
    assert definition.limits is not None
    assert (definition.limits.concurrency, definition.limits.rate) == (3, "5/s")
