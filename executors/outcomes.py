"""How a call ended, as values.

A lane never raises the error of a call and never decides what it means: it hands one of these
to :meth:`executors.base.Call.on_done`. Pure: no clock, no I/O.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as plain data, so that it can cross a process boundary unharmed.

    ``type_names`` lists ``module.qualname`` of the exception's class and of its bases in method
    resolution order: enough to ask "is it a ConnectionError?" without unpickling anything.
    ``exception`` is the object itself where the call ran in this process, else None.
    """

    type_names: tuple[str, ...]
    message: str
    traceback: str
    exception: BaseException | None = None

    @property
    def type_name(self) -> str:
        """The short name of the exception's class, for example ``ValueError``."""
        return self.type_names[0].rpartition(".")[2] if self.type_names else "Exception"

    @classmethod
    def of(cls, error: BaseException, *, keep: bool = True) -> Failure:
        """Describe ``error``; an exception whose ``str`` raises is described all the same."""
        try:
            message = str(error)
        except Exception as broken:
            message = f"<str() of the exception raised {type(broken).__name__}>"
        try:
            text = "".join(traceback.format_exception(error))
        except Exception as broken:
            text = f"<the traceback could not be formatted: {type(broken).__name__}>"
        names = tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
        return cls(names, message, text, error if keep else None)


@dataclass(frozen=True, slots=True)
class Returned:
    """The call returned ``value``."""

    value: object


#: The commonest outcome, made once.
RETURNED_NONE = Returned(None)


@dataclass(frozen=True, slots=True)
class Raised:
    """The call raised; ``failure`` says what."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The call ran longer than ``after`` seconds; ``how`` says what was done about it.

    ``detail`` tells where it was: the stack of each thread of its process, or nothing. Outcomes
    that differ in nothing else are equal.
    """

    after: float
    how: str
    detail: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The call was cancelled on request; ``how`` says what happened to the running code."""

    how: str


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """The process that ran the call died; ``reason`` is a signal name or an exit code.

    ``detail`` is what its fault handler said about it: the stack of each thread, or nothing.
    Outcomes that differ in nothing else are equal.
    """

    reason: str
    detail: str = field(default="", compare=False)


Outcome = Returned | Raised | TimedOut | Cancelled | WorkerLost
