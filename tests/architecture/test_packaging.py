"""What is installed: its names, its version, its files."""

from __future__ import annotations

import importlib
import re
import tomllib
import types
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import fastapi_taskflow
import taskflow
from tests.architecture.sources import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.mark.parametrize("name", ["taskflow", "executors", "fastapi_taskflow"])
def test_all_lists_exactly_what_is_public(name: str) -> None:
    module = importlib.import_module(name)
    public = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and key != "annotations"
        and not isinstance(value, types.ModuleType)
    }

    assert len(module.__all__) == len(set(module.__all__))
    assert set(module.__all__) == public


def test_both_import_names_give_the_same_things() -> None:
    assert fastapi_taskflow.__all__ == taskflow.__all__
    for name in taskflow.__all__:
        assert getattr(fastapi_taskflow, name) is getattr(taskflow, name)


def test_the_version_is_the_same_everywhere() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.MULTILINE)

    assert newest is not None
    assert newest[1] == PROJECT["project"]["version"]
    assert taskflow.__version__ == PROJECT["project"]["version"]
    assert fastapi_taskflow.__version__ == PROJECT["project"]["version"]


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(tmp_path: Path) -> None:
    (artifact,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])

    with zipfile.ZipFile(artifact) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
        (metadata,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        text = wheel.read(metadata).decode()

    present = {
        path.relative_to(ROOT).as_posix()
        for package in ("taskflow", "executors")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == present | {"fastapi_taskflow.py"}
    assert {"taskflow/py.typed", "executors/py.typed"} <= packed
    assert "Name: taskflow-lanes\n" in text
