"""What the documents say is so."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

from fastapi import FastAPI
from fastapi.testclient import TestClient

from taskflow import Settings

ROOT = Path(__file__).parents[2]


def test_every_setting_is_in_the_table_of_settings_and_no_other() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()

    documented = set(re.findall(r"^\| `TASKFLOW_(\w+)`", text, flags=re.MULTILINE))

    assert documented == {name.upper() for name in Settings.model_fields}


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_example_of_the_readme_is_a_running_application(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    example = next(block for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    code = example.replace('"tasks.db"', repr(str(tmp_path / "tasks.db")))
    assert len([line for line in example.splitlines() if line.strip()]) <= 16

    namespace: dict[str, object] = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), namespace)  # our own file

    app = namespace["app"]
    assert isinstance(app, FastAPI)
    with TestClient(app) as client:
        response = client.post("/signup", params={"email": "ada@example.org"})
    assert response.json()["task_id"]


def test_the_examples_of_the_guide_run(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "guide.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    code = "\n".join(blocks).replace('"tasks.db"', repr(str(tmp_path / "tasks.db")))

    module = ModuleType("guide")
    sys.modules["guide"] = module  # functions of the cpu lane are found by their module's name
    try:
        exec(compile(code, "guide.md", "exec"), module.__dict__)  # our own file
        with TestClient(module.__dict__["app"]) as client:
            for path in ("/a", "/b", "/later"):
                assert client.post(path).status_code == 200
            assert client.portal is not None
            client.portal.call(
                module.__dict__["task_manager"].enqueue, module.__dict__["charge"], 1
            )
    finally:
        del sys.modules["guide"]
