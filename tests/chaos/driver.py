"""Eight clients, one app, `kill -9` at random moments; then the books are checked.

``python -m tests.chaos.driver --kills 30`` prints a table; `run` is what the test-suite calls.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

#: Seconds that worker processes have to follow their parent.
PATIENCE = 0.2
CLIENTS = 8
SLOTS = {"TASKFLOW_ASYNC_LIMIT": 8, "TASKFLOW_IO_WORKERS": 4, "TASKFLOW_CPU_WORKERS": 2}
LEGAL = {"scheduled", "pending", "running", "retrying", "success", "failed", "cancelled"}


@dataclass
class Books:
    """What was promised, and what came of it."""

    kills: int = 0
    acknowledged: set[str] = field(default_factory=set)
    #: Acknowledged tasks that are not in the store, or never ran.
    lost: set[str] = field(default_factory=set)
    #: Tasks that did not end as a success although nothing is wrong with them.
    unfinished: dict[str, str] = field(default_factory=dict)
    #: Executions beyond the first.
    repeated: int = 0
    #: Worker processes that outlived their parent, by more than `PATIENCE` or what was given.
    orphans: int = 0
    #: Seconds from the start of the process to the first task that was left over and then ran.
    recoveries: list[float] = field(default_factory=list)
    integrity: str = ""

    @property
    def most_repeats(self) -> int:
        """What at-least-once may cost: the slots in flight at each kill."""
        return self.kills * sum(SLOTS.values())

    def __str__(self) -> str:
        worst = max(self.recoveries, default=float("nan"))
        return (
            f"kills {self.kills}, acknowledged {len(self.acknowledged)}, lost {len(self.lost)}, "
            f"not finished {len(self.unfinished)}, repeated {self.repeated} "
            f"(at most {self.most_repeats} allowed), orphans {self.orphans}, "
            f"worst recovery {worst:.2f} s, integrity {self.integrity}"
        )


class App:
    """The app as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.effects = folder / "effects.txt"
        self.effects.touch()
        self.process: subprocess.Popen[bytes] | None = None
        self.log = (folder / "app.log").open("ab")

    def start(self) -> None:
        environment = {
            **os.environ,
            **{name: str(value) for name, value in SLOTS.items()},
            "TASKFLOW_DB": str(self.folder / "tasks.db"),
            "CHAOS_EFFECTS": str(self.effects),
        }
        command = [sys.executable, "-m", "uvicorn", "tests.chaos.app:app", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--log-level", "warning"],
            env=environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def kill(self, patience: float) -> int:
        """SIGKILL; how many of its worker processes outlive it by more than so many seconds."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        workers = [child for child in children if "resource_tracker" not in _command(child)]
        self.process.kill()
        self.process.wait()
        until = time.monotonic() + patience
        while (alive := sum(map(_is_alive, workers))) and time.monotonic() < until:
            time.sleep(0.005)
        return alive

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)
        self.log.close()

    def executed(self) -> Counter[str]:
        return Counter(self.effects.read_text().split())


def _is_alive(process: psutil.Process) -> bool:
    """A zombie is dead; whoever inherited it has not noticed yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


async def client(app: App, books: Books, draw: random.Random, stop: asyncio.Event) -> None:
    """Add tasks and remember what was acknowledged; a dead app is waited for."""
    async with httpx.AsyncClient(base_url=app.url, timeout=10) as http:
        while not stop.is_set():
            try:
                response = await http.post("/add", params={"pause": draw.uniform(0.0, 0.03)})
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
                continue
            if response.status_code == 200:
                books.acknowledged.update(response.json())
            await asyncio.sleep(draw.uniform(0.0, 0.05))


async def wait_until_up(app: App) -> None:
    async with httpx.AsyncClient(base_url=app.url) as http:
        for _ in range(600):
            with contextlib.suppress(httpx.HTTPError):
                await http.get("/ping")
                return
            await asyncio.sleep(0.02)
    raise RuntimeError(f"the app did not come up; see {app.folder / 'app.log'}")


def left_over(app: App) -> set[str]:
    """Tasks that were stored and are not over. The app is dead while this looks."""
    with contextlib.closing(sqlite3.connect(app.folder / "tasks.db")) as db:
        rows = db.execute("SELECT task_id FROM tasks WHERE status IN ('pending', 'running')")
        return {row[0] for row in rows}


async def recovery(app: App, waiting: set[str], began: float) -> float | None:
    """Seconds until one of ``waiting`` ran."""
    before = app.executed()
    for _ in range(1000):
        now = app.executed()
        if any(now[task_id] > before[task_id] for task_id in waiting):
            return time.monotonic() - began
        await asyncio.sleep(0.01)
    return None


async def torment(app: App, books: Books, kills: int, draw: random.Random, patience: float) -> None:
    """Load, and kills at random moments."""
    app.start()
    await wait_until_up(app)
    stop = asyncio.Event()
    clients = [
        asyncio.create_task(client(app, books, random.Random(draw.random()), stop))
        for _ in range(CLIENTS)
    ]
    for _ in range(kills):
        await asyncio.sleep(draw.uniform(0.3, 2.0))
        books.orphans += await asyncio.to_thread(app.kill, patience)
        books.kills += 1
        waiting = left_over(app)
        began = time.monotonic()
        app.start()
        if waiting and (took := await recovery(app, waiting, began)) is not None:
            books.recoveries.append(took)
        await wait_until_up(app)
    stop.set()
    await asyncio.gather(*clients)


async def until_quiet(app: App, seconds: float) -> None:
    """Until every task is over, or time is up."""
    until = time.monotonic() + seconds
    with contextlib.closing(sqlite3.connect(app.folder / "tasks.db", timeout=10)) as db:
        while time.monotonic() < until:
            (waiting,) = db.execute(
                "SELECT count(*) FROM tasks WHERE status NOT IN ('success', 'failed', 'cancelled')"
            ).fetchone()
            if not waiting:
                return
            await asyncio.sleep(0.1)


def audit(app: App, books: Books) -> None:
    """Compare what was promised with what is stored and with what was done."""
    executed = app.executed()
    with contextlib.closing(sqlite3.connect(app.folder / "tasks.db")) as db:
        (books.integrity,) = db.execute("PRAGMA integrity_check").fetchone()
        rows = dict(db.execute("SELECT task_id, status FROM tasks"))
    for task_id in books.acknowledged:
        if task_id not in rows or not executed[task_id]:
            books.lost.add(task_id)
        elif rows[task_id] != "success":
            books.unfinished[task_id] = rows[task_id]
    assert set(rows.values()) <= LEGAL, f"illegal states: {set(rows.values()) - LEGAL}"
    books.repeated = sum(count - 1 for count in executed.values())


async def run(kills: int, seed: int, folder: Path, patience: float = PATIENCE) -> Books:
    """Kill an app ``kills`` times under load and audit what is left.

    Workers have ``patience`` seconds to follow it: on a busy machine even that takes a while.
    """
    books = Books()
    app = App(folder)
    try:
        await torment(app, books, kills, random.Random(seed), patience)
        await until_quiet(app, 60)
    finally:
        await asyncio.to_thread(app.stop)
    audit(app, books)
    return books


def main() -> int:
    """The long form, for `make chaos`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        books = asyncio.run(run(options.kills, options.seed, Path(folder)))
    print(f"seed {options.seed}: {books}")
    good = not (books.lost or books.unfinished or books.orphans)
    return 0 if good and books.repeated <= books.most_repeats and books.integrity == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
