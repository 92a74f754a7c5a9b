"""The errors of this library.

ExecutorError
├── LaneFullError
└── LaneClosedError
"""

from __future__ import annotations


class ExecutorError(Exception):
    """Base of every error raised by a lane itself, never by the calls it runs."""


class LaneFullError(ExecutorError):
    """The lane's slots and its waiting room are all taken."""


class LaneClosedError(ExecutorError):
    """The lane was not started, or has been stopped."""
