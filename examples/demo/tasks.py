"""The demo's tasks: one or more for each lane."""

from __future__ import annotations

import csv
import os
import smtplib
from datetime import datetime
from email.message import EmailMessage

import httpx

from examples.demo import config, mail
from examples.demo.report import render_chart
from taskflow import TaskManager, task_log

config.DATA.mkdir(parents=True, exist_ok=True)
task_manager = TaskManager(snapshot_db=config.DATA / "demo.db", requeue_pending=True)


# The io lane: a thread of a bounded pool. Every fifth message is refused by the mail server, so
# this one is retried after 2, 4, 8 and 16 seconds.
@task_manager.task(retries=4, delay=2.0, backoff=2.0)
def send_welcome_email(email: str, name: str) -> None:
    """Greet a new customer."""
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = email
    message["Subject"] = f"Welcome, {name}"
    message.set_content(f"Dear {name},\n\nit is good to have you here.\n")
    with smtplib.SMTP("127.0.0.1", mail.sink.port, timeout=10) as smtp:
        smtp.send_message(message)
    task_log(f"accepted by the mail server for {email}")


# The io lane again: a file written as safely as a file can be.
@task_manager.task(retries=1)
def write_audit_line(event: str, subject: str, at: datetime) -> None:
    """Note that something happened."""
    with (config.DATA / "audit.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow([at.isoformat(), event, subject])
        file.flush()
        os.fsync(file.fileno())


# The cpu lane: a worker process, which is killed if it takes longer than 30 seconds.
@task_manager.task(lane="cpu", timeout=30)
def render_report(title: str, seed: int) -> list[str]:
    """Draw a report and its thumbnails."""
    files = render_chart(title, seed, config.DATA / "reports")
    task_log(f"{len(files)} images, {sum(file.stat().st_size for file in files)} bytes")
    return [file.name for file in files]


# The async lane: the event loop that also serves the requests.
@task_manager.task(retries=2, delay=1.0, timeout=5)
async def deliver_webhook(url: str, event: str, customer: int) -> int:
    """Tell another system about it."""
    async with httpx.AsyncClient(timeout=4) as client:
        response = await client.post(url, json={"event": event, "customer": customer})
    response.raise_for_status()
    return response.status_code
