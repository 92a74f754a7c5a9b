"""What whoever was let in may do: look, or operate. Pure, but for what it leaves in a scope."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, get_args

from fastapi import HTTPException

from taskflow.printable import printable

Role = Literal["view", "operate"]
ROLES: tuple[Role, ...] = get_args(Role)

#: Where the guard leaves what it found out, in the scope of a request.
_VISITOR = "taskflow.visitor"
_ADMITTED = "taskflow.admitted"
#: What may hold the name of a user, in what a dependency returns.
_NAMES = ("user", "name", "username")
_LONGEST_NAME = 200
_NOT_THERE = object()


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who was let in; ``user`` is None if nobody knows."""

    user: str | None
    role: Role


#: Whoever is let in without a word about him.
SOMEBODY = Visitor(None, "operate")


def visitor_of(found: object) -> Visitor:
    """Who ``found`` is, which a dependency has returned; 403 for a role that there is not.

    A text that is no role says nothing: it may well be a token. One that is nearly a role, and a
    list, which may hold one, are refused: whoever wrote them did mean something.
    """
    if isinstance(found, Enum):
        found = found.value
    if isinstance(found, str):
        if found.strip().lower() in ROLES:
            return Visitor(None, _check(found))
        return SOMEBODY
    if isinstance(found, list | tuple) and not hasattr(found, "_fields"):
        raise HTTPException(403, f"who asks is a {type(found).__name__}: give a text or an object")
    role = _get(found, "role")
    names = (_get(found, name) for name in _NAMES)
    user = next((name for name in names if isinstance(name, str) and name), None)
    return Visitor(
        None if user is None else printable(user)[:_LONGEST_NAME],
        "operate" if role is _NOT_THERE else _check(role),
    )


def _get(found: object, name: str) -> object:
    if isinstance(found, Mapping):
        return found.get(name, _NOT_THERE)
    return getattr(found, name, _NOT_THERE)


def _check(role: object) -> Role:
    value = role.value if isinstance(role, Enum) else role
    for known in ROLES:
        if value == known:
            return known
    known_roles = " or ".join(ROLES)
    raise HTTPException(403, f"the role {printable(f'{value!r:.60}')} is none: it is {known_roles}")


def remember(scope: MutableMapping[str, Any], visitor: Visitor) -> None:
    """Leave word of who it is."""
    scope[_VISITOR] = visitor


def visitor_in(scope: Mapping[str, Any]) -> Visitor:
    """Who makes this request."""
    visitor = scope.get(_VISITOR)
    return visitor if isinstance(visitor, Visitor) else SOMEBODY


def admit(scope: MutableMapping[str, Any]) -> None:
    """The guard has nothing against this request."""
    scope[_ADMITTED] = True


def is_admitted(scope: Mapping[str, Any]) -> bool:
    """Whether the guard let this request through to what it asks for."""
    return scope.get(_ADMITTED) is True
