"""Native code that keeps the interpreter to itself."""

from __future__ import annotations

import time
from collections import deque
from itertools import takewhile


def hold_the_interpreter(seconds: float) -> None:
    """Compute for so long on a processor, in which no other thread of the process can run.

    No bytecode runs in it, which is where the lock would be given away: clock, comparison and loop
    are all written in C.
    """
    until = time.thread_time() + seconds
    deque(takewhile(until.__gt__, iter(time.thread_time, None)), maxlen=0)
