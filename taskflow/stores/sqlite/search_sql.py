"""Conditions of the query bar as SQL. Pure.

Rule: what comes from a query is bound, always. Only names of this module become text of statements.
"""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from taskflow.query import Condition, Query
from taskflow.states import TaskStatus
from taskflow.stores.sqlite.queries import SHORTEST_ID, id_range

#: A task waits from the moment at which it could have run.
_DUE = "max(created_at, coalesce(run_at, created_at))"
_WAIT = f"max(0.0, coalesce(started_at, ended_at, :now) - {_DUE})"
_RUN = "max(0.0, coalesce(ended_at, :now) - started_at)"
#: Beside the error, as pages show it.
_ERROR = "coalesce(parked, error)"
#: Seconds by which tasks may arrive out of the order of their ``created_at``: another host's clock.
SLACK = 600.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where candidates come from: one of `SOURCES`, and the values that are looked for there."""

    kind: str = "all"
    values: tuple[str | int, ...] = ()


_BELOW = "ORDER BY seq DESC LIMIT 1 OFFSET :skip"


def _by_index(index: str, column: str) -> tuple[str, str]:
    table = f"tasks INDEXED BY {index}"
    floor = (
        f"SELECT max((SELECT seq FROM {table} WHERE {column} = given.value AND seq < :top"
        f" {_BELOW})) FROM json_each(:source) AS given"
    )
    return f"{table} WHERE {column} IN (SELECT value FROM json_each(:source))", floor


#: By kind: what stands behind FROM, for a condition to follow; and the statement that finds the
#: number of the task that stands ``:skip`` candidates below ``:top``, NULL if there is none.
SOURCES: dict[str, tuple[str, str]] = {
    "all": (
        "tasks NOT INDEXED WHERE :source IS NOT NULL",
        f"SELECT seq FROM tasks WHERE seq < :top AND :source <> '' {_BELOW}",
    ),
    "status": _by_index("tasks_by_status", "status"),
    "fingerprint": _by_index("tasks_by_fingerprint", "fingerprint"),
    # A few only.
    "seq": (
        "tasks WHERE seq IN (SELECT value FROM json_each(:source))",
        "SELECT NULL WHERE :source IS NOT NULL AND :top > :skip",
    ),
}


#: What is shown without its secrets, which takes time to find out.
_REDACTED = frozenset({"error", "text", "key", "tag"})


@dataclass(frozen=True, slots=True)
class Compiled:
    """A query as SQL, for one moment."""

    where: str
    values: dict[str, object]
    #: Holds all that can match.
    source: Source
    #: Tasks that arrived at other times cannot match; seconds since the epoch.
    after: float | None
    before: float | None
    #: Whether looking at one task may take long.
    slow: bool = False


def compile_query(query: Query, now: float) -> Compiled:
    """The query, with all its values bound."""
    binder = _Binder(now)
    parts: list[str] = []
    for one in query.conditions:
        part = f"({_MAKERS[one.field](one, binder)})"
        # Nothing is known of what is NULL, so that it is not so.
        parts.append(f"{part} IS NOT TRUE" if one.negated else part)
    moments = [one for one in query.conditions if not one.negated]
    after = [one.number for one in moments if one.field == "after"]
    before = [one.number for one in moments if one.field == "before"]
    return Compiled(
        where=" AND ".join(parts) or "TRUE",
        values=binder.values,
        source=_source(query),
        after=max(after) if after else None,
        before=min(before) if before else None,
        slow=any(one.field in _REDACTED for one in query.conditions),
    )


def _source(query: Query) -> Source:
    for one in query.conditions:
        exact = not any(map(has_wildcard, one.values))
        if one.field == "fingerprint" and exact and not one.negated:
            return Source("fingerprint", one.values)
    statuses = query.statuses
    if TaskStatus.SUCCESS in statuses and len(statuses) > 1:
        # Most tasks are done: to go through the table is faster than by way of an index.
        return Source()
    return Source("status", tuple(sorted(statuses)))


def id_ranges(query: Query) -> tuple[list[tuple[str, str]], bool]:
    """The ranges of ids one of which every match is in, and whether it must be; none if unknown.

    Where it need not be, the word may be a part of a name or an error instead.
    """
    for strict, name in ((True, "id"), (False, "text")):
        for one in query.conditions:
            long = all(
                len(value) >= SHORTEST_ID and not has_wildcard(value) for value in one.values
            )
            if one.field == name and long and not one.negated:
                return [id_range(value) for value in one.values], strict
    return [], False


class _Binder:
    """Gathers values, and gives each a name."""

    def __init__(self, now: float) -> None:
        self.values: dict[str, object] = {"now": now}

    def bind(self, value: object) -> str:
        """What stands in the statement for ``value``."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f":{name}"


