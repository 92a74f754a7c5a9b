"""Processes that a benchmark starts: each runs a module of this package and prints JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

ROOT = Path(__file__).parents[1]
#: Seconds that anything may take, on a busy machine too.
PATIENCE = 300.0


class Child:
    """A running process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def say(self) -> dict[str, Any]:
        """The next line it prints; raises if it ended without one."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"{self.process.args!r} ended with code {self.process.wait(PATIENCE)} and did not "
                "say what it found; its errors are above"
            )
        said = json.loads(line)
        assert isinstance(said, dict)
        return said

    def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def child(
    module: str, *arguments: object, environment: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """``python -m module arguments``; it is given the end of the block to end by itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=environment_for(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Child(process)
            process.wait(PATIENCE)
        except BaseException:
            process.kill()
            raise


def environment_for(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's variables, and the way to this package from any directory."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, **extra}


def report(**found: Any) -> None:
    """Say something to the benchmark that started this process."""
    print(json.dumps(found), flush=True)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the whole of such a process; an error ends it at once, whatever threads there are."""
    try:
        uvloop.run(main)
    except Exception:
        traceback.print_exc()
        os._exit(1)
