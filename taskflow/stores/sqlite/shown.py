"""What a search may find: only what whoever asks would be shown. Pure.

A text that is shown without its secrets must not give them away by being found: a pattern is held
against it as it is shown, and what stands for a secret is met by a ``*`` only. Whatever matches so
matches as it is stored, too, and the quick look at what is stored may come first.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from typing import Any

from taskflow.redaction import Redactor
from taskflow.secret_text import MASK

#: So many characters of a text are searched.
LONGEST = 20_000
#: No pattern has it.
_HIDDEN = "\0"
_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Shown:
    """Answers for SQLite, in the thread of a reader."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    @property
    def functions(self) -> dict[str, tuple[int, Callable[..., bool]]]:
        """By name in SQL: how many values each takes, and what answers."""
        return {"shows": (2, self.shows), "shows_tag": (2, self.shows_tag)}

    def shows(self, text: object, pattern: str) -> bool:
        """Whether ``text`` matches as it is shown; in ``pattern`` are the wildcards * and ?."""
        if not isinstance(text, str) or _HIDDEN in pattern:
            return False
        shown = self._redactor.beginning(text, LONGEST, "error").replace(MASK, _HIDDEN)
        if len(text) > LONGEST:
            shown += _HIDDEN  # how it goes on is not known
        return matches(shown.translate(_FOLD), pattern.translate(_FOLD))

    def shows_tag(self, tags: object, label: str) -> bool:
        """Whether tags, as JSON, have this label, key, or ``key=value`` as they are shown."""
        try:
            shown = self._redactor.value(json.loads(str(tags)), "tags")
        except (ValueError, RecursionError):
            return False
        if isinstance(shown, list):
            return label in shown
        return isinstance(shown, dict) and (label in shown or label in map(_pair, shown.items()))


def matches(text: str, pattern: str) -> bool:
    """Whether all of ``text`` is as ``pattern`` says; takes a time of their lengths multiplied."""
    first, *others = pattern.split("*")
    found = _piece(first).match(text)
    if found is None:
        return False
    if not others:
        return found.end() == len(text)
    *middle, last = others
    at = found.end()
    for piece in middle:
        # The first place is as good as any other: a ``*`` follows.
        found = _piece(piece).search(text, at)
        if found is None:
            return False
        at = found.end()
    rest = len(text) - len(last)
    return rest >= at and _piece(last).match(text, rest) is not None


def _piece(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\?", f"[^{_HIDDEN}]"))


def _pair(item: tuple[Any, Any]) -> str:
    return f"{item[0]}={item[1]}"
