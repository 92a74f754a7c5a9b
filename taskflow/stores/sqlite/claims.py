"""Taking tasks from disk: which are next over all queues of a lane, and which may run now.

A task that may not run now is marked and leaves the index that claims walk along, so that it is
walked over once and not by every claim.
"""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from taskflow.record import COLUMNS
from taskflow.stores.base import Claimed
from taskflow.stores.sqlite.rows import to_record
from taskflow.stores.sqlite.transactions import transaction

Row = tuple[Any, ...]

UNKNOWN_NAME = "no function of this name in the app"
#: Tasks that one claim marks and looks past, give or take a slice: meanwhile responses wait for
#: their commit, 60 ms for so many.
MOST_MARKED = 2000
#: How far a claim looks at a time in a queue where it has met such tasks.
SLICE = 512
#: Every priority that can be stored is above it.
_LOWEST = -(2**63)

# Where there is a choice of indexes SQLite guesses, and a wrong guess reads a million rows: the
# index is named in each statement that depends on it.
READY = "status = 'pending' AND owner IS NULL AND parked IS NULL AND blocked IS NULL"
ANY = f"SELECT 1 FROM tasks INDEXED BY tasks_ready WHERE lane = ? AND {READY} LIMIT 1"
#: The first task of each queue, by jumping from one queue to the next along the index.
HEADS = (
    "WITH RECURSIVE heads (head) AS ("
    f" SELECT (SELECT seq FROM tasks INDEXED BY tasks_ready WHERE lane = :lane AND {READY}"
    " ORDER BY queue, priority DESC, seq LIMIT 1)"
    " UNION ALL"
    " SELECT (SELECT seq FROM tasks INDEXED BY tasks_ready"
    f" WHERE lane = :lane AND queue > last.queue AND {READY}"
    " ORDER BY queue, priority DESC, seq LIMIT 1)"
    " FROM heads CROSS JOIN tasks AS last ON last.seq = head)"
    " SELECT seq, queue, priority, func_name, concurrency_key, key_limit"
    " FROM heads CROSS JOIN tasks ON seq = head"
)
NEXT = (
    f"SELECT seq, {', '.join(COLUMNS)} FROM tasks INDEXED BY tasks_ready"
    f" WHERE lane = ? AND queue = ? AND priority > ? AND {READY}"
    " ORDER BY priority DESC, seq LIMIT ?"
)
#: The same over several queues. SQLite takes the first of what it has found (ORDER BY) and adds the
#: one that follows it in its queue, until there are enough. ``reach`` bounds each queue.
NEXT_OF_SEVERAL = (
    "WITH RECURSIVE walk (at, queue, priority, reach) AS ("
    " SELECT seq, queue, priority, json_extract(value, '$[1]')"
    " FROM json_each(:heads) CROSS JOIN tasks ON seq = json_extract(value, '$[0]')"
    " UNION ALL"
    " SELECT next.seq, next.queue, next.priority, reach - 1"
    " FROM walk CROSS JOIN tasks AS next ON next.seq = coalesce("
    "(SELECT seq FROM tasks INDEXED BY tasks_ready"
    " WHERE lane = :lane AND queue = walk.queue AND priority = walk.priority AND seq > at"
    f" AND {READY} ORDER BY seq LIMIT 1),"
    " (SELECT seq FROM tasks INDEXED BY tasks_ready"
    " WHERE lane = :lane AND queue = walk.queue AND priority < walk.priority AND priority > :above"
    f" AND {READY} ORDER BY priority DESC, seq LIMIT 1))"
    " WHERE reach > 1"
    " ORDER BY 3 DESC, 1 LIMIT :limit)"
    f" SELECT seq, {', '.join(f'tasks.{name}' for name in COLUMNS)}"
    " FROM walk CROSS JOIN tasks ON seq = at"
)
HOLDERS = (
    "SELECT count(*) FROM tasks INDEXED BY tasks_holding"
    " WHERE concurrency_key = ? AND owner IS NOT NULL"
)
_THESE = "WHERE seq IN (SELECT value FROM json_each(?))"
TAKE = f"UPDATE tasks SET owner = ?, lease = lease + 1 {_THESE}"
PARK = f"UPDATE tasks SET parked = '{UNKNOWN_NAME}' {_THESE}"
BLOCK = f"UPDATE tasks SET blocked = json_array(lane, queue, key_limit) {_THESE}"
UNPARK = (
    "UPDATE tasks INDEXED BY tasks_parked SET parked = NULL WHERE parked IS NOT NULL"
    " AND func_name IN (SELECT value FROM json_each(?))"
)
PARKED = (
    "SELECT 1 FROM tasks INDEXED BY tasks_parked WHERE parked IS NOT NULL"
    " AND func_name IN (SELECT value FROM json_each(?)) LIMIT 1"
)


