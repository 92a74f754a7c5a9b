"""Every setting, its range and its default; from ``TASKFLOW_*`` variables and keyword arguments.

The environment is read when `load_settings` is called, never at import.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from executors.limits import available_cpus
from taskflow.errors import SettingsError

_log = logging.getLogger(__name__)

PREFIX = "TASKFLOW_"

_Workers = Annotated[int, Field(ge=1)]
_Room = Annotated[int, Field(ge=0, le=1_000_000)]
_Days = Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)]
_Timeout = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Megabytes = Annotated[int, Field(ge=16, le=1024**2)]


#: The largest limit that each lane takes.
MOST_SLOTS = {"async": 100_000, "io": 1024, "cpu": 256}


def _default_io_workers() -> int:
    return min(32, 4 * available_cpus() + 4)


class Settings(BaseSettings):
    """How a manager behaves. Times are seconds unless the name says otherwise, sizes bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True
    )

    #: The names of those that were given in code.
    _given: frozenset[str] = PrivateAttr(frozenset())

    io_workers: Annotated[_Workers, Field(le=MOST_SLOTS["io"])] = Field(
        default_factory=_default_io_workers, description="threads of the io lane"
    )
    cpu_workers: Annotated[_Workers, Field(le=MOST_SLOTS["cpu"])] = Field(
        default_factory=available_cpus, description="worker processes of the cpu lane"
    )
    async_limit: Annotated[_Workers, Field(le=MOST_SLOTS["async"])] = Field(
        1000, description="coroutines of the async lane that run at once"
    )
    io_queue: _Room = Field(2000, description="waiting room of the io lane")
    cpu_queue: _Room = Field(1000, description="waiting room of the cpu lane")
    async_queue: _Room = Field(5000, description="waiting room of the async lane")
    async_timeout: _Timeout | None = Field(None, description="limit for an attempt there")
    io_timeout: _Timeout | None = Field(None, description="limit for an attempt there")
    cpu_timeout: _Timeout | None = Field(None, description="limit for an attempt there")
    cpu_nice: Annotated[int, Field(ge=0, le=19)] | Literal["idle"] = Field(
        19, description="priority of worker processes; idle means SCHED_IDLE"
    )
    cpu_recycle_tasks: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        None, description="a worker process is replaced after so many tasks"
    )
    cpu_recycle_mb: _Megabytes | None = Field(
        None, description="a worker process is replaced when it holds more memory (RSS) than this"
    )
    cpu_recycle_age: Annotated[float, Field(ge=1, le=1e9)] | None = Field(
        None, description="a worker process is replaced at this age"
    )
    cpu_memory_mb: _Megabytes | None = Field(
        None, description="how much memory one task of the cpu lane may take"
    )
    cpu_brake_memory: Annotated[float, Field(ge=1, le=100)] | None = Field(
        None, description="no cpu task starts while more percent of the memory are in use"
    )
    cpu_brake_load: Annotated[float, Field(ge=0.1, le=1000)] | None = Field(
        None, description="no cpu task starts while the load average per cpu is above this"
    )
    io_max_stuck: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="threads that may be stuck before the io lane refuses work"
    )
    overflow: Literal["spill", "reject", "wait"] = Field(
        "spill", description="what happens to a task whose lane has no room"
    )
    max_backlog: Annotated[int, Field(ge=1, le=10**9)] = Field(
        10_000_000, description="tasks that may be pending; more are refused"
    )
    capture_logging: bool = Field(
        default=True, description="records of the standard logging belong to the task's log, too"
    )
    capture_print: bool = Field(
        default=False, description="what a task prints goes to its log instead"
    )
    loop_stall_ms: Annotated[float, Field(ge=0, le=3_600_000)] = Field(
        200.0, description="a stall of the event loop that is recorded, 0 for none"
    )
    sample_interval: Annotated[float, Field(ge=0.1, le=3600)] = Field(
        1.0, description="seconds between two looks at processes and host"
    )
    db: Annotated[str, Field(min_length=1)] = Field(
        "taskflow.db", description="a path, or the URL of a database"
    )
    shutdown_grace: Annotated[float, Field(ge=0, le=3600)] = Field(
        10.0, description="how long running tasks may go on after a stop was asked for"
    )
    enqueue_timeout: Annotated[float, Field(ge=0.05, le=300)] = Field(
        5.0, description="how long a response waits for its tasks to be committed"
    )
    env: Literal["development", "production"] = Field(
        "development", description="in production the admin answers only with auth="
    )
    redact: str = Field(
        "", description="names, with commas between, whose values are secret as well"
    )
    retention_days: _Days = Field(7.0, description="age at which finished tasks are deleted")
    retention_failed_days: _Days = Field(30.0, description="the same for tasks that failed")
    max_args_bytes: Annotated[int, Field(ge=1024, le=16 * 1024**2)] = Field(
        256 * 1024, description="limit for the arguments of a task as JSON"
    )
    max_result_bytes: Annotated[int, Field(ge=1024, le=256 * 1024**2)] = Field(
        1024**2, description="limit for the result of a task as JSON"
    )
    gc_freeze: bool = Field(
        default=True, description="leave what is loaded at the start out of garbage collections"
    )
    history: bool = Field(
        default=True, description="keep figures over time: a point every 10 seconds"
    )
    audit_rows: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        10_000, description="how many things that people did are kept"
    )
    audit_days: _Days = Field(90.0, description="age at which these are deleted")
    max_crashes: Annotated[int, Field(ge=1, le=1000)] = Field(
        3, description="a task that was running in so many crashes has failed"
    )


