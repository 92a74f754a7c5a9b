"""The routes that look for tasks: counts of a query, names for it, kinds of errors."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Annotated, Generic, TypeVar

from fastapi import APIRouter, HTTPException, Query

from taskflow import query as bar
from taskflow.admin.figures import Figures, Shared
from taskflow.admin.models import TaskList
from taskflow.admin.present import present_listed
from taskflow.admin.search_models import Counts, ErrorItem, ErrorList, Names
from taskflow.admin.values import moment, moment_or_none
from taskflow.engine import Engine
from taskflow.states import TaskStatus
from taskflow.stores.search import Tally

T = TypeVar("T")

#: A query, as it stands in the address.
Line = Annotated[
    str, Query(max_length=20_000, description="the query bar, e.g. status:failed wait>5s")
]

#: Different questions whose answers are kept for others.
MOST_KEPT = 64
#: Parts of the trend of an error.
PARTS = 24
MOST_GROUPS = 200
#: Fewer characters are not taken for the beginning of an id.
SHORTEST_ID = 8


class Kept(Generic[T]):
    """Answers to the latest questions, each good for a second for all who ask the same."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: OrderedDict[object, Shared[T]] = OrderedDict()

    async def get(self, question: object, make: Callable[[], Awaitable[T]]) -> T:
        """The answer; raises what making it raises."""
        shared = self._answers.get(question)
        if shared is None:
            shared = self._answers[question] = Shared(make, self._clock)
            if len(self._answers) > MOST_KEPT:
                self._answers.popitem(last=False)
        self._answers.move_to_end(question)
        return await shared.get()


class Looks:
    """What many viewers of one engine ask for."""

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self._engine = figures.engine
        self._counts: Kept[Counts] = Kept(self._engine.clock.monotonic)
        self._errors: Kept[ErrorList] = Kept(self._engine.clock.monotonic)

    async def counts(self, text: str) -> Counts:
        """How many tasks match a query; of any status."""
        # Many lines mean every task: one answer is enough for them.
        text = text.strip() if read_query(self._engine, text).without_status() else ""
        return await self._counts.get(text, functools.partial(self._count, text))

    async def _count(self, text: str) -> Counts:
        engine = self._engine
        await engine.settle()
        query = read_query(engine, text).without_status()
        if query:
            found = await engine.store.search.tally(query, engine.clock.now())
        else:
            found = Tally(await engine.store.counts(), complete=True)
        counts = {status: found.counts.get(status, 0) for status in TaskStatus}
        return Counts(counts=counts, total=sum(counts.values()), complete=found.complete)

    async def errors(self, hours: float) -> ErrorList:
        """Kinds of errors over the last hours."""
        return await self._errors.get(hours, functools.partial(self._group, hours))

    async def _group(self, hours: float) -> ErrorList:
        engine = self._engine
        await engine.settle()
        # What ends at this very moment belongs to it.
        until = engine.clock.now() + 0.001
        since = until - hours * 3600
        found = await engine.store.search.errors(since, until, PARTS, MOST_GROUPS)
        items = [
            ErrorItem(
                fingerprint=group.fingerprint,
                error=group.error,
                func_name=group.func_name,
                count=group.count,
                first_at=moment(group.first_at),
                last_at=moment(group.last_at),
                sample_task_id=group.task_id,
                trend=group.trend,
            )
            for group in found.items
        ]
        return ErrorList(items=items, since=moment(found.since))


def read_query(engine: Engine, text: str) -> bar.Query:
    """The query that a line is; 422 if it is none."""
    try:
        return bar.parse(text, engine.clock.now())
    except bar.QueryError as error:
        raise HTTPException(422, str(error)) from error


async def list_matching(
    engine: Engine, text: str, q: str, status: TaskStatus | None, limit: int, cursor: str
) -> TaskList:
    """A page of the tasks that match a query, and ``q`` and ``status`` if they are given."""
    query = read_query(engine, text)
    if status is not None:
        query = query.within(frozenset({status}))
    now = engine.clock.now()
    if q:
        query = bar.Query((*query.conditions, await _named(engine, q, now)))
    try:
        found = await engine.store.search.page(query, now, limit, cursor or None)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return TaskList(
        items=[present_listed(record, now, engine.redactor) for record in found.items],
        next_cursor=found.next_cursor,
        searched_to=moment_or_none(found.searched_to),
    )


async def _named(engine: Engine, q: str, now: float) -> bar.Condition:
    """Tasks whose id begins with ``q``, if there are any, or that have it in their name."""
    pattern = q.replace("*", "?")  # it has no wildcards: any one character is near enough
    if len(q) >= SHORTEST_ID and "?" not in pattern:
        by_id = bar.Condition("id", values=(q,))
        if (await engine.store.search.page(bar.Query((by_id,)), now, 1, None)).items:
            return by_id
    return bar.Condition("task", values=(f"*{pattern}*" if "?" in pattern else q,))


def add_search(router: APIRouter, scope: str, looks_of: Callable[[], Looks]) -> None:
    """Add them to ``router``."""

    @router.get("/counts", operation_id=f"{scope}_counts")
    async def count_tasks(query: Line = "") -> Counts:
        """How many tasks of each status match; a second old at most, or more if there are many."""
        return await looks_of().counts(query)

    @router.get("/names", operation_id=f"{scope}_names")
    async def names() -> Names:
        """What may stand in a query: names that this instance knows."""
        engine = looks_of().figures.engine
        queues = {"default", *engine.gates, *(definition.queue for definition in engine.registry)}
        queues.update(queue for _, queue in engine.backlog.waiting)
        return Names(
            tasks=sorted(engine.registry.names),
            queues=sorted(queues),
            lanes=list(engine.lanes),
            statuses=list(TaskStatus),
        )

    @router.get("/errors", operation_id=f"{scope}_errors")
    async def errors(
        hours: Annotated[float, Query(gt=0, le=24 * 400, allow_inf_nan=False)] = 24.0,
    ) -> ErrorList:
        """Kinds of errors that tasks failed with for good, the latest first."""
        return await looks_of().errors(hours)
