"""Stored JSON and stored times, made fit for an answer whatever is in them. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from pydantic_core import from_json

#: Text of JSON beyond this many characters is not taken apart, only shown in part.
LONGEST_TEXT = 1024 * 1024
#: Of strings this many characters are shown, of lists and objects so many members, so deep.
LONGEST_STRING = 2000
MOST_MEMBERS = 100
DEEPEST = 12

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


def moment(seconds: float) -> datetime:
    """The time so many seconds after the epoch; what no calendar has is the nearest that it has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return _EARLIEST if seconds < 0 else _LATEST


def moment_or_none(seconds: float | None) -> datetime | None:
    """`moment`, of a time that may not be there."""
    return None if seconds is None else moment(seconds)


def between(start: float, end: float) -> float:
    """Seconds from ``start`` to ``end``, never negative: the clock may have been set back."""
    return round(max(end - start, 0.0), 6)


def parse(text: str | None) -> object:
    """The value of stored JSON; text that is none, or too much of it, as it is (but not longer)."""
    if not text:
        return None
    if len(text) > LONGEST_TEXT:
        return shorten(text)
    try:
        value: object = from_json(text)
    except ValueError:
        return shorten(text)
    # JSON has no such numbers, but Python writes and reads them.
    return _spell_out(value) if "NaN" in text or "Infinity" in text else value


def shorten(value: object, depth: int = 0) -> object:
    """``value`` for people to look at: long texts and large containers are cut, and say so."""
    if isinstance(value, str):
        if len(value) <= LONGEST_STRING:
            return value
        return f"{value[:LONGEST_STRING]}… ({len(value):,} characters)"
    if not isinstance(value, list | dict):
        return value
    if depth == DEEPEST:
        return "…"
    more = len(value) - MOST_MEMBERS
    if isinstance(value, list):
        items = [shorten(item, depth + 1) for item in value[:MOST_MEMBERS]]
        return [*items, f"… {more:,} more"] if more > 0 else items
    members = {key: shorten(value[key], depth + 1) for key in list(value)[:MOST_MEMBERS]}
    return {**members, "…": f"{more:,} more"} if more > 0 else members


def _spell_out(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [_spell_out(item) for item in value]
    if isinstance(value, dict):
        return {key: _spell_out(item) for key, item in value.items()}
    return value
