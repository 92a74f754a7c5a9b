"""What a signature says about its parameters: one slot for each, able to read its JSON.

Annotations are resolved one by one, so that one that cannot be evaluated spoils only itself.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Secret, SecretBytes, SecretStr, TypeAdapter
from pydantic_core import from_json, to_json

#: Types whose JSON comes back as exactly the same value without any help.
PLAIN: frozenset[object] = frozenset({str, int, float, bool, type(None)})
#: Secrets are looked for so deep inside of an argument.
_DEEPEST = 100
_EVERYTHING = (inspect.Parameter.empty, typing.Any, object)
_CONFIG = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")


class Slot:
    """One parameter: its annotation, and how values are read back for it.

    ``plain`` holds the types that need no validation, ``members`` the names of the members of a
    union, ``broken`` why the annotation cannot be used (it then counts as ``Any``).
    """

    def __init__(
        self, name: str, annotation: object, broken: str = "", kind: object = None
    ) -> None:
        self.name = name
        self.annotation = annotation
        self.broken = broken
        self.label = _label(annotation)
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self.by_position = kind in positional
        self.by_name = kind in named
        self._union = {} if broken else _union_members(annotation)
        self.members = tuple(self._union)
        self.plain = self._plain_types()

    def _plain_types(self) -> frozenset[object]:
        if self.broken or _is_any(self.annotation):
            return PLAIN
        kinds = list(self._union.values()) or [self.annotation]
        plain = frozenset(kind for kind in kinds if isinstance(kind, type) and kind in PLAIN)
        return plain if len(plain) == len(kinds) else frozenset()

    @functools.cached_property
    def _adapter(self) -> TypeAdapter[tuple[object]] | None:
        if self.broken or _is_any(self.annotation):
            return None
        try:
            return _adapter(self.annotation)
        except Exception as error:  # any class may have hooks that raise anything
            self.broken = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return None

    @functools.cached_property
    def _member_adapters(self) -> dict[str, TypeAdapter[tuple[object]]]:
        return {name: _adapter(kind) for name, kind in self._union.items()}

    @property
    def untyped(self) -> bool:
        """Whether nothing is known of the type, so that only what JSON knows can be stored."""
        return self._adapter is None

    def load(self, text: bytes, member: str | None) -> object:
        """The value of ``text``, as ``member`` of the union if it still has such a member.

        Raises pydantic's ``ValidationError`` if it does not fit.
        """
        adapter = self._adapter
        if adapter is None:
            return from_json(text)
        if member is not None and member in self._union:
            adapter = self._member_adapters[member]
        return adapter.validate_json(b"[" + text + b"]")[0]

    def dump(self, value: object) -> bytes:
        """JSON by the annotation's own serializer; raises whatever that raises."""
        if self._adapter is None:
            raise ValueError("its annotation does not say how")
        return self._adapter.dump_json((value,), by_alias=True, warnings="error")[1:-1]

    def reveal(self, value: object) -> bytes:
        """JSON with what pydantic's secret types hide from every other serializer."""
        if self._adapter is None:
            raise ValueError("its annotation does not say how")
        plain = self._adapter.dump_python((value,), by_alias=True, warnings="error")
        return dump_plain(_revealed(plain, 0))[1:-1]

    def item(self, index: int) -> Slot:
        """The slot of the value at ``index`` among the ``*args``."""
        return _renamed(self, f"{self.name}[{index}]")

    def member(self, name: str) -> Slot:
        """The slot of the keyword ``name`` among the ``**kwargs``."""
        if typing.get_origin(self.annotation) is typing.Unpack:
            (keys,) = typing.get_args(self.annotation)
            annotation = typing.get_type_hints(keys, include_extras=True).get(name, typing.Any)
            return Slot(name, _without_marks(annotation))
        return _renamed(self, name)


def slots_of(
    function: Callable[..., object], signature: inspect.Signature | None
) -> Mapping[str, Slot]:
    """A slot for each parameter by its name; those of ``*args`` and ``**kwargs`` as * and **."""
    slots: dict[str, Slot] = {}
    if signature is None:
        return {"*": Slot("*args", typing.Any), "**": Slot("**kwargs", typing.Any)}
    for name, parameter in signature.parameters.items():
        annotation, broken = _resolve(function, parameter.annotation)
        if parameter.default is None and not broken and not _is_any(annotation):
            # ``name: str = None`` is common and means this.
            annotation = typing.Optional[annotation]  # noqa: UP045 - the annotation is a value here
        if parameter.kind is parameter.VAR_POSITIONAL:
            slots["*"] = Slot(f"*{name}", annotation, broken)
        elif parameter.kind is parameter.VAR_KEYWORD:
            slots["**"] = Slot(f"**{name}", annotation, broken)
        else:
            slots[name] = Slot(name, annotation, broken, parameter.kind)
    return slots


def return_slot(function: Callable[..., object]) -> Slot:
    """The slot of what ``function`` returns."""
    try:
        annotation = inspect.signature(function).return_annotation
    except (ValueError, TypeError):
        annotation = typing.Any
    resolved, broken = _resolve(function, annotation)
    return Slot("return", resolved, broken)


