"""From stored records to what the admin answers. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from taskflow.admin.models import Execution, LogEntry, Task, TaskDetail, WaitingFor
from taskflow.admin.values import between, moment, moment_or_none, parse
from taskflow.record import AttemptRecord, LogLine, TaskRecord
from taskflow.redaction import Redactor
from taskflow.states import FINAL, TaskStatus

#: Characters of an error in a list.
LONGEST_LISTED = 500


def present(record: TaskRecord, now: float) -> Task:
    """A task as it stands in a list."""
    return Task(**_fields(record, now))


def present_listed(record: TaskRecord, now: float, redactor: Redactor) -> Task:
    """A task in a list of many: without trace, and with the beginning of its error only."""
    error = record.error
    if error is not None and len(error) > LONGEST_LISTED:
        error = redactor.beginning(error, 8 * LONGEST_LISTED, "error")
        error = error if len(error) <= LONGEST_LISTED else f"{error[: LONGEST_LISTED - 1]}…"
    if error is not record.error or record.stacktrace is not None:
        record = dataclasses.replace(record, error=error, stacktrace=None)
    return present(record, now)


def present_whole(
    record: TaskRecord,
    now: float,
    *,
    attempts: Sequence[AttemptRecord],
    logs: Sequence[LogLine],
    waiting_for: WaitingFor | None,
) -> TaskDetail:
    """A task with its history, its log, its arguments and its result."""
    fields = _fields(record, now)
    fields["logs"] = [
        LogEntry(at=moment(line.at), level=line.level, message=line.message, attempt=line.attempt)
        for line in logs
    ]
    return TaskDetail(
        **fields,
        arguments=present_arguments(record.args),
        result=parse(record.result),
        history=executions(record, attempts, now),
        waiting_for=waiting_for,
    )


def executions(
    record: TaskRecord, attempts: Sequence[AttemptRecord], now: float
) -> list[Execution]:
    """Every execution of a task, oldest first; the latest is in the row of the task itself."""
    found = [
        Execution(
            number=number,
            started_at=moment(attempt.started_at),
            ended_at=moment(attempt.ended_at),
            duration=between(attempt.started_at, attempt.ended_at),
            outcome=attempt.outcome,
            error=attempt.error,
            stacktrace=attempt.stacktrace,
            instance=attempt.instance,
        )
        for number, attempt in enumerate(
            sorted(attempts, key=lambda a: (a.started_at, a.number)), 1
        )
    ]
    if record.started_at is not None and _has_run(record):
        end = record.ended_at
        found.append(
            Execution(
                number=len(found) + 1,
                started_at=moment(record.started_at),
                ended_at=moment_or_none(end),
                duration=between(record.started_at, now if end is None else end),
                outcome=_outcome(record),
                error=record.error,
                stacktrace=record.stacktrace,
                instance=record.instance,
            )
        )
    return found


def own_key(record: TaskRecord) -> str | None:
    """The concurrency key as the user's code made it; it is stored with the task's name before."""
    key = record.concurrency_key
    return None if key is None else key.removeprefix(f"{record.func_name}:")


def _fields(record: TaskRecord, now: float) -> dict[str, Any]:
    return {
        "task_id": record.task_id,
        "func_name": record.func_name,
        "status": record.status,
        "lane": record.lane,
        "queue": record.queue,
        "priority": record.priority,
        "created_at": moment(record.created_at),
        "run_at": moment_or_none(record.run_at),
        "start_time": moment_or_none(record.started_at),
        "end_time": moment_or_none(record.ended_at),
        "duration": _duration(record, now),
        "attempts": record.attempt,
        "max_attempts": record.max_attempts,
        "crashes": record.crashes,
        "timeout": record.timeout,
        "error": record.error,
        "stacktrace": record.stacktrace,
        "result_error": record.result_error,
        "logs": [],
        "progress": parse(record.progress),
        "tags": _tags(record.tags),
        "idempotency_key": record.idempotency_key,
        "concurrency_key": own_key(record),
        "source": record.source,
        "instance": record.instance,
    }


def _has_run(record: TaskRecord) -> bool:
    return record.status is TaskStatus.RUNNING or record.status in FINAL


def _duration(record: TaskRecord, now: float) -> float | None:
    if record.started_at is None or not _has_run(record):
        return None
    return between(record.started_at, now if record.ended_at is None else record.ended_at)


def _outcome(record: TaskRecord) -> str:
    """The word for the latest execution, of the same kind as those in the history."""
    if record.status is TaskStatus.FAILED and record.error is not None:
        if record.error.startswith("timed out"):
            return "timed out"
        if record.error.startswith("worker process died"):
            return "crashed"
    return str(record.status)


def _tags(text: str | None) -> dict[str, str] | list[str]:
    value = parse(text)
    if isinstance(value, dict):
        return {str(key): str(label) for key, label in value.items()}
    return [str(tag) for tag in value] if isinstance(value, list) else {}


def present_arguments(text: str) -> object:
    """Stored arguments, whole: `Outgoing` hides what is secret, and shortens them after that."""
    value = parse(text)
    if isinstance(value, str):
        return value  # not what was stored by taskflow, or too much of it
    found = value if isinstance(value, dict) else {}
    return {"args": found.get("args", []), "kwargs": found.get("kwargs", {})}
