"""The query bar: a line of words that say which tasks are meant, as conditions. Pure.

``status:failed task:send_* wait>5s -tag:test "no route to host"``. All words must hold; a ``-``
before a word turns it round. What is written in one of them is a value and never anything else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from taskflow.clock import as_epoch
from taskflow.states import TaskStatus

#: Longer lines, and lines of more words, are refused.
LONGEST = 1000
MOST_WORDS = 20
#: Values of one word, with commas between.
MOST_VALUES = 50
#: In one value: each makes looking at a long error take longer.
MOST_WILDCARDS = 5

Field = Literal[
    "status",
    "task",
    "lane",
    "queue",
    "tag",
    "source",
    "error",
    "fingerprint",
    "instance",
    "id",
    "key",
    "wait",
    "run",
    "attempt",
    "after",
    "before",
    "text",
]
Operator = Literal[":", "<", ">"]

#: What a word may begin with, and an example of each.
EXAMPLES = {
    "status": "status:failed,retrying",
    "task": "task:send_*",
    "lane": "lane:cpu",
    "queue": "queue:email",
    "tag": "tag:team=blue",
    "source": "source:schedule",
    "error": 'error:"SMTP*"',
    "fingerprint": "fingerprint:0a1b2c3d4e5f",
    "instance": "instance:8c1d",
    "id": "id:0190a1b2",
    "key": "key:order-17",
    "wait": "wait>5s",
    "run": "run>2m",
    "attempt": "attempt>1",
    "after": "after:-2h",
    "before": "before:2026-11-22T10:00",
}
#: Of these, several values may be given, with commas between.
_LISTS = frozenset({"status", "lane", "queue", "source", "fingerprint", "instance", "id", "key"})
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)?", re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
#: A word up to where its value begins.
_HEAD = re.compile(r"([A-Za-z_]+)([:<>])", re.ASCII)
#: A piece of a word: quoted, or up to a blank or a quotation mark.
_PIECE = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)', re.DOTALL)


class QueryError(ValueError):
    """A query that means nothing; the message says what is possible."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One word. ``values``: any of them is enough; texts may hold the wildcards ``*`` and ``?``.

    ``number`` is what ``<`` and ``>`` compare with, and the moment of ``after`` and ``before``:
    seconds, or a count. ``statuses`` are the values of ``status``.
    """

    field: Field
    operator: Operator = ":"
    values: tuple[str, ...] = ()
    number: float = 0.0
    statuses: frozenset[TaskStatus] = frozenset()
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Conditions that must all hold; none of them means every task."""

    conditions: tuple[Condition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.conditions)

    @property
    def statuses(self) -> frozenset[TaskStatus]:
        """The statuses that the conditions leave over."""
        found = frozenset(TaskStatus)
        for one in self.conditions:
            if one.field == "status":
                found = found - one.statuses if one.negated else found & one.statuses
        return found

    def without_status(self) -> Query:
        """The same query about tasks of any status."""
        return Query(tuple(one for one in self.conditions if one.field != "status"))

    def within(self, statuses: frozenset[TaskStatus]) -> Query:
        """The same query about tasks of these statuses only."""
        return Query((*self.conditions, Condition("status", statuses=statuses)))


def parse(text: str, now: float) -> Query:
    """The conditions of a line; relative moments count from ``now``.

    Raises `QueryError` for a line that is no query.
    """
    if len(text) > LONGEST:
        raise QueryError(f"the query has {len(text)} characters: write at most {LONGEST}")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise QueryError("the query holds a character that no text has")
    conditions = [_condition(word, now) for word in _words(text)]
    if len(conditions) > MOST_WORDS:
        raise QueryError(f"the query has {len(conditions)} words: write at most {MOST_WORDS}")
    return Query(tuple(conditions))


@dataclass(frozen=True, slots=True)
class _Word:
    """A word as written: ``value`` without the quotation marks that were around it."""

    head: str
    operator: Operator
    value: str
    quoted: bool
    negated: bool

    def __str__(self) -> str:
        return f"{self.head}{self.operator if self.head else ''}{self.value}"[:80]


def _words(text: str) -> list[_Word]:
    found: list[_Word] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        negated = text[at] == "-"
        at += negated
        head, operator = "", ":"
        if (begin := _HEAD.match(text, at)) is not None:
            head, operator, at = begin[1].lower(), begin[2], begin.end()
        value, quoted, at = _value(text, at)
        if not head and not value:
            raise QueryError("'-' stands before nothing: write it before the word that it is for")
        found.append(_Word(head, _operator(operator), value, quoted, negated))
    return found


