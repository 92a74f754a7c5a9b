"""The one permanent thread of a lane that starts its worker processes and sees them die.

Rule: workers are started here and nowhere else. Linux ends a worker when the thread that started
it ends (see `executors.worker`), so this thread ends last.
"""

from __future__ import annotations

import os
import selectors
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnProcess
from queue import Empty, SimpleQueue

from executors.oom import oom_kills
from executors.os_process import kill_group, reason_of
from executors.process_slot import Died, Slot

#: Seconds in which the exit code of a dead process must turn up; it is a matter of microseconds.
_EXIT_CODE_PATIENCE = 1.0


class Keeper:
    """Starts processes and posts `Died` for each that ends, after killing what it left behind."""

    def __init__(
        self, name: str, post: Callable[[tuple[Slot, Died]], None], closed: Callable[[], None]
    ) -> None:
        self._post = post
        self._closed = closed
        self._orders: SimpleQueue[Slot | None] = SimpleQueue()
        self._wake_reader, self._wake_writer = os.pipe()
        self._watched: dict[int, Slot] = {}
        #: What the kernel had counted when each worker was started, less what was `_blamed`.
        self._oom_before: dict[Slot, int | None] = {}
        #: How many deaths were put down to the kernel for want of memory.
        self._blamed = 0
        self._buried: list[ProcessPoolExecutor] = []
        self._told_to_close = False
        self._closing = False
        # No daemon: the interpreter waits for the pools' threads in any case, and would otherwise
        # cut this one off amidst freeing what they shared.
        threading.Thread(target=self._run, name=f"{name}-keeper").start()

    def launch(self, slot: Slot) -> None:
        """Start the process of ``slot``; `Died` is posted when it ends or cannot be started."""
        self._order(slot)

    def close(self) -> None:
        """End this thread once every process has died; ``closed`` is called from it then."""
        if not self._told_to_close:
            self._told_to_close = True
            self._order(None)

    def _order(self, order: Slot | None) -> None:
        self._orders.put(order)
        os.write(self._wake_writer, b"x")

    # -- on the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while self._watched or not self._closing:
                for key, _ in selector.select():
                    if key.fd == self._wake_reader:
                        os.read(self._wake_reader, 4096)
                    else:
                        self._bury(selector, key.fd)
                self._obey(selector)
        # The pools' threads have nothing left to wait for; the interpreter joins them at exit.
        for executor in self._buried:
            executor.shutdown(wait=True, cancel_futures=True)
        os.close(self._wake_reader)
        os.close(self._wake_writer)
        self._closed()

    def _obey(self, selector: selectors.BaseSelector) -> None:
        """Carry out what was ordered."""
        while True:
            try:
                slot = self._orders.get_nowait()
            except Empty:
                return
            if slot is None:
                self._closing = True
                continue
            self._oom_before[slot] = self._oom_kills()
            try:
                slot.launch()
            except Exception as error:  # out of processes, memory or file descriptors
                if slot.process is None or slot.process.pid is None:
                    del self._oom_before[slot]
                    self._post((slot, Died(f"{type(error).__name__}: {error}")))
                    continue
                slot.kill()
            self._watch(selector, slot)

    def _watch(self, selector: selectors.BaseSelector, slot: Slot) -> None:
        process = slot.process
        assert process is not None
        fd = _death_fd(process)
        self._watched[fd] = slot
        selector.register(fd, selectors.EVENT_READ)

    def _bury(self, selector: selectors.BaseSelector, fd: int) -> None:
        selector.unregister(fd)
        slot = self._watched.pop(fd)
        process = slot.process
        assert process is not None
        if fd != process.sentinel:
            os.close(fd)
        kill_group(slot.pid)  # whatever it started, it takes along
        deadline = time.monotonic() + _EXIT_CODE_PATIENCE
        # The pool's thread collects the process too; whoever comes second has to wait for it.
        while process.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        self._post((slot, Died(self._reason(slot, process.exitcode))))
        if slot.executor is None:
            return
        if self._closing:
            self._buried.append(slot.executor)
        else:  # its thread ends by itself; waiting for that would keep the others waiting
            slot.executor.shutdown(wait=False, cancel_futures=True)

    def _reason(self, slot: Slot, exit_code: int | None) -> str:
        before, now = self._oom_before.pop(slot), self._oom_kills()
        reason = reason_of(exit_code)
        if exit_code != -signal.SIGKILL or slot.unwanted or before is None or now is None:
            return reason
        if now <= before:
            return reason
        self._blamed += 1
        return f"{reason} (out of memory)"

    def _oom_kills(self) -> int | None:
        """Processes the kernel has killed for want of memory, without those it was blamed for."""
        count = oom_kills()
        return None if count is None else count - self._blamed


def _death_fd(process: SpawnProcess) -> int:
    """A file descriptor that becomes readable when the process dies."""
    if hasattr(os, "pidfd_open") and process.pid is not None:
        try:
            return os.pidfd_open(process.pid)
        except OSError:  # an old kernel, or it is gone already
            pass
    # The sentinel stays open while a child of the worker lives on; good enough elsewhere.
    return int(process.sentinel)
