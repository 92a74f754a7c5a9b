"""Drives a route with `wrk` and reads what it prints."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

MISSING = "wrk was not found, so nothing was measured: apt-get install wrk"
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What a route did under load; latencies in milliseconds."""

    requests: int
    rate: float
    p50: float
    p99: float


def is_there() -> bool:
    """Whether `wrk` can be run."""
    return shutil.which("wrk") is not None


def drive(url: str, *, connections: int, seconds: int) -> Load:
    """Ask for ``url`` as fast as ``connections`` connections can.

    Raises `RuntimeError` if a request failed or was not answered by a 2xx or 3xx.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return parse(done.stdout)


def parse(text: str) -> Load:
    """The figures in the output of ``wrk --latency``."""
    trouble = re.search(r"Non-2xx.*|Socket errors:.*", text)
    if trouble:
        raise RuntimeError(f"requests failed under load: {trouble[0]}")
    requests = re.search(r"(\d+) requests in", text)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", text)
    lines = re.findall(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    shares = {share: float(value) * _UNITS[unit] for share, value, unit in lines}
    if requests is None or rate is None or not {"50", "99"} <= shares.keys():
        raise RuntimeError(f"wrk printed something else than expected:\n{text}")
    return Load(int(requests[1]), float(rate[1]), shares["50"], shares["99"])
