"""What people do to all tasks that match a query. Refusals are HTTP errors with a reason."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import HTTPException

from taskflow.admin.search_models import Action, BulkDone, BulkPreview
from taskflow.admin.search_routes import read_query
from taskflow.admin.values import moment_or_none
from taskflow.engine import Engine
from taskflow.query import Query
from taskflow.states import FINAL, TaskStatus
from taskflow.stores.search import Handle, Overview

#: Tasks that one call does at most, and those that one transaction does: others write in between.
CAP, BATCH = 1000, 200
#: Seconds after which a call ends, with what it has done by then.
PATIENCE = 5.0
#: A count may be off by so many, or by this share of what was expected.
TOLERANCE, SHARE = 10, 0.1

TARGETS: dict[Action, frozenset[TaskStatus]] = {
    "retry": FINAL,
    "cancel": frozenset(TaskStatus) - FINAL,
    "discard": FINAL,
}


async def preview(engine: Engine, action: Action, text: str) -> BulkPreview:
    """What would be done, without doing it."""
    seen = await _look(engine, _meant(engine, action, text))
    return BulkPreview(
        action=action,
        query=text,
        count=seen.count,
        complete=seen.complete,
        cap=CAP,
        tasks=seen.tasks,
        oldest=moment_or_none(seen.oldest),
        newest=moment_or_none(seen.newest),
    )


async def run(
    engine: Engine, action: Action, text: str, expected: int, complete: bool = True
) -> BulkDone:
    """Do it to at most `CAP` tasks, the newest first.

    ``expected`` were counted before; that was all of them if ``complete``.
    """
    query = _meant(engine, action, text)
    seen = await _look(engine, query)
    if complete and _is_other(seen, expected):
        raise HTTPException(
            409,
            f"{'' if seen.complete else 'at least '}{seen.count} tasks match now, and {expected} "
            "were expected: look at the preview again",
        )
    did = _Deeds()
    looked = 0
    cursor: str | None = None
    until = engine.clock.monotonic() + PATIENCE
    while did.done < CAP and engine.clock.monotonic() < until:
        size = min(BATCH, CAP - did.done)
        picked = await engine.store.search.pick(query, engine.clock.now(), size, cursor)
        if picked.items:
            await _act(engine, action, picked.items, did)
        looked += len(picked.items)
        cursor = picked.next_cursor
        if cursor is None:
            break
    if action == "retry" and did.done:
        engine.dispatcher.puller.expect_all()
    changed = looked - did.done - did.unknown
    return BulkDone(
        done=did.done,
        asked=did.asked,
        unknown=did.unknown,
        skipped=changed,
        # Those that were told to end match until they have, and what is unknown here stays.
        left=max(0, seen.count - (did.done - did.asked) - changed),
        complete=seen.complete,
    )


def _meant(engine: Engine, action: Action, text: str) -> Query:
    query = read_query(engine, text)
    if not query:
        raise HTTPException(
            422, "an empty query means every task there is: write which, as in status:failed"
        )
    return query.within(TARGETS[action])


async def _look(engine: Engine, query: Query) -> Overview:
    await engine.settle()
    return await engine.store.search.overview(query, engine.clock.now())


def _is_other(seen: Overview, expected: int) -> bool:
    """Whether so much has changed that somebody should look again."""
    if not seen.complete and seen.count <= expected:
        return False  # how far a count came that gave up says nothing
    return abs(seen.count - expected) > max(TOLERANCE, SHARE * expected)


@dataclass(slots=True)
class _Deeds:
    """What was done so far; those that were only ``asked`` to end are ``done``, too."""

    done: int = 0
    asked: int = 0
    unknown: int = 0


async def _act(engine: Engine, action: Action, tasks: list[Handle], did: _Deeds) -> None:
    """Do it to ``tasks``, and add what was done to ``did``."""
    search = engine.store.search
    if action == "discard":
        did.done += await search.discard(tasks)
        return
    if action == "retry":
        known = [one for one in tasks if engine.registry.find(one.task_id, one.func_name)]
        did.unknown += len(tasks) - len(known)
        did.done += await search.revive(known, engine.clock.now()) if known else 0
        return
    cancelled = await search.request_cancel(tasks, engine.clock.now())
    canceller = engine.dispatcher.canceller
    canceller.forget(cancelled.cancelled)
    if cancelled.asked:
        # Those that are held here; other instances find the requests by themselves.
        await canceller.obey_requests()
    did.asked += cancelled.asked
    did.done += len(cancelled.cancelled) + cancelled.asked