def comes_back(before: object, after: object, *, exact: bool) -> bool:
    """Whether ``after`` is as good as ``before``: the same type and value, all the way down.

    Unless ``exact``, the annotation may widen a type: a subclass comes back as its base, a number
    as another kind of number, as long as both are equal. NaN equals itself here.
    """
    if type(before) is not type(after) and not (
        not exact
        and (
            isinstance(before, type(after))
            or (isinstance(before, (int, float)) and isinstance(after, (int, float)))
        )
    ):
        return False
    return _same_value(before, after, exact)


def _same_value(before: object, after: object, exact: bool) -> bool:
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        return len(before) == len(after) and all(
            comes_back(one, other, exact=exact) for one, other in zip(before, after, strict=True)
        )
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(
            comes_back(value, after[key], exact=exact) for key, value in before.items()
        )
    if before == after:
        return True
    if isinstance(before, (float, Decimal)) and isinstance(after, (float, Decimal)):
        return before != before and after != after  # noqa: PLR0124 - how NaN is recognised
    if (
        isinstance(before, datetime)
        and isinstance(after, datetime)
        and before.utcoffset() is not None
    ):
        # Where clocks are set back, datetimes of different zones are never equal to each other.
        return after.utcoffset() is not None and before.timestamp() == after.timestamp()
    if dataclasses.is_dataclass(before) or isinstance(before, BaseModel):
        return type(before) is type(after) and _same_value(vars(before), vars(after), exact)
    return False


def dump_plain(value: object) -> bytes:
    """JSON in the form that `Slot.load` reads."""
    return to_json(value, bytes_mode="base64", timedelta_mode="iso8601", inf_nan_mode="constants")


def _revealed(value: object, depth: int) -> object:
    """What `Slot.reveal` dumped with the secrets in the open; it holds plain containers only."""
    if isinstance(value, SecretStr | SecretBytes | Secret):
        return _revealed(value.get_secret_value(), depth + 1)
    if depth > _DEEPEST:
        raise ValueError("it is nested too deeply")
    if isinstance(value, dict):
        return {_revealed(key, depth + 1): _revealed(it, depth + 1) for key, it in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_revealed(item, depth + 1) for item in value]
    return value


def describe_type(value: object) -> str:
    """The name of the type of ``value``, as one would write it in an annotation."""
    return type(value).__qualname__


def _adapter(annotation: object) -> TypeAdapter[tuple[object]]:
    # In a tuple, because an adapter of a bare dataclass or TypedDict takes no configuration.
    wrapped: typing.Any = types.GenericAlias(tuple, (annotation,))
    return TypeAdapter(wrapped, config=_CONFIG)


def _renamed(slot: Slot, name: str) -> Slot:
    return Slot(name, slot.annotation, slot.broken)


def _is_any(annotation: object) -> bool:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    # A TypeVar or a ParamSpec says nothing about the value.
    return isinstance(
        annotation, (typing.TypeVar, typing.ParamSpecArgs, typing.ParamSpecKwargs)
    ) or any(annotation is one for one in _EVERYTHING)


def _without_marks(annotation: object) -> object:
    while typing.get_origin(annotation) in (typing.Required, typing.NotRequired):
        annotation = typing.get_args(annotation)[0]
    return annotation


def _union_members(annotation: object) -> dict[str, object]:
    """Members of a union by name; names, so that they may be reordered between two releases."""
    if typing.get_origin(annotation) is typing.Annotated:
        return {}  # its metadata, a discriminator for example, belongs to the union as a whole
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return {_label(member): member for member in typing.get_args(annotation)}
    return {}


def _label(annotation: object) -> str:
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__
    return str(annotation).replace("typing.", "")


def _resolve(function: Callable[..., object], annotation: object) -> tuple[object, str]:
    """The annotation with its strings evaluated, and why that failed, if it did."""
    if not isinstance(annotation, str) and not _holds_forward_reference(annotation):
        return annotation, ""
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    scope, local = _scopes(function)
    try:
        return typing.get_type_hints(holder, scope, local, include_extras=True)["it"], ""
    except Exception as error:  # evaluating somebody's annotation may raise anything
        return annotation, f"{type(error).__name__}: {error}"


def _holds_forward_reference(annotation: object) -> bool:
    if isinstance(annotation, (str, typing.ForwardRef)):
        return True
    if typing.get_origin(annotation) is typing.Literal:
        return False
    return any(_holds_forward_reference(part) for part in typing.get_args(annotation))


def _scopes(function: Callable[..., object]) -> tuple[dict[str, object], dict[str, object]]:
    """Names the annotations of ``function`` may use: its module's, and what it closes over."""
    inner: object = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if isinstance(inner, type):
        inner = inner.__init__  # type: ignore[misc]  # only its scope is looked at
    elif not inspect.isroutine(inner):
        inner = getattr(type(inner), "__call__", inner)  # noqa: B004 - the function is wanted
    inner = inspect.unwrap(typing.cast("Callable[..., object]", inner))
    inner = getattr(inner, "__func__", inner)
    local: dict[str, object] = {}
    code = getattr(inner, "__code__", None)
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(inner, "__closure__", None) or (), strict=False
    ):
        try:
            local[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    return getattr(inner, "__globals__", {}), local