class _Head(NamedTuple):
    """The task of a queue that is next."""

    seq: int
    queue: str
    priority: int
    name: str
    key: str | None
    key_limit: int


_QUEUE, _PRIORITY, _NAME, _KEY, _KEY_LIMIT = (
    COLUMNS.index(name) + 1
    for name in ("queue", "priority", "func_name", "concurrency_key", "key_limit")
)


class _Claim:
    """One claim under way, inside of a transaction but for the first look."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        lane: str,
        limit: int,
        names: Collection[str],
        places: Mapping[str, int],
        above: int | None,
    ) -> None:
        self._connection = connection
        self._lane = lane
        self._names = names
        self._places = dict(places)
        self._above = _LOWEST if above is None else above
        self._wanted = max(limit, 0)
        #: How many tasks of a key are owned, those taken here included.
        self._holders: dict[str, int] = {}
        #: Queues in which tasks were met that cannot be taken.
        self._tainted: set[str] = set()
        #: What to mark, by the statement that does it.
        self._marks: dict[str, list[int]] = {PARK: [], BLOCK: []}
        self.marked = 0
        self.taken: list[Row] = []

    def heads(self) -> list[_Head]:
        """The first task of each queue that has any."""
        rows = self._connection.execute(HEADS, {"lane": self._lane}).fetchall()
        return [_Head(*row) for row in rows]

    def has_work(self, heads: Iterable[_Head]) -> bool:
        """Whether one of these is to be taken, or to be marked."""
        return any(self._is_open(head) or self._is_stuck(head) for head in heads)

    def look_again(self) -> None:
        """Others may have written since the first look."""
        self._holders.clear()

    def go_on(self, owner: str, heads: Iterable[_Head]) -> None:
        """Take or mark the next ones; at least one, because ``heads`` have work."""
        before = len(self.taken)
        open_: list[_Head] = []
        for head in heads:
            if self._is_open(head):
                open_.append(head)
            elif self._is_stuck(head):
                # Nothing is taken here, but `Claimed.left` must not name what cannot be taken.
                for row in self._next_of(head.queue, _LOWEST, SLICE):
                    self._mark(row)
        if open_:
            self._take(open_)
        if taken := self.taken[before:]:
            self._connection.execute(TAKE, (owner, _json(row[0] for row in taken)))
        for statement, marked in self._marks.items():
            if marked:
                self._connection.execute(statement, (_json(marked),))
                self.marked += len(marked)
                marked.clear()

    def _take(self, open_: Iterable[_Head]) -> None:
        """Sort out what is next in these queues, in order and as far as it is known."""
        reach = {
            head.queue: SLICE if head.queue in self._tainted else self._room(head.queue)
            for head in open_
        }
        rows = self._next(open_, reach)
        names = self._names
        if not self._tainted and all(row[_KEY] is None and row[_NAME] in names for row in rows):
            # As nearly always; and no more were looked for than may be taken.
            for queue, count in Counter(map(itemgetter(_QUEUE), rows)).items():
                self._spend(queue, count)
            self.taken += rows
            return
        for row in rows:
            queue = row[_QUEUE]
            reach[queue] -= 1
            if self._mark(row):
                self._tainted.add(queue)
            elif self._room(queue) > 0:
                self._spend(queue, 1)
                self.taken.append(row)
                if (key := row[_KEY]) is not None:
                    self._holders[key] += 1
            # Where the look ended before the room did, the next of this queue may come first.
            if self._wanted <= 0 or (reach[queue] <= 0 and self._room(queue) > 0):
                return

    def _next(self, open_: Iterable[_Head], reach: Mapping[str, int]) -> list[Row]:
        limit = SLICE if self._tainted else self._wanted
        if len(reach) == 1:
            [(queue, most)] = reach.items()
            return self._next_of(queue, self._above, min(most, limit))
        values = {
            "lane": self._lane,
            "above": self._above,
            "limit": limit,
            "heads": _json([head.seq, reach[head.queue]] for head in open_),
        }
        rows = self._connection.execute(NEXT_OF_SEVERAL, values).fetchall()
        rows.sort(key=_order)
        return rows

    def _next_of(self, queue: str, above: int, limit: int) -> list[Row]:
        return self._connection.execute(NEXT, (self._lane, queue, above, limit)).fetchall()

    def _room(self, queue: str) -> int:
        """How many more tasks of this queue may be taken."""
        return min(self._places.get(queue, self._wanted), self._wanted)

    def _spend(self, queue: str, count: int) -> None:
        self._wanted -= count
        if queue in self._places:
            self._places[queue] -= count

    def _is_open(self, head: _Head) -> bool:
        return head.priority > self._above and self._room(head.queue) > 0

    def _is_stuck(self, head: _Head) -> bool:
        return self._obstacle(head.name, head.key, head.key_limit) is not None

    def _mark(self, row: Row) -> bool:
        """Whether this one cannot be taken; then it will be marked."""
        obstacle = self._obstacle(row[_NAME], row[_KEY], row[_KEY_LIMIT])
        if obstacle is None:
            return False
        self._marks[obstacle].append(row[0])
        return True

    def _obstacle(self, name: str, key: str | None, key_limit: int) -> str | None:
        """How to mark a task with these properties that cannot be taken, None if it can."""
        if name not in self._names:
            return PARK
        if key is None:
            return None
        held = self._holders.get(key)
        if held is None:
            (held,) = self._connection.execute(HOLDERS, (key,)).fetchone()
            self._holders[key] = held
        return BLOCK if held >= key_limit else None


def claim(
    connection: sqlite3.Connection,
    owner: str,
    lane: str,
    limit: int,
    names: Collection[str],
    places: Mapping[str, int],
    above: int | None,
) -> Claimed:
    """See `taskflow.stores.base.Store.claim`."""
    # Claims of nothing are frequent, and need no transaction.
    if connection.execute(ANY, (lane,)).fetchone() is None:
        return Claimed([], {})
    under_way = _Claim(connection, lane, limit, names, places, above)
    bounded = bool(places) or above is not None or limit < 1
    heads = under_way.heads() if bounded else []
    if not bounded or under_way.has_work(heads):
        with transaction(connection):
            under_way.look_again()
            heads = under_way.heads()
            while under_way.marked < MOST_MARKED and under_way.has_work(heads):
                under_way.go_on(owner, heads)
                heads = under_way.heads()
    records = [to_record(row[1:]) for row in sorted(under_way.taken, key=_order)]
    for record in records:
        record.owner = owner
        record.lease += 1
    return Claimed(records, {head.queue: head.priority for head in heads})


def unpark(connection: sqlite3.Connection, names: Collection[str]) -> int:
    """See `taskflow.stores.base.Store.unpark`."""
    wanted = (_json(names),)
    if connection.execute(PARKED, wanted).fetchone() is None:
        return 0
    return connection.execute(UNPARK, wanted).rowcount


def _order(row: Row) -> tuple[int, int]:
    return -row[_PRIORITY], row[0]


def _json(values: Iterable[object]) -> str:
    """Any number of values as one bound value."""
    return json.dumps(list(values))
