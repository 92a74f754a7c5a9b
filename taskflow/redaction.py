"""Takes secrets out of what leaves the process: REST, dashboard, events, lines in the app's log.

What is stored stays as it is, because tasks must run again. `Redactor` never raises, and looks at a
bounded number of values: what it did not look at, it does not let out. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from taskflow.errors import SettingsError
from taskflow.secret_names import SecretNames
from taskflow.secret_text import MASK, TextRedactor
from taskflow.secret_types import Hidden

#: Gets the name of a value and the value, and returns what is to be shown instead of it.
Hook = Callable[[str, Any], Any]

#: Deeper values, and those after so many, are hidden altogether.
DEEPEST = 64
MOST_VALUES = 200_000
#: Shorter texts hold nothing that could be told from an ordinary word.
_SHORTEST = 5
#: Half a secret before a cut is not longer, unless it is known by what stands before it.
_MARGIN = 200

_NOTHING = Hidden()


class Redactor:
    """Hides values under secret names and what looks like a secret inside of texts.

    ``names`` are secret beside those that `taskflow.secret_names` knows. ``hook`` is asked about
    every value that a user's code made and that was not hidden already; if it raises, the value is
    hidden.
    """

    def __init__(self, names: Iterable[str] = (), hook: Hook | None = None) -> None:
        names = tuple(names)
        self._names = SecretNames(names)
        self._texts = TextRedactor(self._names, (name.lower() for name in names if name))
        self._hook = hook

    def text(self, text: str, name: str = "message") -> str:
        """``text`` without secrets; ``name`` is what the hook is told."""
        shown = self._text(text)
        return shown if self._hook is None else str(self._ask(name, shown))

    def beginning(self, text: str, longest: int, name: str = "message") -> str:
        """At most ``longest`` characters of ``text`` without secrets, for a bounded time.

        The last of them are left off where ``text`` is longer: a secret that was cut there might
        not look like one any more.
        """
        if len(text) <= longest:
            return self.text(text, name)
        return self.text(f"{text[:longest]}…", name)[:-_MARGIN]

    def value(self, value: object, name: str = "", hidden: Hidden = _NOTHING) -> object:
        """Decoded JSON without secrets, as a new value; ``name`` is what it stands under."""
        return _Walk(self, hidden.fields).value(value, name, 0)

    def arguments(self, found: dict[str, Any], hidden: Hidden | None) -> dict[str, Any]:
        """``{"args": [...], "kwargs": {...}}`` without secrets.

        ``hidden`` is what is known of the function; without it, nobody can tell which argument by
        position is a secret, and all of them are hidden.
        """
        args, kwargs = found.get("args"), found.get("kwargs")
        known = hidden or _NOTHING
        walk = _Walk(self, known.fields | known.whole)
        shown: dict[str, Any] = {}
        if isinstance(args, list):
            shown["args"] = [
                walk.value(value, known.name_at(index) or "", 0) if hidden else _hide(value)
                for index, value in enumerate(args)
            ]
        else:
            shown["args"] = _hide(args)
        if known.named and isinstance(kwargs, dict):
            kwargs = {name: _hide(value) for name, value in kwargs.items()}
        shown["kwargs"] = walk.value(kwargs, "", 0)
        return shown

    def is_secret(self, name: str) -> bool:
        """Whether values under this name are hidden."""
        return name in self._names

    def _text(self, text: str) -> str:
        if len(text) < _SHORTEST:
            return text
        return self._texts.hide(text)

    def _ask(self, name: str, value: object) -> object:
        assert self._hook is not None
        try:
            answer = self._hook(name, value)
        except Exception:  # an unsure hook hides
            return MASK
        plain = isinstance(answer, str | int | float | bool | None)
        return answer if plain or answer is value else MASK


class _Walk:
    """One way through one value."""

    def __init__(self, redactor: Redactor, secret: frozenset[str]) -> None:
        self._redactor = redactor
        self._secret = secret
        self._left = MOST_VALUES

    def value(self, value: object, name: str, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or depth > DEEPEST:
            return MASK
        redactor = self._redactor
        if name and (name in self._secret or redactor.is_secret(name)):
            return _hide(value, name)
        if isinstance(value, str):
            value = redactor._text(value)
        elif isinstance(value, dict):
            return self._members(value, depth)
        elif isinstance(value, list | tuple):
            return self._items(value, name, depth)
        return value if redactor._hook is None or value is MASK else redactor._ask(name, value)

    def _members(self, value: dict[Any, Any], depth: int) -> dict[str, object]:
        shown: dict[str, object] = {}
        for key, member in value.items():
            if self._left < 0:
                break
            # A key is text that a user made, too.
            shown[self._redactor._text(str(key))] = self.value(member, str(key), depth + 1)
        # Headers and variables as objects of their own: {"name": "Cookie", "value": "..."}.
        label = value.get("name") or value.get("key")
        if "value" in value and isinstance(label, str) and self._redactor.is_secret(label):
            shown["value"] = _hide(value["value"], label)
        return shown

    def _items(self, items: list[Any] | tuple[Any, ...], name: str, depth: int) -> list[object]:
        # Headers as pairs.
        if len(items) == 2 and isinstance(items[0], str) and isinstance(items[1], str):
            return [items[0], self.value(items[1], items[0], depth + 1)]
        shown: list[object] = []
        for item in items:
            if self._left < 0:
                shown.append(MASK)
                break
            shown.append(self.value(item, name, depth + 1))
        return shown


def _hide(value: object, name: str = "") -> object:
    """The mask, but for what says no more than whether there is a secret."""
    if value is None or isinstance(value, bool) or value == "":
        return value
    if isinstance(value, int | float) and name.lower().endswith("tokens"):
        return value  # a number of them
    return MASK


def make_redactor(names: str, hook: object) -> Redactor:
    """From ``TASKFLOW_REDACT``, names with commas between, and ``redact=`` of a manager.

    Raises `SettingsError` for a hook that cannot be called.
    """
    if hook is not None and not callable(hook):
        raise SettingsError(
            f"redact={hook!r:.60}: give a function of (name, value) that returns what is shown, or "
            "a text of names with commas between"
        )
    return Redactor((name.strip() for name in names.split(",")), hook)
