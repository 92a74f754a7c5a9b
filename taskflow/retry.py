"""When to try again: the deterministic wait, and apart from it the random part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from executors.outcomes import Failure
from taskflow.errors import TaskDefinitionError

#: A year: no computed wait is longer, so that a large exponent stays a number.
LONGEST_WAIT = 365 * 86400.0
MOST_RETRIES = 1_000_000


def type_name(kind: type[BaseException]) -> str:
    """The full name by which a failure is compared, also across processes."""
    return f"{kind.__module__}.{kind.__qualname__}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and when a failed task is tried again.

    ``retries`` more attempts follow the first. The wait before retry n is
    ``delay * backoff ** (n - 1)`` seconds, at most ``max_delay``. With ``jitter`` the wait is drawn
    evenly between 0 and that ("full jitter", Brooker 2015, AWS Architecture Blog), which spreads
    a crowd of failures best. ``retry_on`` and ``dont_retry_on`` are full names of exception
    classes; an empty ``retry_on`` means every error.
    """

    retries: int = 0
    delay: float = 0.0
    backoff: float = 1.0
    max_delay: float | None = None
    jitter: bool = False
    retry_on: tuple[str, ...] = ()
    dont_retry_on: tuple[str, ...] = ()

    def covers(self, failure: Failure) -> bool:
        """Whether an error of this kind is worth another attempt."""
        # In a spawned worker the user's main module goes by another name.
        names = {name.replace("__mp_main__.", "__main__.", 1) for name in failure.type_names}
        if names.intersection(self.dont_retry_on):
            return False
        return not self.retry_on or bool(names.intersection(self.retry_on))


def backoff(policy: RetryPolicy, retry: int) -> float:
    """Seconds to wait before retry number ``retry`` (from 1), without jitter."""
    longest = LONGEST_WAIT if policy.max_delay is None else policy.max_delay
    try:
        wait = policy.delay * policy.backoff ** (retry - 1)
    except OverflowError:
        return longest
    return min(wait, longest)


def jitter(wait: float, draw: Callable[[], float]) -> float:
    """Full jitter: somewhere between 0 and ``wait``; ``draw`` gives a number in [0, 1)."""
    return wait * draw()


def _names(
    option: str, kinds: type[BaseException] | Iterable[type[BaseException]]
) -> tuple[str, ...]:
    listed: tuple[object, ...] = (kinds,) if isinstance(kinds, type) else tuple(kinds)
    names = []
    for kind in listed:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TaskDefinitionError(f"{option}={kind!r}: give exception classes, e.g. (OSError,)")
        names.append(type_name(kind))
    return tuple(names)


def check_retries(value: object, error: type[ValueError]) -> int:
    """How many attempts may follow the first."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RETRIES:
        raise error(f"retries={value!r}: give a whole number from 0 to {MOST_RETRIES}")
    return value


def make_policy(
    *,
    retries: int,
    delay: float,
    backoff: float,
    max_delay: float | None,
    jitter: bool | Literal["full"],
    retry_on: type[BaseException] | Iterable[type[BaseException]],
    dont_retry_on: type[BaseException] | Iterable[type[BaseException]],
) -> RetryPolicy:
    """A checked policy; raises `TaskDefinitionError` naming the option, its value and its range."""
    if not _finite(delay) or delay < 0:
        raise TaskDefinitionError(f"delay={delay!r}: give the first wait in seconds, 0 or more")
    if not _finite(backoff) or backoff < 1:
        raise TaskDefinitionError(f"backoff={backoff!r}: give a factor of 1 or more")
    if max_delay is not None and (not _finite(max_delay) or max_delay < 0):
        raise TaskDefinitionError(f"max_delay={max_delay!r}: give seconds, 0 or more, or None")
    if jitter not in (True, False, "full"):
        raise TaskDefinitionError(f'jitter={jitter!r}: give True or "full", or False')
    return RetryPolicy(
        retries=check_retries(retries, TaskDefinitionError),
        delay=float(delay),
        backoff=float(backoff),
        max_delay=max_delay,
        jitter=bool(jitter),
        retry_on=_names("retry_on", retry_on),
        dont_retry_on=_names("dont_retry_on", dont_retry_on),
    )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
