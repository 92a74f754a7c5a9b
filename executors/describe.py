"""Turns any exception into a `Failure`, whatever the exception does to stop that.

Rule: nothing escapes from here, not even what a hostile ``__str__`` raises.
"""

from __future__ import annotations

from dataclasses import replace

from executors.outcomes import Failure

#: Messages and tracebacks are cut to this many characters: they travel and are stored.
MAX_TEXT = 64 * 1024


def describe(error: BaseException, *, keep: bool = True) -> Failure:
    """Describe ``error`` without the frame that caught it, which is never of interest.

    ``keep=False`` leaves the exception object out, for a failure that leaves the process.
    """
    try:
        inner = error.__traceback__
        if inner is not None and inner.tb_next is not None:
            error.__traceback__ = inner.tb_next
        failure = Failure.of(error, keep=keep)
        if len(failure.message) > MAX_TEXT or len(failure.traceback) > MAX_TEXT:
            failure = replace(
                failure, message=_cut(failure.message), traceback=_cut(failure.traceback)
            )
    except BaseException as broken:
        kinds = tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
        text = f"<the exception could not be described: {type(broken).__name__}>"
        return Failure(kinds, text, text, error if keep else None)
    return failure


def _cut(text: str) -> str:
    """The beginning and the end of ``text``: the cause stands at one of them."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n... {len(text) - MAX_TEXT} characters left out ...\n{text[-half:]}"
