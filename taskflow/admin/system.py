"""What the app runs on and how it is set up, as the admin shows it."""

from __future__ import annotations

import os
import platform
import socket
import sqlite3
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import fastapi
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from executors.histogram import Histogram
from taskflow.admin.models import Moment
from taskflow.admin.values import moment, shorten
from taskflow.engine import Engine
from taskflow.redaction import Redactor
from taskflow.secret_text import MASK
from taskflow.settings import PREFIX, Settings, source_of
from taskflow.stores.annals import InstanceRow

MOST_INSTANCES = 200


class CommitTimes(BaseModel):
    """Milliseconds that commits took over the last minute; null without one."""

    p50: float | None
    p95: float | None
    p99: float | None
    count: int


class StoreFacts(BaseModel):
    """The store; what nobody can tell is null."""

    url: str
    ok: bool
    trouble: str | None
    #: Bytes: of the file, of the log beside it, and free on its disk.
    database_bytes: int | None
    wal_bytes: int | None
    free_bytes: int | None
    commit_ms: CommitTimes


class SettingFact(BaseModel):
    """A setting, and where its value comes from."""

    name: str
    value: str
    source: Literal["environment", "code", "default"]
    default: str
    help: str


class InstanceFact(BaseModel):
    """An instance that uses this store."""

    id: str
    host: str
    pid: int
    started_at: Moment
    alive: bool
    self: bool


class System(BaseModel):
    """All of it."""

    taskflow: str
    python: str
    fastapi: str
    uvicorn: str | None
    sqlite: str
    platform: str
    instance: str
    host: str
    pid: int
    started_at: Moment
    store: StoreFacts
    settings: list[SettingFact]
    instances: list[InstanceFact]


async def describe(engine: Engine) -> System:
    """The system under ``engine``."""
    instances = await engine.store.annals.instances(MOST_INSTANCES)
    return System(
        taskflow=own_version(),
        python=platform.python_version(),
        fastapi=fastapi.__version__,
        uvicorn=_version_of("uvicorn"),
        sqlite=sqlite3.sqlite_version,
        platform=platform.platform(),
        instance=engine.instance,
        host=socket.gethostname(),
        pid=os.getpid(),
        started_at=moment(engine.started_at),
        store=await _describe_store(engine),
        settings=describe_settings(engine.settings, engine.redactor),
        instances=[_describe_instance(row, engine.instance) for row in instances],
    )


async def _describe_store(engine: Engine) -> StoreFacts:
    trouble = engine.outbox.trouble
    size = await engine.store.annals.size()
    return StoreFacts(
        url=engine.store.url,
        ok=trouble is None,
        trouble=None if trouble is None else str(trouble),
        database_bytes=size.database,
        wal_bytes=size.log,
        free_bytes=size.free,
        commit_ms=_in_ms(engine.outbox.tally.latency.recent),
    )


def _in_ms(histogram: Histogram) -> CommitTimes:
    found = {f"p{percent}": histogram.quantile(percent / 100) for percent in (50, 95, 99)}
    rounded = {name: None if it is None else round(it * 1000, 3) for name, it in found.items()}
    return CommitTimes(count=histogram.count, **rounded)


def describe_settings(settings: Settings, redactor: Redactor) -> list[SettingFact]:
    """Every setting as it is in force, in the order of their declaration."""
    return [
        SettingFact(
            name=(PREFIX + name).upper(),
            value=_show(name, getattr(settings, name), redactor),
            source=source_of(settings, name),
            default=_show(name, _default_of(field), redactor),
            help=field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def _default_of(field: FieldInfo) -> object:
    return field.get_default(call_default_factory=True, validated_data={})


def _show(name: str, value: object, redactor: Redactor) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return MASK if redactor.is_secret(name) else str(shorten(redactor.text(value, name)))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _describe_instance(row: InstanceRow, own: str) -> InstanceFact:
    return InstanceFact(
        id=row.instance,
        host=row.host,
        pid=row.pid,
        started_at=moment(row.started_at),
        alive=row.alive,
        self=row.instance == own,
    )


def own_version() -> str:
    """The version of taskflow."""
    return _version_of("taskflow-lanes") or "unknown"


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
