"""An application served by a real server in a process of its own, seen from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

#: Seconds that mean "something is broken", never "it was a bit slow".
PATIENCE = 30.0
FINAL = ("success", "failed", "cancelled", "interrupted")


def until(true: Callable[[], Any], what: str, patience: float = PATIENCE) -> float:
    """Poll ``true`` until it holds; the seconds that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < patience, f"not within {patience} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - began


class Server:
    """``tests.apps.lanes`` (or another ``app``) under uvicorn, or under gunicorn."""

    def __init__(
        self,
        folder: Path,
        *,
        app: str = "tests.apps.lanes:app",
        flags: Sequence[str] = (),
        gunicorn: bool = False,
        database: Path | None = None,
        length: float = 0.0,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.database = database or folder / "tasks.db"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"log-{self.port}.txt"
        (folder / "marks").touch()
        self.length(length)
        where = ["--bind", f"127.0.0.1:{self.port}"] if gunicorn else ["--port", str(self.port)]
        self._command = [
            *(sys.executable, "-m", "gunicorn" if gunicorn else "uvicorn", app, *where),
            *flags,
        ]
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TASKFLOW_DB": str(self.database),
            "APP_FOLDER": str(folder),
            # Each imports the whole app, and so does the spare one; hardly any test needs two.
            "TASKFLOW_CPU_WORKERS": "1",
            **{f"TASKFLOW_{name.upper()}": str(value) for name, value in settings.items()},
        }
        #: Each request has a connection of its own: the server comes and goes, and has workers.
        self.http = httpx.Client(
            base_url=self.url, timeout=PATIENCE, headers={"Connection": "close"}, trust_env=False
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._family: set[psutil.Process] = set()

    # -- life ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        self.wait_until_up()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, whatever the test has found out."""
        family = self.family() if self.is_running else self._family
        if self.is_running:
            self.process.kill()
            self.process.wait(PATIENCE)
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.http.close()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )

    def wait_until_up(self) -> None:
        def answers() -> bool:
            assert self.is_running, self.log.read_text()
            with contextlib.suppress(httpx.HTTPError):
                return self.http.get("/ping").status_code == 200
            return False

        until(answers, f"the server answers; it says: {self.log}")

    def family(self) -> set[psutil.Process]:
        """Every process the server has started, itself included; helpers of Python are not."""
        found = psutil.Process(self.process.pid)
        members = {found, *found.children(recursive=True)}
        self._family = {m for m in members if "resource_tracker" not in command_of(m)}
        return self._family

    def signal(self, number: signal.Signals) -> None:
        self.family()
        self.process.send_signal(number)

    def wait_for_exit(self, patience: float = PATIENCE) -> float:
        """Seconds until the server is gone."""
        began = time.monotonic()
        self.process.wait(patience)
        return time.monotonic() - began

    def survivors(self) -> list[psutil.Process]:
        """Who of the family is still there after another 0.5 s, at most."""
        deadline = time.monotonic() + 0.5
        while (alive := [m for m in self._family if is_alive(m)]) and time.monotonic() < deadline:
            time.sleep(0.01)
        return alive

    def terminate(self, patience: float = PATIENCE) -> float:
        """SIGTERM; seconds until the server is gone."""
        self.signal(signal.SIGTERM)
        return self.wait_for_exit(patience)

    # -- use -------------------------------------------------------------------------------

    def add(self, *lanes: str, **wanted: Any) -> list[str]:
        response = self.http.post("/add", json={"lanes": lanes, **wanted})
        assert response.status_code == 200, response.text
        ids: list[str] = response.json()
        return ids

    def length(self, seconds: float) -> None:
        """How long tasks take that start from now on."""
        new = self.folder / "length.new"
        new.write_text(str(seconds))
        new.replace(self.folder / "length")

    def marks(self, word: str) -> Counter[str]:
        """How often each task has started, or ended."""
        lines = (line.split() for line in (self.folder / "marks").read_text().splitlines())
        return Counter(words[-1] for words in lines if words and words[0] == word)

    def started(self, ids: Sequence[str]) -> bool:
        return set(ids) <= set(self.marks("start"))

    def wait_until_started(self, ids: Sequence[str]) -> float:
        return until(lambda: self.started(ids), f"{ids} started; see {self.log}")

    @contextlib.contextmanager
    def rows(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=PATIENCE)) as connection:
            yield connection

    def states(self, ids: Sequence[str] | None = None) -> dict[str, str]:
        with self.rows() as connection:
            found = dict(connection.execute("SELECT task_id, status FROM tasks").fetchall())
        return found if ids is None else {task_id: found[task_id] for task_id in ids}

    def wait_until_done(
        self, ids: Sequence[str] | None = None, patience: float = PATIENCE
    ) -> float:
        """Until these, or all, are successes; the seconds that took."""
        return until(
            lambda: set(self.states(ids).values()) <= {"success"},
            f"all done; {Counter(self.states(ids).values())}, see {self.log}",
            patience,
        )


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def is_alive(process: psutil.Process) -> bool:
    """A zombie is dead; whoever inherited it has not noticed yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
