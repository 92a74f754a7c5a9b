"""An app under real servers: stopped, reloaded, multiplied; nothing is lost and nothing is left."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.apps.server import Server, is_alive, until

ALL_LANES = ("async", "io", "cpu")


def test_tasks_that_run_when_the_server_is_stopped_end_within_the_grace_period(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, length=0.5, shutdown_grace=5) as server:
        ids = server.add(*ALL_LANES)
        server.wait_until_started(ids)

        took = server.terminate()

        assert took < 6.0
        assert server.marks("end") == dict.fromkeys(ids, 1)
        assert set(server.states(ids).values()) == {"success"}
        assert server.survivors() == []


@pytest.mark.parametrize(
    "stop", [signal.SIGTERM, signal.SIGINT], ids=lambda stop: signal.Signals(stop).name
)
def test_tasks_that_outlast_the_grace_period_go_back_at_no_cost_and_run_again_later(
    tmp_path: Path, stop: signal.Signals
) -> None:
    with Server(tmp_path, length=60, shutdown_grace=0.5) as server:
        ids = server.add(*ALL_LANES)
        server.wait_until_started(ids)

        server.signal(stop)
        took = server.wait_for_exit()

        assert took < 3.0
        assert server.survivors() == []
        with server.rows() as connection:
            rows = connection.execute("SELECT status, attempt, owner FROM tasks").fetchall()
        assert rows == [("pending", 0, None)] * 3

        server.length(0)
        server.start()
        server.wait_until_done(ids)

        assert server.marks("end") == dict.fromkeys(ids, 1)
        server.terminate()


def test_after_two_interrupts_the_server_exits_soon_and_the_next_start_recovers(
    tmp_path: Path,
) -> None:
    with Server(tmp_path, length=60, shutdown_grace=0.5) as server:
        ids = server.add(*ALL_LANES)
        server.wait_until_started(ids)

        # Somebody who thinks for ages, so that the first interrupt does not end the server.
        asker = threading.Thread(target=_ask_and_forget, args=(server, 60.0))
        asker.start()
        until((tmp_path / "thinking").exists, "the request is being served")
        server.signal(signal.SIGINT)
        until(lambda: "Shutting down" in server.log.read_text(), "the first interrupt is seen")
        server.signal(signal.SIGINT)
        took = server.wait_for_exit()
        asker.join()

        assert took < 5.0
        assert server.survivors() == []
        assert set(server.states(ids).values()) <= {"pending", "running"}

        server.length(0)
        server.start()
        server.wait_until_done(ids)
        server.terminate()


def _ask_and_forget(server: Server, think: float) -> None:
    try:
        server.http.post("/add", json={"lanes": [], "think": think})
    except httpx.HTTPError:
        return  # the server went away, as it should


def test_a_request_in_flight_when_the_server_is_stopped_may_still_add_a_task(
    tmp_path: Path,
) -> None:
    answers: list[list[str]] = []
    with Server(tmp_path, length=60, shutdown_grace=0.2) as server:
        asker = threading.Thread(
            target=lambda: answers.append(server.add(*ALL_LANES, think=0.7)),
        )
        asker.start()
        until((tmp_path / "thinking").exists, "the request is being served")

        server.signal(signal.SIGTERM)
        asker.join()
        took = server.wait_for_exit()

        assert took < 3.0
        (ids,) = answers
        assert server.states(ids) == dict.fromkeys(ids, "pending")

        server.length(0)
        server.start()
        server.wait_until_done(ids)
        server.terminate()


# -- several workers -------------------------------------------------------------------------------


UVICORN: dict[str, Any] = {"flags": ["--workers", "2"]}
GUNICORN: dict[str, Any] = {
    "flags": ["-w", "2", "-k", "uvicorn_worker.UvicornWorker"],
    "gunicorn": True,
}
two_workers = pytest.mark.parametrize("how", [UVICORN, GUNICORN], ids=["uvicorn", "gunicorn"])


def both_pids(server: Server) -> set[int]:
    """The pids of both workers, once both have answered."""
    pids: set[int] = set()

    def ask() -> bool:
        pids.add(server.http.get("/ping").json())
        return len(pids) == 2

    until(ask, "two workers answer")
    return pids


@two_workers
def test_two_workers_share_the_tasks_and_stop_in_time_without_orphans(
    tmp_path: Path, how: dict[str, Any]
) -> None:
    with Server(tmp_path, shutdown_grace=1, **how) as server:
        both_pids(server)

        ids = [task_id for _ in range(20) for task_id in server.add(*ALL_LANES)]
        server.wait_until_done(ids)

        assert server.marks("start") == dict.fromkeys(ids, 1)

        server.length(60)
        long = server.add(*ALL_LANES) + server.add(*ALL_LANES)
        until(lambda: len(set(server.marks("start")) & set(long)) >= 5, "the long ones run")
        took = server.terminate()

        assert took < 4.0
        assert server.survivors() == []
        assert server.states(long) == dict.fromkeys(long, "pending")


def test_the_tasks_of_a_killed_worker_go_on_under_gunicorn(tmp_path: Path) -> None:
    with Server(tmp_path, length=60, shutdown_grace=1, **GUNICORN) as server:
        pids = both_pids(server)
        ids = server.add(*ALL_LANES)
        server.wait_until_started(ids)
        with server.rows() as connection:
            ((owner,),) = connection.execute("SELECT DISTINCT owner FROM tasks").fetchall()
        victim = psutil.Process(next(pid for pid in pids if owner.endswith(f"-{pid}")))
        workers = victim.children(recursive=True)
        server.length(0)

        server.family()
        victim.kill()
        server.wait_until_done(ids)
        until(lambda: not any(map(is_alive, workers)), "its worker processes are gone")

        assert server.marks("start") == dict.fromkeys(ids, 2)
        server.terminate()


def test_a_killed_server_is_taken_over_by_a_sibling_on_the_same_file(tmp_path: Path) -> None:
    # Nobody starts the killed one again: only its sibling can do it.
    with (
        Server(tmp_path, shutdown_grace=1) as sibling,
        Server(tmp_path, length=60) as server,
    ):
        ids = server.add(*ALL_LANES)
        server.wait_until_started(ids)
        server.family()
        sibling.length(0)

        server.process.kill()
        killed = time.monotonic()
        server.process.wait()
        until(lambda: not server.survivors(), "its worker processes are gone")
        gone = time.monotonic() - killed
        sibling.wait_until_done(ids)
        took = time.monotonic() - killed
        print(f"taken over and done after {took:.2f} s, worker processes gone after {gone:.2f} s")

        assert took < 4.0
        assert gone < 1.0
        assert sibling.marks("start") == dict.fromkeys(ids, 2)
        assert sibling.marks("end") == dict.fromkeys(ids, 1)
        sibling.terminate()


# -- reloading -------------------------------------------------------------------------------------


def test_a_changed_file_reloads_the_app_while_tasks_run_and_none_is_lost(tmp_path: Path) -> None:
    package = tmp_path / "watched"
    package.mkdir()
    source = package / "reloaded_app.py"
    shutil.copy(Path(__file__).parents[1] / "apps" / "lanes.py", source)
    flags = ["--reload", "--reload-dir", str(package), "--app-dir", str(package)]
    with Server(
        tmp_path, app="reloaded_app:app", flags=flags, length=60, shutdown_grace=0.5
    ) as server:
        before = server.http.get("/ping").json()
        ids = server.add(*ALL_LANES)
        server.wait_until_started(ids)

        server.length(0)
        changed = time.monotonic()
        source.write_text(source.read_text() + "\n# changed\n")
        until(lambda: _pid(server) not in {None, before}, "the new app answers")
        took = time.monotonic() - changed
        server.wait_until_done(ids)

        assert took < 8.0
        assert server.marks("end") == dict.fromkeys(ids, 1)
        server.terminate()
        assert server.survivors() == []


def _pid(server: Server) -> int | None:
    try:
        pid: int = server.http.get("/ping").json()
    except httpx.HTTPError:
        return None
    return pid
