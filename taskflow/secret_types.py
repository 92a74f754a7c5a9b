"""What a signature says about secrets: parameters by their names, and pydantic's secret types."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from taskflow.parameters import Slot

_SECRET = (SecretStr, SecretBytes, Secret)
#: Annotations inside of annotations are followed so far, and so many of them.
_DEEPEST = 8
_MOST = 500


@dataclass(frozen=True, slots=True)
class Hidden:
    """Of a function's arguments: the names of those by position, and what is secret by its type."""

    #: In order; the last one goes on for ever if ``open_ended``.
    positional: tuple[str, ...] = ()
    open_ended: bool = False
    #: Any argument by name is, because ``**kwargs`` are.
    named: bool = False
    #: Parameters that are secret as a whole.
    whole: frozenset[str] = frozenset()
    #: Fields of models, dataclasses and typed dicts that are.
    fields: frozenset[str] = frozenset()

    def name_at(self, index: int) -> str | None:
        """The name of the parameter that takes the argument at ``index``."""
        if index < len(self.positional):
            return self.positional[index]
        return self.positional[-1] if self.open_ended else None


def hidden_of(slots: Mapping[str, Slot], result: object = None) -> Hidden:
    """What ``slots`` of a function, and the annotation of its ``result``, say."""
    positional = [slot.name for slot in slots.values() if slot.by_position]
    rest = slots.get("*")
    if rest is not None:
        positional.append(rest.name.lstrip("*"))
    whole = {slot.name.lstrip("*") for slot in slots.values() if is_secret(slot.annotation)}
    search = _Search()
    search.look([*(slot.annotation for slot in slots.values()), result], 0)
    others = slots.get("**")
    return Hidden(
        positional=tuple(positional),
        open_ended=rest is not None,
        named=others is not None and is_secret(others.annotation),
        whole=frozenset(whole),
        fields=frozenset(search.fields),
    )


def is_secret(annotation: object, depth: int = 0) -> bool:
    """Whether values are secret as a whole: ``SecretStr``, ``list[SecretStr]``, or None of it."""
    if isinstance(annotation, type) and issubclass(annotation, _SECRET):
        return True
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, _SECRET):
        return True
    return depth < _DEEPEST and any(
        is_secret(part, depth + 1) for part in typing.get_args(annotation)
    )


@dataclass
class _Search:
    """Goes through annotations; each class once."""

    fields: set[str] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)

    def look(self, annotations: Iterable[object], depth: int) -> None:
        for annotation in annotations:
            if depth > _DEEPEST or len(self.seen) > _MOST or id(annotation) in self.seen:
                continue
            self.look(typing.get_args(annotation), depth + 1)
            if isinstance(annotation, type):
                self.seen.add(id(annotation))
                members = _members(annotation)
                self.fields |= {name for name, kind in members if is_secret(kind)}
                self.look([kind for _, kind in members], depth + 1)


def _members(kind: type) -> list[tuple[str, object]]:
    """Fields with their annotations, under every name that they may have in JSON."""
    try:
        if issubclass(kind, BaseModel):
            return [
                (name, info.annotation)
                for key, info in kind.model_fields.items()
                for name in (key, info.alias, info.serialization_alias)
                if isinstance(name, str)
            ]
        if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind) or hasattr(kind, "_fields"):
            return list(typing.get_type_hints(kind).items())
    except Exception:  # annotations of users may be anything
        return []
    return []
