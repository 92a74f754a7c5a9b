"""A sleep that tells afterwards whether the thread was kept from waking up, and by what."""

from __future__ import annotations

import sys
import threading
import time

#: Threads wake up to so many seconds late on any machine.
_ORDINARY = 0.02
#: The least part of one CPU that the process gets while its own code keeps threads from running,
#: on a machine where others want the CPUs, too.
_LEAST_SHARE = 0.2
#: What a process that does not run uses all the same, before it is stopped and after.
_NOTHING = 0.05


class Sleep:
    """Sleeps of one thread.

    A thread that wakes late may have been kept from running by code of this process that did not
    let go of the interpreter lock: the process used the CPU meanwhile. Or the whole process did not
    run, because it was stopped by a signal, or the machine was: nobody used the CPU; that is said
    of ``least_lost`` seconds or more. In between, others wanted the CPUs, and nothing is said.
    """

    def __init__(self, least_lost: float) -> None:
        self._least_lost = least_lost
        #: When the last sleep began, was to end, and ended, by the monotonic clock.
        self.began = self.due = self.now = time.monotonic()
        #: Seconds by which it was late because the interpreter lock was held.
        self.held = 0.0
        #: Seconds by which it was late because the process did not run.
        self.lost = 0.0
        self._used = time.process_time()
        #: CPU time that this thread has used.
        self.own = time.thread_time()

    def __call__(self, seconds: float) -> None:
        """Sleep for so long after the last sleep ended, and find out about the delay."""
        # An event to wait for instead would cost twice as much CPU time each time.
        time.sleep(max(0.0, self.now + seconds - time.monotonic()))
        self.began, used_before, own_before = self.now, self._used, self.own
        self.now, self._used, self.own = time.monotonic(), time.process_time(), time.thread_time()
        # What this thread did between its sleeps can have taken longer than this one.
        own = self.own - own_before
        self.due = self.began + max(seconds, own)
        self.held = self.lost = 0.0
        late = self.now - self.due
        if late > _ORDINARY:
            # What the others used before it was due is not known apart: the share is of all that
            # time.
            share = (self._used - used_before - own) / (self.now - self.began)
            # Of a delay this long, one that was busy until it was stopped has used no more either.
            nothing = _LEAST_SHARE if late >= seconds / _LEAST_SHARE else _NOTHING
            if share >= _LEAST_SHARE:
                self.held = late if late > _longest_turn() else 0.0
            elif share < nothing and late >= self._least_lost:
                self.lost = late


def _longest_turn() -> float:
    """How long a thread may have to wait although each of the others keeps its turn."""
    return (threading.active_count() + 3) * sys.getswitchinterval()