def like(text: str, *, before: str = "", after: str = "") -> str:
    """The pattern of LIKE for a text with wildcards ``*`` and ``?``."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return before + escaped.replace("*", "%").replace("?", "_") + after


def has_wildcard(text: str) -> bool:
    """Whether ``text`` is a pattern."""
    return "*" in text or "?" in text


def _matches(column: str, pattern: str, binder: _Binder) -> str:
    return f"{column} LIKE {binder.bind(pattern)} ESCAPE '\\'"


def _shown(column: str, found: str, pattern: str, binder: _Binder) -> str:
    """``found``, if ``column`` matches without its secrets as well."""
    return f"CASE WHEN {found} THEN shows({column}, {binder.bind(pattern)}) END"


def _status(one: Condition, binder: _Binder) -> str:
    names = json.dumps(sorted(one.statuses))
    # The plus keeps SQLite from choosing an index by itself.
    return f"+status IN (SELECT value FROM json_each({binder.bind(names)}))"


def _task(one: Condition, binder: _Binder) -> str:
    (name,) = one.values
    if not has_wildcard(name):
        return _matches("func_name", like(name, before="%", after="%"), binder)
    found = _matches("func_name", like(name), binder)
    if ":" in name:
        return found
    # The name of a function is what follows the module.
    return f"{found} OR {_matches('func_name', like(name, before='%:'), binder)}"


def _error(one: Condition, binder: _Binder) -> str:
    (text,) = one.values
    pattern = text if has_wildcard(text) else f"*{text}*"
    return _shown(_ERROR, _matches(_ERROR, like(pattern), binder), pattern, binder)


def _text(one: Condition, binder: _Binder) -> str:
    (text,) = one.values
    pattern = f"*{text}*"
    error = _shown(_ERROR, _matches(_ERROR, like(pattern), binder), pattern, binder)
    return f"{_matches('func_name', like(pattern), binder)} OR {error} OR {_id(one, binder)}"


def _id(one: Condition, binder: _Binder) -> str:
    parts: list[str] = []
    for value in one.values:
        if has_wildcard(value):
            parts.append(_matches("task_id", like(value), binder))
        else:
            first, last = map(binder.bind, id_range(value))
            parts.append(f"(task_id >= {first} AND task_id < {last})")
    return " OR ".join(parts)


def _is(column: str) -> Callable[[Condition, _Binder], str]:
    """One of the values, whole; a value with wildcards is a pattern."""

    def make(one: Condition, binder: _Binder) -> str:
        return " OR ".join(
            _matches(column, like(value), binder)
            if has_wildcard(value)
            else f"+{column} = {binder.bind(value)}"
            for value in one.values
        )

    return make


def _begins(*columns: str) -> Callable[[Condition, _Binder], str]:
    def make(one: Condition, binder: _Binder) -> str:
        return " OR ".join(
            _matches(column, like(value, after="%"), binder)
            for value in one.values
            for column in columns
        )

    return make


def _key(one: Condition, binder: _Binder) -> str:
    # A concurrency key is stored with the name of its task before it.
    own = "substr(concurrency_key, length(func_name) + 2)"
    columns = ("idempotency_key", "concurrency_key", own)
    return " OR ".join(
        _shown(column, _is(column)(Condition("key", values=(value,)), binder), value, binder)
        for column in columns
        for value in one.values
    )


def _tag(one: Condition, binder: _Binder) -> str:
    (text,) = one.values
    label = binder.bind(text)
    is_so = f"(typeof(key) = 'integer' AND value = {label}) OR key = {label}"
    name, separator, value = text.partition("=")
    if separator:
        is_so += f" OR (key = {binder.bind(name)} AND value = {binder.bind(value)})"
    # Whatever is no JSON would be an error, and not only of this one task.
    return (
        "tags IS NOT NULL AND CASE WHEN json_valid(tags)"
        f" THEN EXISTS (SELECT 1 FROM json_each(tags) WHERE {is_so}) AND shows_tag(tags, {label})"
        " END"
    )


def _compare(expression: str) -> Callable[[Condition, _Binder], str]:
    def make(one: Condition, binder: _Binder) -> str:
        sign = {":": "=", "<": "<", ">": ">"}[one.operator]
        return f"{expression} {sign} {binder.bind(one.number)}"

    return make


def _after(one: Condition, binder: _Binder) -> str:
    return f"created_at >= {binder.bind(one.number)}"


def _before(one: Condition, binder: _Binder) -> str:
    return f"created_at < {binder.bind(one.number)}"


_MAKERS: dict[str, Callable[[Condition, _Binder], str]] = {
    "status": _status,
    "task": _task,
    "lane": _is("lane"),
    "queue": _is("queue"),
    "source": _is("source"),
    "fingerprint": _is("fingerprint"),
    "instance": _begins("instance", "owner"),
    "id": _id,
    "key": _key,
    "tag": _tag,
    "error": _error,
    "text": _text,
    "wait": _compare(_WAIT),
    "run": _compare(_RUN),
    "attempt": _compare("attempt"),
    "after": _after,
    "before": _before,
}
