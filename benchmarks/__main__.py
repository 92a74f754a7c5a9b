"""``python -m benchmarks [name ...]``: run benchmarks, print what they found, write it as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks.catalogue import Benchmark, load, names
from benchmarks.harness import Report, machine


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if every benchmark did all its work, whatever its figures are."""
    options = _parser().parse_args(arguments)
    chosen = [load(name) for name in options.names or names()]
    if options.list:
        for benchmark in chosen:
            print(f"{benchmark.name:<16} {benchmark.question}")
        return 0
    here = machine()
    print(", ".join(f"{name} {value}" for name, value in here.items()), end="\n\n", flush=True)
    reports: dict[str, Report] = {}
    for benchmark in chosen:
        try:
            reports[benchmark.name] = _run(benchmark, options.rounds, options.tiny)
        except Exception:
            print(f"{benchmark.name} failed:\n{traceback.format_exc()}", file=sys.stderr)
            continue
        print(f"{benchmark.name}: {reports[benchmark.name]}", end="\n\n", flush=True)
    if options.json is not None:
        found = {name: report.as_json() for name, report in reports.items()}
        options.json.write_text(json.dumps({"machine": here, "reports": found}, indent=2) + "\n")
    return 0 if len(reports) == len(chosen) else 1


def _run(benchmark: Benchmark, rounds: int | None, tiny: bool) -> Report:
    sizes = dict(benchmark.tiny) if tiny else {}
    if rounds is not None:
        sizes["rounds"] = rounds
    return benchmark.run(**sizes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", type=_known, metavar="name", help="which ones; default: all"
    )
    parser.add_argument("--rounds", type=_positive, help="how often each is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything there")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    parser.add_argument(
        "--tiny", action="store_true", help="smallest sizes: shows that they run, measures nothing"
    )
    return parser


def _known(text: str) -> str:
    if text not in names():
        raise argparse.ArgumentTypeError(f"there is no {text!r}, only {', '.join(names())}")
    return text


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of rounds: 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
