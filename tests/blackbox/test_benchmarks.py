"""The benchmarks: each runs once in its smallest form, so that none of them can rot.

Those that take long are left to `make bench-tiny`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path

import pytest

from benchmarks import wrk
from benchmarks.__main__ import main
from benchmarks.catalogue import load, names
from benchmarks.harness import Figure, check_all_done, collect

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def short_load(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the real ``wrk``, which knows no time below a second, be interrupted after 0.2 s."""
    found, timeout = shutil.which("wrk"), shutil.which("timeout")
    if found is None or timeout is None:
        return
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "wrk"
    program.write_text(f'#!/bin/sh\nexec {timeout} --preserve-status -s INT 0.2 {found} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


#: The rest starts many processes, fills databases or opens a browser: see `make bench-tiny`.
CHEAP = {"async_lane", "io_lane", "start_latency"}


@pytest.mark.usefixtures("short_load")
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in CHEAP else [pytest.mark.slow]) for n in names()],
)
def test_a_benchmark_does_all_its_work_and_cleans_up(name: str, tmp_path: Path) -> None:
    benchmark = load(name)

    report = benchmark.run(**benchmark.tiny)

    assert report.question.endswith("?")
    assert report.figures or report.notes == (wrk.MISSING,)
    for figure in report.figures:
        assert len(figure.values) == 1
        assert math.isfinite(figure.median), figure.name
        assert figure.name in str(report)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_a_table_and_writes_the_same_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"

    code = main(["async_lane", "--tiny", "--rounds", "2", "--json", str(file)])

    assert code == 0
    written = json.loads(file.read_text())
    assert {"cpus", "python", "sqlite", "fastapi"} <= written["machine"].keys()
    figures = written["reports"]["async_lane"]["figures"]
    assert [len(figure["values"]) for figure in figures] == [2, 2, 2]
    printed = capsys.readouterr().out
    assert all(figure["name"] in printed for figure in figures)


def test_the_list_names_every_benchmark_with_its_question(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == names()
    assert all(line.endswith("?") for line in lines)


def test_a_benchmark_that_does_not_exist_is_refused_with_those_that_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["asynclane"])

    assert "async_lane" in capsys.readouterr().err


def test_work_that_was_not_done_is_an_error_and_not_a_figure() -> None:
    with pytest.raises(AssertionError, match="9 of 10 tasks were done"):
        check_all_done(9, 10)


def test_the_first_of_several_rounds_does_not_count() -> None:
    values = iter([100.0, 1.0, 2.0])

    found = collect(2, lambda: {"figure": next(values)})

    assert found == {"figure": (1.0, 2.0)}


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("ratio", "x", (0.3, 0.5, 0.4), at_least=0.4), True),
        (Figure("ratio", "x", (0.3, 0.5, 0.4), at_least=0.41), False),
        (Figure("time", "s", (1.0, 9.0, 2.0), at_most=2.0), True),
        (Figure("time", "s", (1.0, 9.0, 2.1), at_most=2.0), False),
        (Figure("rate", "1/s", (5.0,)), True),
    ],
)
def test_a_target_is_met_or_missed_by_the_median(figure: Figure, met: bool) -> None:
    assert figure.is_met is met
    assert ("MISSED" in str(figure)) is not met


OUTPUT_OF_WRK = """
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.42ms    3.07ms  31.60ms   95.50%
  Latency Distribution
     50%  640.00us
     75%    1.20ms
     90%    2.00ms
     99%    1.05s
  13046 requests in 2.00s, 1.87MB read
Requests/sec:   6520.19
"""


def test_the_output_of_wrk_is_read_in_any_unit() -> None:
    load = wrk.parse(OUTPUT_OF_WRK)

    assert load == wrk.Load(requests=13046, rate=6520.19, p50=0.64, p99=1050.0)


@pytest.mark.parametrize(
    "trouble",
    [
        "Non-2xx or 3xx responses: 4",
        "Socket errors: connect 0, read 2, write 0, timeout 0",
    ],
)
def test_a_load_with_failed_requests_is_an_error_and_not_a_figure(trouble: str) -> None:
    with pytest.raises(RuntimeError, match=f"requests failed under load: {trouble}"):
        wrk.parse(f"{OUTPUT_OF_WRK}  {trouble}\n")


def test_every_benchmark_is_in_the_document() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()

    assert [name for name in names() if f"`{name}`" not in text] == []