def database_path(db: str) -> str:
    """The path that ``db`` stands for; raises `SettingsError` for what this version cannot use."""
    scheme, found, rest = db.partition("://")
    if not found:
        return db
    if scheme == "sqlite" and rest.startswith("/"):
        return rest[1:]  # as elsewhere: three slashes and a relative path, or four and an absolute
    raise SettingsError(
        f"TASKFLOW_DB={scheme}://...: this version stores tasks in SQLite only; give the path of a "
        "file, such as tasks.db"
    )


def check_warm_up(names: object) -> tuple[str, ...]:
    """``warm_up=`` of a manager; raises `SettingsError` for what no worker process could find."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise SettingsError(f"warm_up={names!r:.60}: give a list of names")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[\w.]+:[\w.]+", name):
            raise SettingsError(
                f"warm_up={name!r:.100}: give the name of a function as 'package.module:name'"
            )
    return tuple(names)


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment, keyword arguments winning.

    Raises `SettingsError` that names every wrong value, where it comes from and what is allowed.
    Variables with the prefix that mean nothing are logged with the name that was probably meant.
    """
    _warn_of_unknown(os.environ)
    given: dict[str, Any] = dict(overrides)
    try:
        settings = Settings(**given)
    except ValidationError as error:
        names = dict.fromkeys(str(problem["loc"][0]) for problem in error.errors())
        raise SettingsError("; ".join(_complaint(name, overrides) for name in names)) from None
    settings._given = frozenset(overrides)
    return settings


def source_of(settings: Settings, name: str) -> Literal["environment", "code", "default"]:
    """Where the value of the setting ``name`` comes from."""
    if name in settings._given:
        return "code"
    return "environment" if name in settings.model_fields_set else "default"


def _complaint(name: str, overrides: Mapping[str, object]) -> str:
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{name}={overrides.get(name)!r}: there is no such setting{_closest(name)}"
    if name in overrides:
        source = f"{name}={overrides[name]!r}"
    else:
        variable, value = _from_environment(name)
        source = f"{variable}={value}"
    return f"{source}: must be {' or '.join(_allowed(field.annotation, field.metadata))}"


def _from_environment(name: str) -> tuple[str, str]:
    """The variable as it is written, and its value: upper and lower case mean the same."""
    wanted = (PREFIX + name).upper()
    for variable, value in os.environ.items():
        if variable.upper() == wanted:
            return variable, value
    return wanted, ""


def _allowed(annotation: Any, metadata: list[Any]) -> Iterator[str]:
    """What a value may be, in words, one for each member of a union."""
    while isinstance(getattr(annotation, "__metadata__", None), tuple):
        metadata = [*metadata, *annotation.__metadata__]
        annotation = annotation.__origin__
    members = getattr(annotation, "__args__", ())
    if annotation is type(None):
        yield "not set"
    elif getattr(annotation, "__origin__", None) is Literal:
        yield " or ".join(members)
    elif members:
        for member in members:
            yield from _allowed(member, metadata)
    elif annotation is str:
        yield "a text that is not empty"
    else:
        kind = "an integer" if annotation is int else "a number"
        yield f"{kind}{_range(metadata)}"


def _range(metadata: list[Any]) -> str:
    flat = [
        part
        for entry in metadata
        for part in (entry.metadata if isinstance(entry, FieldInfo) else [entry])
    ]
    bounds = {
        word: getattr(part, word)
        for part in flat
        for word in ("ge", "gt", "le")
        if hasattr(part, word)
    }
    if "gt" in bounds:
        return f" greater than {bounds['gt']}"
    return f" from {bounds['ge']} to {bounds['le']}"


def _warn_of_unknown(environment: Mapping[str, str]) -> None:
    for variable in environment:
        name = variable.upper().removeprefix(PREFIX).lower()
        if variable.upper().startswith(PREFIX) and name not in Settings.model_fields:
            _log.warning(
                "the environment variable %s is not a setting of taskflow and does nothing%s",
                variable,
                _closest(name, PREFIX),
                extra={"event": "settings.unknown", "variable": variable},
            )


def _closest(name: str, prefix: str = "") -> str:
    found = difflib.get_close_matches(name, Settings.model_fields, n=1)
    if not found:
        return ""
    return f"; did you mean {(prefix + found[0]).upper() if prefix else found[0]}?"
