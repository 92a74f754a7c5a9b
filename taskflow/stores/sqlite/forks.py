"""What must be let go of in a forked child: locks and connections belong to the parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that holds what a forked child must not have."""

    def forked(self) -> None:
        """Called in the child, right after the fork."""


#: Everything that is open now.
FORKS: weakref.WeakSet[Forkable] = weakref.WeakSet()


def _let_go() -> None:
    for one in list(FORKS):
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