def _value(text: str, at: int) -> tuple[str, bool, int]:
    """The value that begins at ``at``, whether it was quoted, and where it ends."""
    value, quoted = "", False
    while at < len(text) and not text[at].isspace():
        piece = _PIECE.match(text, at)
        if piece is None:
            raise QueryError(f'a quotation mark is not closed: {text[at : at + 40]} ... "')
        if piece[2] is None:
            value += re.sub(r"\\(.)", r"\1", piece[1], flags=re.DOTALL)
            quoted = True
        else:
            value += piece[2]
        at = piece.end()
    return value, quoted, at


def _operator(text: str) -> Operator:
    return "<" if text == "<" else ">" if text == ">" else ":"


def _condition(word: _Word, now: float) -> Condition:
    field, negated = word.head, word.negated
    match field:
        case "":
            return Condition("text", values=_checked(word, (word.value,)), negated=negated)
        case "wait" | "run":
            number = _seconds(word)
            return Condition(field, _compared(word), number=number, negated=negated)
        case "attempt":
            return Condition(field, word.operator, number=_count(word), negated=negated)
        case "after" | "before":
            _only_a_colon(word)
            return Condition(field, number=_moment(word, now), negated=negated)
        case "status":
            _only_a_colon(word)
            return Condition(field, statuses=_statuses(word), negated=negated)
        case "task" | "lane" | "queue" | "tag" | "source" | "error" | "fingerprint":
            _only_a_colon(word)
            return Condition(field, values=_texts(word), negated=negated)
        case "instance" | "id" | "key":
            _only_a_colon(word)
            return Condition(field, values=_texts(word), negated=negated)
        case _:
            raise QueryError(
                f"{field + word.operator!r} is nothing to look for: there are "
                f"{', '.join(EXAMPLES.values())}; put a text with a {word.operator!r} in it into "
                f'quotation marks: "{word}"'
            )


def _texts(word: _Word) -> tuple[str, ...]:
    parts = [word.value]
    if word.head in _LISTS and not word.quoted:
        parts = word.value.split(",")
    values = tuple(part for part in parts if part)
    if not values:
        raise QueryError(f"{word.head}: says nothing; for example {EXAMPLES[word.head]}")
    if len(values) > MOST_VALUES:
        raise QueryError(f"{word.head}: has {len(values)} values: write at most {MOST_VALUES}")
    return _checked(word, values)


def _checked(word: _Word, values: tuple[str, ...]) -> tuple[str, ...]:
    if any(value.count("*") > MOST_WILDCARDS for value in values):
        raise QueryError(f"{word}: has too many wildcards: write at most {MOST_WILDCARDS}")
    return values


def _statuses(word: _Word) -> frozenset[TaskStatus]:
    names = [value.lower() for value in _texts(word)]
    try:
        return frozenset(map(TaskStatus, names))
    except ValueError:
        raise QueryError(f"{word}: there are the statuses {', '.join(TaskStatus)}") from None


def _only_a_colon(word: _Word) -> None:
    if word.operator != ":":
        raise QueryError(f"{word}: write {EXAMPLES[word.head]}")


def _compared(word: _Word) -> Operator:
    if word.operator == ":":
        raise QueryError(f"{word}: write {word.head}>5s or {word.head}<5s")
    return word.operator


def _seconds(word: _Word) -> float:
    found = _DURATION.fullmatch(word.value)
    if found is None:
        raise QueryError(f"{word}: write a duration such as {word.head}>500ms, 5s, 2m, 1.5h or 3d")
    return float(found[1]) * _SECONDS[found[2] or ""]


def _count(word: _Word) -> float:
    if _COUNT.fullmatch(word.value) is None:
        raise QueryError(f"{word}: write a number, as in {EXAMPLES['attempt']}")
    return float(word.value)


def _moment(word: _Word, now: float) -> float:
    ago = _DURATION.fullmatch(word.value.removeprefix("-"))
    if ago is not None and word.value.startswith("-"):
        return now - float(ago[1]) * _SECONDS[ago[2] or ""]
    try:
        moment = datetime.fromisoformat(word.value)
        return as_epoch(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise QueryError(
            f"{word}: write a time ago such as {word.head}:-2h, or a moment such as "
            f"{word.head}:2026-11-22 or {word.head}:2026-11-22T10:00+01:00 (UTC without an offset)"
        ) from None
