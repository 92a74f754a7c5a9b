"""Who waits for the end of which task."""

from __future__ import annotations

import asyncio
import functools

from taskflow.record import TaskRecord


class Endings:
    """Futures of tasks that end in this instance."""

    def __init__(self) -> None:
        self._waiters: dict[str, list[asyncio.Future[TaskRecord]]] = {}

    def __len__(self) -> int:
        """Tasks somebody waits for."""
        return len(self._waiters)

    def when_final(self, task_id: str) -> asyncio.Future[TaskRecord]:
        """Done when the task ends in this instance; cancel it when you no longer care."""
        waiter: asyncio.Future[TaskRecord] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(task_id, []).append(waiter)
        waiter.add_done_callback(functools.partial(self._drop, task_id))
        return waiter

    def _drop(self, task_id: str, waiter: asyncio.Future[TaskRecord]) -> None:
        """Somebody was told, or gave up: nothing must stay behind for each task ever cancelled."""
        waiters = self._waiters.get(task_id)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[task_id]

    def tell(self, record: TaskRecord) -> None:
        """The task is final."""
        if self._waiters:
            for waiter in self._waiters.pop(record.task_id, ()):
                if not waiter.done():
                    waiter.set_result(record)
