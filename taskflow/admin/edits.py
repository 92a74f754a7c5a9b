"""Arguments that a person has edited: what was hidden or cut is put back. Pure.

A person sees ``[redacted]`` where a secret is, and the beginning of what is long, and sends that
back with whatever was changed. What came back as it was shown means what is stored.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

from taskflow.admin.values import MOST_MEMBERS
from taskflow.secret_text import MASK

#: What `taskflow.admin.values.shorten` puts in place of what it leaves out.
MORE = "…"
_CUT = re.compile(r"… \([\d,]+ characters\)$|^… [\d,]+ more$|^…$")


class HiddenValueError(ValueError):
    """An edited value holds what stands for a hidden one, and it cannot be told for which."""


def restore(given: Any, shown: Any, stored: Any, name: str = "arguments") -> Any:
    """``given`` with the stored value wherever it is as it was shown.

    Raises `HiddenValueError` for a mask that was moved, or that other text stands around now.
    """
    if type(given) is type(shown) and given == shown:
        return stored
    if isinstance(given, dict):
        return _members(given, shown, stored, name)
    if isinstance(given, list):
        return _items(given, shown, stored, name)
    if isinstance(given, str) and _stands_in(given):
        raise HiddenValueError(
            f"{name} was hidden or cut when it was shown: leave it as it was, or write all of it"
        )
    return given


def _stands_in(value: Any) -> bool:
    """Whether anything in ``value`` stands for what was hidden or cut."""
    if isinstance(value, str):
        return MASK in value or _CUT.search(value) is not None
    if isinstance(value, dict):
        return any(key == MORE or _stands_in(member) for key, member in value.items())
    return isinstance(value, list) and any(map(_stands_in, value))


def _members(given: dict[str, Any], shown: Any, stored: Any, name: str) -> dict[str, Any]:
    shown = shown if isinstance(shown, dict) else {}
    stored = stored if isinstance(stored, dict) else {}
    found = {
        key: restore(value, shown.get(key), stored.get(key), f"{name}.{key}")
        for key, value in given.items()
        if key != MORE or key in stored
    }
    if MORE in given and MORE not in stored:
        found |= {key: value for key, value in stored.items() if key not in shown}
    return found


def _items(given: list[Any], shown: Any, stored: Any, name: str) -> list[Any]:
    shown = shown if isinstance(shown, list) else []
    stored = stored if isinstance(stored, list) else []
    rest: list[Any] = []
    if len(stored) > MOST_MEMBERS and given and shown and given[-1] == shown[-1]:
        given, shown, rest = given[:-1], shown[:MOST_MEMBERS], stored[MOST_MEMBERS:]
    if len(given) != len(shown) and any(map(_stands_in, given)):
        raise HiddenValueError(
            f"{name} has {len(given)} items and had {len(shown)}: which of them were hidden or cut "
            "cannot be told any more; write all of them, or keep their number"
        )
    pairs = itertools.zip_longest(shown[: len(given)], stored[: len(given)])
    known = [*pairs, *[(None, None)] * len(given)]
    found = [restore(value, *known[index], f"{name}[{index}]") for index, value in enumerate(given)]
    return found + rest
