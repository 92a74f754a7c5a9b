"""Arguments and results as JSON, with their types taken from the function's signature.

The rule: what is stored is first read back and compared. An argument that would not come back as
itself is refused where the task is added, not discovered after a restart. Pure: no clock, no I/O.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from pydantic_core import PydanticSerializationError, ValidationError, from_json, to_json

from taskflow.errors import TaskArgumentError
from taskflow.parameters import PLAIN, Slot, comes_back, describe_type, return_slot, slots_of
from taskflow.parameters import dump_plain as _dump
from taskflow.secret_types import Hidden, hidden_of

#: How many call shapes are remembered per function; ``**kwargs`` can make any number of them.
_MAX_SHAPES = 256
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which slot takes which value, for one number of positionals and one set of keywords."""

    positional: tuple[Slot, ...]
    keyword: tuple[Slot, ...]


class ArgumentCodec:
    """The arguments of ``function`` as text, and back.

    ``max_bytes`` limits the length of the encoded text. Nothing is inspected before first use.
    An aware datetime comes back as the same instant with a fixed offset; the name of its zone
    is not kept.
    """

    def __init__(self, function: Callable[..., object], *, max_bytes: int) -> None:
        self._function = function
        self._max_bytes = max_bytes
        self._plans: dict[tuple[int, tuple[str, ...]], _Plan] = {}
        #: Types (and names) of calls that are JSON as they are; see `_is_plain`.
        self._plain_calls: set[tuple[object, ...]] = set()

    @property
    def name(self) -> str:
        """What messages call the function."""
        inner = self._function
        while isinstance(inner, functools.partial):
            inner = inner.func
        return getattr(inner, "__qualname__", None) or type(inner).__qualname__

    @functools.cached_property
    def _signature(self) -> inspect.Signature | None:
        try:
            return inspect.signature(self._function)
        except (ValueError, TypeError):
            return None  # some builtins have none: anything goes

    @functools.cached_property
    def _slots(self) -> Mapping[str, Slot]:
        return slots_of(self._function, self._signature)

    @functools.cached_property
    def hidden(self) -> Hidden:
        """What must not be shown of the arguments and the result."""
        return hidden_of(self._slots, _cached_return_slot(self._function).annotation)

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
        """The arguments as JSON, "" for none.

        Raises `TaskArgumentError` if the call does not fit the signature, if an argument would
        not come back as itself, or if the text is longer than the limit.
        """
        kinds: tuple[object, ...] = tuple(map(type, args))
        if kwargs:
            kinds = (kinds, tuple(kwargs), tuple(map(type, kwargs.values())))
        if kinds not in self._plain_calls and not self._is_plain(kinds, args, kwargs):
            return self._encode_carefully(args, kwargs)
        if not kwargs:
            if not args:
                return ""
            call: dict[str, object] = {"args": args}
        elif args:
            call = {"args": args, "kwargs": kwargs}
        else:
            call = {"kwargs": kwargs}
        try:
            text = to_json(call)
        except PydanticSerializationError:
            return self._encode_carefully(args, kwargs)  # which finds the culprit
        if len(text) > self._max_bytes:
            return self._encode_carefully(args, kwargs)
        return text.decode()

    def decode(self, text: str) -> tuple[tuple[object, ...], dict[str, object]]:
        """The arguments that `encode` was given.

        Raises `TaskArgumentError` if they do not fit the function any more.
        """
        args, kwargs, members = self._parse(text)
        try:
            plan = self._plan(len(args), tuple(kwargs))
        except TaskArgumentError as error:
            raise TaskArgumentError(
                f"the stored arguments do not fit any more: {error} (stored: {len(args)} by "
                f"position, and {', '.join(kwargs) or 'none'} by name); change the function back, "
                "or add the task again"
            ) from None
        values = [
            self._decode_one(slot, value, members.get(str(index)))
            for index, (slot, value) in enumerate(zip(plan.positional, args, strict=True))
        ]
        named = {
            name: self._decode_one(slot, kwargs[name], members.get(name))
            for name, slot in zip(kwargs, plan.keyword, strict=True)
        }
        return tuple(values), named

    # -- call shapes -------------------------------------------------------------------------

    def _is_plain(
        self, kinds: tuple[object, ...], args: tuple[object, ...], kwargs: Mapping[str, object]
    ) -> bool:
        """Whether such a call needs no look at its values; remembered if so."""
        plan = self._plan(len(args), tuple(kwargs))
        values, slots = (*args, *kwargs.values()), (*plan.positional, *plan.keyword)
        plain = all(type(value) in slot.plain for value, slot in zip(values, slots, strict=True))
        if plain:
            if len(self._plain_calls) >= _MAX_SHAPES:
                self._plain_calls.clear()
            self._plain_calls.add(kinds)
        return plain

    def _plan(self, count: int, names: tuple[str, ...]) -> _Plan:
        """Check once per shape that such a call is possible, and find its parameters."""
        plan = self._plans.get((count, names))
        if plan is not None:
            return plan
        if self._signature is not None:
            try:
                self._signature.bind(*(None,) * count, **dict.fromkeys(names))
            except TypeError as error:
                raise TaskArgumentError(
                    f"{self.name}() cannot be called like this: {error}"
                ) from None
        plan = _Plan(tuple(self._positional(count)), tuple(map(self._keyword, names)))
        if len(self._plans) >= _MAX_SHAPES:
            self._plans.clear()
        self._plans[count, names] = plan
        return plan

    def _positional(self, count: int) -> Iterator[Slot]:
        slots = [slot for slot in self._slots.values() if slot.by_position]
        yield from slots[:count]
        for index in range(count - len(slots)):
            yield self._slots["*"].item(index)

    def _keyword(self, name: str) -> Slot:
        slot = self._slots.get(name)
        return slot if slot is not None and slot.by_name else self._slots["**"].member(name)

    # -- the careful way -----------------------------------------------------------------------

    def _encode_carefully(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
        plan = self._plan(len(args), tuple(kwargs))
        members: dict[str, str] = {}
        texts = [
            self._encode_one(slot, value, str(index), members)
            for index, (slot, value) in enumerate(zip(plan.positional, args, strict=True))
        ]
        named = [
            to_json(name) + b":" + self._encode_one(slot, value, name, members)
            for (name, value), slot in zip(kwargs.items(), plan.keyword, strict=True)
        ]
        parts = []
        if texts:
            parts.append(b'"args":[' + b",".join(texts) + b"]")
        if named:
            parts.append(b'"kwargs":{' + b",".join(named) + b"}")
        if members:
            parts.append(b'"as":' + to_json(members))
        text = b"{" + b",".join(parts) + b"}"
        if len(text) > self._max_bytes:
            raise self._too_large(len(text))
        return text.decode()

    def _encode_one(self, slot: Slot, value: object, key: str, members: dict[str, str]) -> bytes:
        """JSON of one argument; notes in ``members`` which member of a union it has to become."""
        reason = ""
        # The last is for pydantic's secrets. They are stored as they are: the task needs them.
        for dump in (_dump, slot.dump, slot.reveal):
            try:
                text = dump(value)
            except Exception as error:  # serializers of users may raise anything
                # The second one quotes the value, which may be a secret.
                reason = _one_line(error) if dump is _dump else reason
                continue
            if len(text) > self._max_bytes:
                raise self._too_large(len(text), slot.name)
            if _survives(slot, value, text, None):
                return text
            for member in slot.members:
                if _survives(slot, value, text, member):
                    members[key] = member
                    return text
        raise TaskArgumentError(self._refusal(slot, value, reason))

    def _decode_one(self, slot: Slot, value: object, member: str | None) -> object:
        if type(value) in slot.plain:
            return value
        try:
            return slot.load(_dump(value), member)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            where = "".join(f"[{part!r}]" for part in problem["loc"][1:])
            raise TaskArgumentError(
                f"stored argument {slot.name!r}{where} of {self.name}() does not fit its "
                f"annotation {slot.label} any more: {problem['msg']}; change the function back, or "
                "add the task again"
            ) from None

    def _parse(self, text: str) -> tuple[list[object], dict[str, object], Mapping[str, str]]:
        if not text:
            return [], {}, _NOTHING
        try:
            call = from_json(text)
            args, kwargs, members = call.get("args", []), call.get("kwargs", {}), call.get("as", {})
            if isinstance(args, list) and isinstance(kwargs, dict) and isinstance(members, dict):
                return args, kwargs, members
        except (ValueError, AttributeError):
            pass
        raise TaskArgumentError(
            f"the stored arguments of {self.name}() are not what taskflow wrote; add the task again"
        )

    # -- messages ------------------------------------------------------------------------------

    def _too_large(self, size: int, name: str | None = None) -> TaskArgumentError:
        subject = f"argument {name!r}" if name else "the arguments"
        verb = "takes" if name else "take"
        return TaskArgumentError(
            f"{subject} of {self.name}() {verb} {size:,} bytes as JSON, the limit is "
            f"{self._max_bytes:,}; pass a path or an id instead, or raise TASKFLOW_MAX_ARGS_BYTES"
        )

    def _refusal(self, slot: Slot, value: object, reason: str) -> str:
        kind = describe_type(value)
        shown = f" ({value!r})" if type(value) in (bool, float) else ""
        text = f"argument {slot.name!r} of {self.name}() is of type {kind}{shown} and "
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                return f"{text}holds a lone surrogate, which is not text; decode it properly first"
        if reason:
            return (
                f"{text}cannot be stored as JSON: {reason}; pass an id instead and load it "
                "inside the task"
            )
        text += "would not come back as itself from the database"
        if slot.broken:
            return f"{text}: the annotation {slot.label} cannot be used ({slot.broken}); correct it"
        if slot.untyped:
            hint = f"annotate the parameter, e.g. {slot.name.lstrip('*')}: {kind}"
        else:
            hint = f"pass what the annotation {slot.label} says, or make the annotation more exact"
        return f"{text}; {hint}, or pass an id instead and load it inside the task"


def _survives(slot: Slot, value: object, text: bytes, member: str | None) -> bool:
    try:
        return comes_back(value, slot.load(text, member), exact=slot.untyped)
    except Exception:  # validators and __eq__ of users may raise anything: no means no
        return False


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


# -- results -----------------------------------------------------------------------------------


def encode_result(value: object, max_bytes: int) -> tuple[str | None, str | None]:
    """``(json, None)``, or ``(None, why not)`` for what cannot be stored. Never raises.

    None is ``(None, None)``: there is nothing to store.
    """
    if value is None:
        return None, None
    kind = describe_type(value)
    if isinstance(value, Iterator | AsyncIterator):
        # It would be run to its end here, and may have none.
        return None, f"the result is a {kind}: return a list, or what it leads to"
    try:
        text = to_json(value) if type(value) in PLAIN else _dump(value)
        if len(text) > max_bytes:
            return None, (
                f"the result ({kind}) takes {len(text):,} bytes as JSON, the limit is "
                f"{max_bytes:,}; return a path or an id, or raise TASKFLOW_MAX_RESULT_BYTES"
            )
        return text.decode(), None
    except Exception as error:  # serializers may raise anything; the work is done
        return None, f"the result ({kind}) cannot be stored as JSON: {_safely_one_line(error)}"


def decode_result(text: str, function: Callable[..., object] | None) -> object:
    """The stored result, through the return annotation of ``function`` where that fits."""
    slot = None if function is None else _cached_return_slot(function)
    if slot is not None and not slot.untyped:
        try:
            return slot.load(text.encode(), None)
        except ValidationError:
            pass  # an annotation may be wrong; the plain value is better than none
    return cast("object", from_json(text))


def _cached_return_slot(function: Callable[..., object]) -> Slot:
    try:
        return _return_slot(function)
    except TypeError:  # a callable that cannot be hashed
        return return_slot(function)


@functools.lru_cache(maxsize=512)
def _return_slot(function: Callable[..., object]) -> Slot:
    return return_slot(function)


def _safely_one_line(error: BaseException) -> str:
    try:
        return _one_line(error)
    except Exception:  # a str() that raises must not undo work that was done
        return type(error).__name__
