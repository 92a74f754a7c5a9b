"""What the code of a task says while it runs, as values, and as the bytes a worker process sends.

On the wire each is a JSON list. What cannot be read is ignored: code of users shares the channel.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from typing import NamedTuple

from taskflow.printable import printable

#: The message of a progress is cut at this many characters.
LONGEST_MESSAGE = 200

Number = int | float


class Line(NamedTuple):
    """A line for the log of the attempt. ``at`` is in seconds since the epoch."""

    at: float
    level: str
    text: str

    def encode(self) -> bytes:
        return _dump(["line", *self])


class Progress(NamedTuple):
    """How far the attempt is; see `make_progress`."""

    done: Number
    total: Number | None
    message: str

    def encode(self) -> bytes:
        return _dump(["progress", *self])

    def as_json(self) -> str:
        """As it is stored."""
        return json.dumps(self._asdict(), ensure_ascii=False)


class LeftOut(NamedTuple):
    """The log is full; so many lines more were left out."""

    lines: int

    def encode(self) -> bytes:
        return _dump(["left out", *self])


class LastWord(NamedTuple):
    """Where the newest progress stands if the process dies before it was sent; see `last_word`."""

    path: str

    def encode(self) -> bytes:
        return _dump(["last word", *self])


Message = Line | Progress | LeftOut | LastWord


def make_progress(done: object, total: object = None, message: object = "") -> Progress:
    """A checked progress.

    Raises `TypeError` for what is not a number, and `ValueError` for one that is not finite, or a
    total that is not greater than 0.
    """
    text = str(message)[:LONGEST_MESSAGE]
    checked = None if total is None else _number("total", total)
    if checked is not None and checked <= 0:
        raise ValueError(
            f"total={total!r} is not greater than 0: leave it out while it is not known"
        )
    return Progress(_number("done", done), checked, printable(text)[:LONGEST_MESSAGE])


def _number(name: str, value: object) -> Number:
    number: Number
    if type(value) is int or type(value) is float:
        number = value
    elif hasattr(value, "__index__"):  # numpy's integers, for one
        number = operator.index(value)
    elif hasattr(value, "__float__"):
        number = float(value)
    else:
        raise TypeError(f"{name}={value!r} is not a number but a {type(value).__name__}")
    try:
        finite = math.isfinite(number)
    except OverflowError:
        raise ValueError(f"{name} is an integer beyond every float") from None
    if not finite:
        raise ValueError(f"{name}={number} is not a finite number")
    return number


def decode(data: bytes) -> Message | None:
    """The message that ``data`` is, or None."""
    try:
        kind, *values = json.loads(data)
        return _READERS[kind](*values)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _line(at: object, level: object, text: object) -> Line:
    if not isinstance(level, str) or not isinstance(text, str):
        raise TypeError("level and text of a line are strings")
    return Line(float(_number("at", at)), level, text)


def _left_out(lines: object) -> LeftOut:
    if type(lines) is not int or lines < 0:
        raise TypeError("lines are counted from 0")
    return LeftOut(lines)


def _last_word(path: object) -> LastWord:
    if not isinstance(path, str) or "\0" in path:
        raise TypeError("a path is a string")
    return LastWord(path)


_READERS: dict[str, Callable[..., Message]] = {
    "line": _line,
    "progress": make_progress,
    "left out": _left_out,
    "last word": _last_word,
}


def _dump(values: list[object]) -> bytes:
    return json.dumps(values).encode()
