"""Worker processes give way to the app."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from executors.outcomes import Returned
from tests.contract import lane_functions as work
from tests.contract.lane_bench import Bench


def autogroup(pid: int) -> str | None:
    """Among whom Linux shares out the cpus to this process; None where it does not do that."""
    try:
        return Path(f"/proc/{pid}/autogroup").read_text()
    except OSError:
        return None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such groups")
async def test_a_worker_leads_a_group_of_its_own_in_the_session_of_the_app(tmp_path: Path) -> None:
    bench = Bench("cpu", tmp_path)
    lane = await bench.lane(1, nice=19)

    outcome = await bench.run(lane, work.pid)

    assert isinstance(outcome, Returned)
    worker = int(str(outcome.value))
    assert os.getpgid(worker) == worker
    assert os.getpriority(os.PRIO_PROCESS, worker) == 19
    # Linux shares the cpus out among sessions first: the priority would hold only within one.
    assert os.getsid(worker) == os.getsid(0)
    assert autogroup(worker) == autogroup(os.getpid())
    await bench.close()
