"""What every test gets: an event loop, a database path, services or a reason, and a leak check."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import hypothesis
import psutil
import pytest

#: Seconds a test's threads and processes may take to end after it.
LEAK_PATIENCE = 5.0
#: Threads that live once per interpreter, whoever starts them first.
SHARED_THREADS = ("pydevd", "ThreadPoolExecutorManagerThread")
#: The same for child processes: helpers of multiprocessing, by a word of their command line.
SHARED_PROCESSES = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")

# A full collection at each start of a manager takes long in a process as large as this one.
os.environ.setdefault("TASKFLOW_GC_FREEZE", "false")

# A busy machine is slow now and then, which says nothing about the code.
hypothesis.settings.register_profile("taskflow", deadline=None, print_blob=True)
hypothesis.settings.load_profile("taskflow")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The library supports asyncio, with or without uvloop, not trio."""
    return "asyncio"


@pytest.fixture
def db_path(tmp_path: Path) -> Path:
    """Where a test may put its database; nothing is there yet."""
    return tmp_path / "tasks.db"


#: What measures times, by the end of its path: beside other tests it would measure them.
ALONE = (
    "test_loop_guard.py",
    "test_memory_bounds.py",
    "test_overload.py",
    "test_executors_loop_guard.py",
)
#: What is run by `make poison`; a short form of it is tests/contract/test_lane_poison.py.
SLOW = ("blackbox/test_poison.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whole files."""
    for item in items:
        path = item.path.as_posix()
        if path.endswith(ALONE):
            item.add_marker("alone")
        if path.endswith(SLOW):
            item.add_marker("slow")


# -- nothing is left behind ----------------------------------------------------------------------


def _threads() -> set[threading.Thread]:
    return {
        thread
        for thread in threading.enumerate()
        if thread.is_alive() and not thread.name.startswith(SHARED_THREADS)
    }


def _descendants() -> Iterator[psutil.Process]:
    """Every process below this one.

    Linux lists children by their parent. psutil asks all processes of the machine for theirs, which
    takes longer than most tests.
    """
    if not Path("/proc/thread-self/children").exists():
        yield from psutil.Process().children(recursive=True)
        return
    parents = [os.getpid()]
    while parents:
        for pid in _pids_of_children(parents.pop()):
            parents.append(pid)
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                yield psutil.Process(pid)


def _pids_of_children(parent: int) -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has just ended
            found += map(int, file.read_text().split())
    return found


def _children() -> set[psutil.Process]:
    found = set()
    for child in _descendants():
        try:
            words = " ".join(child.cmdline())
            if child.status() != psutil.STATUS_ZOMBIE and not any(
                word in words for word in SHARED_PROCESSES
            ):
                found.add(child)
        except psutil.NoSuchProcess:
            continue
    return found


def _describe(leaks: set[threading.Thread] | set[psutil.Process]) -> str:
    return ", ".join(sorted(str(leak) for leak in leaks))


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail a test whose threads or child processes outlive it.

    Fixtures of a wider scope start theirs before this one looks.
    """
    threads, children = _threads(), _children()

    yield

    until = time.monotonic() + LEAK_PATIENCE
    while True:
        new, orphans = _threads() - threads, _children() - children
        if not (new or orphans) or time.monotonic() > until:
            break
        time.sleep(0.01)
    for orphan in orphans:
        orphan.kill()  # or it would disturb every later test too
    if new or orphans:
        pytest.fail(f"left behind: {_describe(new)} {_describe(orphans)}".strip(), pytrace=False)


# -- services ------------------------------------------------------------------------------------


def unavailable(reason: str) -> NoReturn:
    """Skip the test on a person's machine; fail it on a build machine, which must have all."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{reason} (CI is set, so this is not skipped)", pytrace=False)
    pytest.skip(reason)


def _require_server(variable: str, default: str, what: str, port: int) -> str:
    url = os.environ.get(variable, default)
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "127.0.0.1", parts.port or port), 2).close()
    except OSError as error:
        unavailable(f"no {what} at {parts.hostname}:{parts.port or port} ({error}); set {variable}")
    return url


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A PostgreSQL server whose user may create databases; TEST_POSTGRES_URL names another."""
    default = "postgresql://postgres@127.0.0.1:5432/postgres"
    return _require_server("TEST_POSTGRES_URL", default, "PostgreSQL", 5432)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A Redis server whose database 15 may be emptied; TEST_REDIS_URL names another."""
    return _require_server("TEST_REDIS_URL", "redis://127.0.0.1:6379/15", "Redis", 6379)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The program of a Chromium browser; TEST_CHROMIUM names another."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        unavailable("Chromium was not found; install it or set TEST_CHROMIUM")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a test printed sendable: reports travel between processes as UTF-8."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
