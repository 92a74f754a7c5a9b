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
    if isinstance(given, str) and (MASK in given or _CUT.search(given)):
        raise HiddenValueError(
            f"{name} was hidden or cut when it was shown: leave it as it was, or write all of it"
        )
    return given


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
    pairs = itertools.zip_longest(shown[: len(given)], stored[: len(given)])
    known = [*pairs, *[(None, None)] * len(given)]
    found = [restore(value, *known[index], f"{name}[{index}]") for index, value in enumerate(given)]
    return found + rest
