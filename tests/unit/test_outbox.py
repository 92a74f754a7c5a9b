"""In which order the outbox writes what it is given."""

from __future__ import annotations

import asyncio
from pathlib import Path

from taskflow import TaskManager
from taskflow.outbox import MOST_ROWS
from taskflow.record import LogLine, TaskRecord


async def test_a_line_is_never_written_before_the_task_that_it_belongs_to(tmp_path: Path) -> None:
    async with TaskManager(tmp_path / "tasks.db") as manager:
        outbox = manager.engine.outbox
        crowd = [TaskRecord(f"id-{n}", "app:none", "async", 1.0) for n in range(MOST_ROWS + 1)]
        # The last one has to wait for the next commit.
        added = [outbox.submit(part, lambda *_: None) for part in (crowd[:-1], crowd[-1:])]
        outbox.add_log(LogLine(crowd[-1].task_id, 1, 1.0, "info", "begun"))

        await outbox.flush()
        await asyncio.gather(*added)

        (line,) = await manager.engine.store.logs(crowd[-1].task_id, 10)
        assert line.message == "begun"
