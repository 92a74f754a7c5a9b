"""Settings: defaults, where they come from, and what a wrong one says."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from executors.limits import available_cpus
from taskflow.errors import SettingsError
from taskflow.settings import Settings, load_settings, source_of


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("TASKFLOW_"):
            monkeypatch.delenv(name)


def test_defaults_suit_the_machine() -> None:
    settings = load_settings()

    cpus = available_cpus()
    assert settings.cpu_workers == cpus
    assert settings.io_workers == min(32, 4 * cpus + 4)
    assert settings.model_dump(exclude={"cpu_workers", "io_workers"}) == {
        "async_limit": 1000,
        "io_queue": 2000,
        "cpu_queue": 1000,
        "async_queue": 5000,
        "async_timeout": None,
        "io_timeout": None,
        "cpu_timeout": None,
        "cpu_nice": 19,
        "db": "taskflow.db",
        "shutdown_grace": 10.0,
        "enqueue_timeout": 5.0,
        "env": "development",
        "retention_days": 7.0,
        "retention_failed_days": 30.0,
        "max_args_bytes": 262144,
        "max_result_bytes": 1048576,
        "max_crashes": 3,
        "history": True,
        "audit_rows": 10_000,
        "audit_days": 90.0,
        "gc_freeze": True,
        "cpu_recycle_tasks": None,
        "cpu_recycle_mb": None,
        "cpu_recycle_age": None,
        "cpu_memory_mb": None,
        "cpu_brake_memory": None,
        "cpu_brake_load": None,
        "io_max_stuck": None,
        "overflow": "spill",
        "max_backlog": 10_000_000,
        "capture_logging": True,
        "capture_print": False,
        "loop_stall_ms": 200.0,
        "redact": "",
        "sample_interval": 1.0,
    }


#: name: smallest, largest, a text below or beside the range, one above it, the words for it
RANGES: dict[str, tuple[object, object, str, str, str]] = {
    "io_workers": (1, 1024, "0", "1025", "an integer from 1 to 1024"),
    "cpu_workers": (1, 256, "0", "257", "an integer from 1 to 256"),
    "async_limit": (1, 100_000, "0", "100001", "an integer from 1 to 100000"),
    "io_queue": (0, 1_000_000, "-1", "1000001", "an integer from 0 to 1000000"),
    "cpu_queue": (0, 1_000_000, "-1", "1000001", "an integer from 0 to 1000000"),
    "async_queue": (0, 1_000_000, "-1", "1.5", "an integer from 0 to 1000000"),
    "async_timeout": (0.001, 1e6, "0", "nan", "a number greater than 0 or not set"),
    "io_timeout": (0.001, 1e6, "-1", "inf", "a number greater than 0 or not set"),
    "cpu_timeout": (0.001, 1e6, "0", "soon", "a number greater than 0 or not set"),
    "cpu_nice": (0, "idle", "-1", "20", "an integer from 0 to 19 or idle"),
    "shutdown_grace": (0, 3600, "-0.1", "3601", "a number from 0 to 3600"),
    "enqueue_timeout": (0.05, 300, "0", "nan", "a number from 0.05 to 300"),
    "env": ("development", "production", "prod", "test", "development or production"),
    "retention_days": (0, 36500, "-1", "inf", "a number from 0 to 36500"),
    "retention_failed_days": (0, 36500, "-1", "many", "a number from 0 to 36500"),
    "audit_rows": (1, 10_000_000, "0", "x", "an integer from 1 to 10000000"),
    "audit_days": (0, 36500, "-1", "nan", "a number from 0 to 36500"),
    "max_args_bytes": (1024, 16777216, "1023", "16777217", "an integer from 1024 to 16777216"),
    "max_result_bytes": (1024, 268435456, "0", "268435457", "an integer from 1024 to 268435456"),
    "max_crashes": (1, 1000, "0", "x", "an integer from 1 to 1000"),
    "cpu_recycle_tasks": (1, 10**9, "0", "x", "an integer from 1 to 1000000000 or not set"),
    "cpu_recycle_mb": (16, 2**20, "15", "1048577", "an integer from 16 to 1048576 or not set"),
    "cpu_recycle_age": (1, 1e9, "0.5", "inf", "a number from 1 to 1000000000.0 or not set"),
    "cpu_memory_mb": (16, 2**20, "15", "1048577", "an integer from 16 to 1048576 or not set"),
    "cpu_brake_memory": (1, 100, "0", "101", "a number from 1 to 100 or not set"),
    "cpu_brake_load": (0.1, 1000, "0", "1001", "a number from 0.1 to 1000 or not set"),
    "io_max_stuck": (1, 10_000, "0", "10001", "an integer from 1 to 10000 or not set"),
    "overflow": ("spill", "wait", "drop", "rejected", "spill or reject or wait"),
    "max_backlog": (1, 10**9, "0", "x", "an integer from 1 to 1000000000"),
    "loop_stall_ms": (0, 3_600_000, "-1", "nan", "a number from 0 to 3600000"),
    "sample_interval": (0.1, 3600, "0", "3601", "a number from 0.1 to 3600"),
}


def test_every_setting_with_a_range_is_tested_here() -> None:
    others = {"db", "gc_freeze", "capture_logging", "capture_print", "history", "redact"}

    assert {*RANGES, *others} == set(Settings.model_fields)


@pytest.mark.parametrize("name", RANGES)
def test_both_ends_of_a_range_are_accepted_from_either_side(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value in RANGES[name][:2]:
        assert getattr(load_settings(**{name: value}), name) == value
        monkeypatch.setenv(f"TASKFLOW_{name.upper()}", str(value))
        assert getattr(load_settings(), name) == value


WRONG = [
    (name, value, words)
    for name, (_, _, below, above, words) in RANGES.items()
    for value in (below, above)
]


@pytest.mark.parametrize(("name", "value", "words"), WRONG)
def test_a_value_out_of_range_is_refused_with_variable_value_and_range(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TASKFLOW_{name.upper()}", value)

    with pytest.raises(SettingsError) as caught:
        load_settings()

    assert str(caught.value) == f"TASKFLOW_{name.upper()}={value}: must be {words}"


def test_a_wrong_keyword_is_named_as_the_keyword() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(io_workers="many")

    assert str(caught.value) == "io_workers='many': must be an integer from 1 to 1024"


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFLOW_IO_WORKERS", "0")
    monkeypatch.setenv("TASKFLOW_CPU_NICE", "loud")

    with pytest.raises(SettingsError) as caught:
        load_settings(env="dev")

    message = str(caught.value)
    assert "TASKFLOW_IO_WORKERS=0: must be an integer from 1 to 1024" in message
    assert "TASKFLOW_CPU_NICE=loud: must be an integer from 0 to 19 or idle" in message
    assert "env='dev': must be development or production" in message
    assert message.count("TASKFLOW_CPU_NICE") == 1


def test_a_keyword_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFLOW_IO_WORKERS", "3")
    monkeypatch.setenv("TASKFLOW_CPU_WORKERS", "3")

    settings = load_settings(io_workers=5)

    assert (settings.io_workers, settings.cpu_workers) == (5, 3)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFLOW_ASYNC_LIMIT", "")

    assert load_settings().async_limit == 1000


def test_an_empty_database_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"db='': must be a text that is not empty"):
        load_settings(db="")


def test_variables_may_be_written_in_lower_case_and_are_named_as_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("taskflow_io_workers", "-7")

    with pytest.raises(SettingsError, match=r"^taskflow_io_workers=-7: must be"):
        load_settings()


def test_an_unknown_keyword_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(SettingsError, match=r"io_worker=3: there is no such.*mean io_workers"):
        load_settings(io_worker=3)


def test_an_unknown_variable_is_logged_with_the_name_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TASKFLOW_IO_WORKER", "3")
    monkeypatch.setenv("TASKFLOW_IO_WORKERS", "4")
    monkeypatch.setenv("TASKFLOW_XYZZY", "1")

    with caplog.at_level(logging.WARNING, "taskflow.settings"):
        assert load_settings().io_workers == 4

    first, second = sorted(caplog.messages)
    assert "TASKFLOW_IO_WORKER " in first
    assert "did you mean TASKFLOW_IO_WORKERS?" in first
    assert "TASKFLOW_XYZZY" in second
    assert "did you mean" not in second


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().io_workers = 3


def test_importing_reads_nothing_from_the_environment() -> None:
    environment = {**os.environ, "TASKFLOW_IO_WORKERS": "nonsense"}

    done = subprocess.run(
        [sys.executable, "-c", "import taskflow.settings"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_where_a_setting_comes_from_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKFLOW_IO_WORKERS", "3")
    monkeypatch.setenv("taskflow_cpu_workers", "2")
    monkeypatch.setenv("TASKFLOW_IO_QUEUE", "")

    settings = load_settings(cpu_workers=1, async_queue=5000)

    names = ("io_workers", "cpu_workers", "async_queue", "io_queue", "env")
    assert [source_of(settings, name) for name in names] == [
        "environment",
        "code",
        "code",
        "default",
        "default",
    ]
