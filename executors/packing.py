"""Packs calls for a worker process, on the caller's side, so that a bad one is refused at once."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping

_PROTOCOL = pickle.HIGHEST_PROTOCOL


def check_picklable(function: Callable[..., object]) -> None:
    """Raise `TypeError`, with the way out, if ``function`` cannot be sent to a worker process."""
    try:
        pickle.dumps(function, _PROTOCOL)
    except Exception as error:
        raise TypeError(
            f"{function!r} cannot be sent to a worker process ({error}): "
            "use a function defined at the top level of a module, "
            "or functools.partial over one instead of a lambda or a closure"
        ) from error


def pack(
    function: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> bytes:
    """The call as bytes; raises `TypeError` naming the function or the argument at fault."""
    try:
        return pickle.dumps((function, args, kwargs), _PROTOCOL)
    except Exception as error:
        check_picklable(function)
        named = [(f"argument {index + 1}", value) for index, value in enumerate(args)]
        named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
        for name, value in named:
            try:
                pickle.dumps(value, _PROTOCOL)
            except Exception as reason:
                raise TypeError(
                    f"{name} of {function!r}, a {type(value).__name__}, cannot be sent to a "
                    f"worker process ({reason}): pass plain data, a path or an id instead"
                ) from reason
        raise TypeError(
            f"the arguments of {function!r} cannot be sent to a worker process: {error}"
        ) from error
