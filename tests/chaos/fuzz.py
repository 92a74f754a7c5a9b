"""Ask the API of a served app for everything its schema allows and forbids, for a minute.

``python -m tests.chaos.fuzz --seconds 60``: ends with an error if any answer is of 5xx, or if the
app does not answer afterwards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.apps.server import Server

#: Streams that have no end are not asked for: they would take all the time.
ENDLESS = "/events"


def main() -> int:
    """How schemathesis ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        server.wait_until_done(server.add("async", "io", "cpu"))
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
        flags = ["--checks", "not_a_server_error", "--exclude-path-regex", ENDLESS]
        flags += ["--include-path-regex", "^/tasks"]  # the routes of the app itself are no concern
        code = subprocess.call([*command, *flags, "--max-time", str(seconds)])
        server.wait_until_done(server.add("async"))
        server.terminate()
    return code


if __name__ == "__main__":
    sys.exit(main())
