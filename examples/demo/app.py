"""The web application: three routes that add tasks, a receiver of webhooks and a first page."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field

from examples.demo import config
from examples.demo.load import visitors
from examples.demo.mail import sink
from examples.demo.tasks import (
    deliver_webhook,
    render_report,
    send_welcome_email,
    task_manager,
    write_audit_line,
)
from taskflow import ManagedBackgroundTasks, TaskAdmin

_INDEX = Path(__file__).with_name("index.html").read_text("utf-8")
_reports, _deliveries = itertools.count(1), itertools.count(1)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """The mail server and the visitors live as long as the application."""
    async with AsyncExitStack() as stack:
        await sink.start()
        stack.push_async_callback(sink.stop)
        if config.LOAD:
            await stack.enter_async_context(visitors(config.BASE_URL))
        yield


app = FastAPI(title="taskflow demo", lifespan=lifespan)
TaskAdmin(app, task_manager, auto_install=True)

(config.DATA / "reports").mkdir(exist_ok=True)
app.mount("/files", StaticFiles(directory=config.DATA / "reports"), name="files")


class Signup(BaseModel):
    """Somebody who wants an account."""

    name: str = Field(min_length=1, max_length=100)
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=200)


class Report(BaseModel):
    """A report to be drawn."""

    title: str = Field("Sales", max_length=80)


class Order(BaseModel):
    """An order that other systems hear of."""

    customer: int


class Accepted(BaseModel):
    """The ids of the tasks that were added; they are on disk when you read this."""

    task_ids: list[str]


@app.get("/", response_class=HTMLResponse, include_in_schema=False)
async def index() -> str:
    """The first page."""
    return _INDEX


@app.post("/signup", status_code=202)
def signup(body: Signup, background_tasks: ManagedBackgroundTasks) -> Accepted:
    """Send a welcome e-mail (io lane, retried) and write an audit line (io lane)."""
    tasks = [
        background_tasks.add_task(send_welcome_email, email=body.email, name=body.name),
        background_tasks.add_task(write_audit_line, "signup", body.email, at=datetime.now(UTC)),
    ]
    return Accepted(task_ids=tasks)


@app.post("/reports", status_code=202)
def report(body: Report, background_tasks: BackgroundTasks) -> Accepted:
    """Draw a report and its thumbnails in a worker process (cpu lane); see /files/report-1.png."""
    # FastAPI's own annotation works too; only a type checker does not know that it returns the id.
    task = background_tasks.add_task(render_report, body.title, seed=next(_reports))  # type: ignore[func-returns-value]  # see above
    return Accepted(task_ids=[str(task)])


@app.post("/orders", status_code=202)
async def order(body: Order, background_tasks: ManagedBackgroundTasks) -> Accepted:
    """Tell another system about an order over HTTP (async lane)."""
    url = f"{config.BASE_URL}/webhook-sink"
    task = background_tasks.add_task(deliver_webhook, url, "order", customer=body.customer)
    return Accepted(task_ids=[task])


@app.post("/webhook-sink", include_in_schema=False)
async def webhook_sink() -> dict[str, bool]:
    """The other system: slow for every seventh caller."""
    if next(_deliveries) % 7 == 0:
        await asyncio.sleep(1.5)
    return {"ok": True}
