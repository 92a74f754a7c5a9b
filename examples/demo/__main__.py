"""Serve the demo: ``PORT=8000 DEMO_LOAD=1 python -m examples.demo``."""

from __future__ import annotations

import uvicorn

from examples.demo import config
from taskflow import Settings


def banner(settings: Settings) -> str:
    """What runs where, in a few lines."""
    s, url = settings, config.BASE_URL
    load = "about two requests a second" if config.LOAD else "none (DEMO_LOAD=0)"
    return f"""
  taskflow demo

  lane    slots                        waiting room
  async   {s.async_limit:>6,} coroutines            {s.async_queue:>7,}
  io      {s.io_workers:>6,} threads               {s.io_queue:>7,}
  cpu     {s.cpu_workers:>6,} worker processes      {s.cpu_queue:>7,}

  database    {s.db}
  dashboard   {url}/tasks/dashboard
  tasks       {url}/tasks   {url}/tasks/metrics   {url}/tasks/lanes
  API         {url}/docs
  start page  {url}/
  load        {load}

  Ctrl-C stops it within {s.shutdown_grace:g} s; what is unfinished goes on at the next start.
"""


def main() -> None:
    """Print what runs where, and serve until a signal comes."""
    # Worker processes import this module too and need no app.
    from examples.demo.app import app  # noqa: PLC0415 - see above
    from examples.demo.tasks import task_manager  # noqa: PLC0415 - see above

    print(banner(task_manager.settings), flush=True)
    uvicorn.run(app, host="127.0.0.1", port=config.PORT, log_level="warning")


if __name__ == "__main__":
    main()
