"""A clock that tests move by hand."""

from __future__ import annotations

import time


class Hands:
    """The wall clock stands still until it is moved; the other one runs, as nothing can stop it."""

    def __init__(self, at: float = 1_782_475_200.0) -> None:  # a noon of 2026, UTC
        self.wall = at
        self._ahead = 0.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def pass_by(self, seconds: float) -> None:
        """Time passes, on both clocks."""
        self.wall += seconds
        self._ahead += seconds

    def set_to(self, wall: float) -> None:
        """Somebody sets the wall clock."""
        self.wall = wall
