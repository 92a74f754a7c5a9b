"""What a stall of the event loop looked like: who held it, where, and whether by computing."""

from __future__ import annotations

import sys
import threading
import traceback
from dataclasses import dataclass
from itertools import islice
from types import FrameType

#: Frames told of the thread that is looked at, and of each other one.
_DEPTH = 50
_DEPTH_OF_OTHERS = 3
#: Other threads told of.
_OTHERS = 20


@dataclass(frozen=True, slots=True)
class Stall:
    """The event loop did nothing but one thing for ``duration`` seconds.

    ``at`` is when it began, in seconds since the epoch. It may have begun up to the pause between
    two beats earlier (0.2 seconds at most), and lasted longer by as much.

    ``stack`` is what the loop's thread was doing when the stall was noticed, as in a traceback;
    ``last_stack`` what it did later, if the stall went on for longer. Empty where the loop was
    back before anybody could look.

    ``cpu_share`` is the CPU time of the loop's thread over the duration: about 0 for a call that
    waits, about 1 for one that computes, or whatever the machine leaves it when it is busy. Where
    the system does not tell it for a single thread, it is that of the whole process.

    ``gil_held``: the interpreter was kept from running any other thread for half of the time or
    more, by native code that does not let go of its lock. With a ``cpu_share`` of about 0 that was
    code in another thread; the stack then tells where those are that still run.

    ``culprit`` is whatever `LoopGuard` was told by its ``identify``.
    """

    at: float
    duration: float
    stack: str
    cpu_share: float
    culprit: object = None
    gil_held: bool = False
    last_stack: str = ""


#: The frames of a stack, innermost first, each with the line it was at.
Stack = list[tuple[FrameType, int]]


def read_stack(frame: FrameType) -> Stack:
    """The stack that ends in ``frame``, at most 50 calls; its thread may go on afterwards.

    Reads nothing but frames: whatever gave the interpreter lock away would let the thread run.
    """
    return list(islice(traceback.walk_stack(frame), _DEPTH))


def format_stack(stack: Stack) -> str:
    """As in a traceback, outermost call first."""
    summary = traceback.StackSummary.extract(iter(stack))
    summary.reverse()
    return "".join(summary.format())


def read_others(*known: int) -> dict[str, Stack]:
    """By their names, what all threads but the ``known`` ones do, innermost calls only."""
    frames = sys._current_frames()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    others = [(ident, frame) for ident, frame in frames.items() if ident not in known]
    return {
        names.get(ident, str(ident)): read_stack(frame)[:_DEPTH_OF_OTHERS]
        for ident, frame in others[:_OTHERS]
    }
