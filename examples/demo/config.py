"""Where the demo runs and what it may do, from the environment."""

from __future__ import annotations

import os
from pathlib import Path

#: The port of the web server.
PORT = int(os.environ.get("PORT", "8000"))
#: Where the database, the audit file and the rendered reports go.
DATA = Path(os.environ.get("DEMO_DATA", "demo-data")).absolute()
#: Whether the demo makes requests to itself, so that there is something to see.
LOAD = os.environ.get("DEMO_LOAD", "1") not in {"0", "no", "false", ""}

BASE_URL = f"http://127.0.0.1:{PORT}"
