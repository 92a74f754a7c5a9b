"""What waits or is too large does not end up in the memory of the app."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.apps.server import Server

COUNT = 100_000


def test_a_hundred_thousand_waiting_tasks_stay_on_disk_and_run_by_priority(
    db_path: Path,
) -> None:
    command = [sys.executable, "-m", "tests.apps.crowd", str(db_path), str(COUNT), "15000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    print(report)
    assert report["grown_mib"] <= 50
    assert report["memory_in_order"] and report["disk_in_order"]
    with contextlib.closing(sqlite3.connect(db_path)) as connection:
        rows = connection.execute("SELECT status, owner, count(*) FROM tasks GROUP BY 1, 2")
        states = Counter({(status, owner): count for status, owner, count in rows})
    assert states == {
        ("success", None): report["ran"] + 1,
        ("pending", None): COUNT - report["ran"],
    }


def test_ten_megabytes_of_arguments_are_refused_at_once_and_leave_no_row(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        server.http.post("/add-text", params={"size": 1000}).raise_for_status()

        codes, times = set(), []
        for _ in range(5):
            answer = server.http.post("/add-text", params={"size": 10_000_000})
            codes.add(answer.status_code)
            times.append(float((tmp_path / "took").read_text()))
        took = min(times)
        server.terminate()

        assert codes == {500}
        log = server.log.read_text()
        assert "TaskArgumentError" in log and "10,0" in log and "TASKFLOW_MAX_ARGS_BYTES" in log
        print(f"refused after {1000 * took:.1f} ms")
        assert took < 0.05
        assert len(server.states()) == 1
