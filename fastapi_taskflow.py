"""The import name that says what it is for; everything lives in `taskflow`."""

from __future__ import annotations

import taskflow
from taskflow import *  # noqa: F403 - the whole point of this module

__all__ = taskflow.__all__  # the same list, so that it cannot differ
__version__ = taskflow.__version__
