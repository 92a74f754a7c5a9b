"""Imports point one way, and stand at the top of their module."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.architecture.sources import FUNCTIONS, Source, at_run_time, imported, imports_of, sources

#: From the bottom up. A module may import its own layer and those below. A new module needs a
#: place here: choose the lowest one that works.
LAYERS: dict[str, tuple[str, ...]] = {
    "values": (
        "taskflow.clock",
        "taskflow.errors",
        "taskflow.ids",
        "taskflow.printable",
        "taskflow.record",
        "taskflow.states",
    ),
    "core": (
        "taskflow.capture",
        "taskflow.child",
        "taskflow.codec",
        "taskflow.concurrency",
        "taskflow.context",
        "taskflow.decide",
        "taskflow.definition",
        "taskflow.fingerprint",
        "taskflow.gate",
        "taskflow.journal",
        "taskflow.messages",
        "taskflow.meters",
        "taskflow.options",
        "taskflow.parameters",
        "taskflow.query",
        "taskflow.rate",
        "taskflow.redaction",
        "taskflow.registry",
        "taskflow.retry",
        "taskflow.schedules",
        "taskflow.secret_names",
        "taskflow.secret_text",
        "taskflow.secret_types",
        "taskflow.settings",
        "taskflow.signals",
        "taskflow.stdout",
        "taskflow.timeline",
        "taskflow.trickle",
        "taskflow.worker_journal",
    ),
    "ports": (
        "taskflow.feed",
        "taskflow.service",
        "taskflow.stores.annals",
        "taskflow.stores.base",
        "taskflow.stores.news",
        "taskflow.stores.search",
    ),
    "stores": ("taskflow.stores",),
    "services": (
        "taskflow.admission",
        "taskflow.attempt",
        "taskflow.backlog",
        "taskflow.canceller",
        "taskflow.commit_group",
        "taskflow.controls",
        "taskflow.dispatcher",
        "taskflow.endings",
        "taskflow.factory",
        "taskflow.history",
        "taskflow.intake",
        "taskflow.journals",
        "taskflow.outbox",
        "taskflow.puller",
        "taskflow.quiet",
        "taskflow.recorder",
        "taskflow.scheduler",
        "taskflow.services",
        "taskflow.vitals",
    ),
    "manager": (
        "taskflow.background",
        "taskflow.engine",
        "taskflow.handle",
        "taskflow.injection",
        "taskflow.life",
        "taskflow.manager",
        "taskflow.once",
        "taskflow.planner",
        "taskflow.schedule_control",
        "taskflow.shedding",
        "taskflow.stalls",
    ),
    "edges": ("taskflow", "taskflow.__main__", "taskflow.cli", "fastapi_taskflow"),
}
ORDER = list(LAYERS)

#: Imports inside of functions, each with its reason.
LOCAL_IMPORTS: dict[tuple[str, str], str] = {}

#: What a worker process must not load before the user's own modules: it would start slower.
HEAVY = ("fastapi", "pydantic", "starlette", "taskflow")


def layer_of(module: str) -> str | None:
    """The layer of the longest entry that ``module`` is, or is inside of."""
    best: tuple[int, str] | None = None
    for layer, entries in LAYERS.items():
        for entry in entries:
            inside = module == entry or (
                # The package itself stands for its __init__ and for what is in no other entry's
                # package, so that a new module at the top needs an entry of its own.
                module.startswith(entry + ".") and (entry != "taskflow" or module.count(".") > 1)
            )
            if inside and (best is None or len(entry) > best[0]):
                best = (len(entry), layer)
    if best is None and module.startswith(("taskflow.admin", "taskflow.dashboard")):
        return "edges"
    return best[1] if best else None


OURS = [source for source in sources() if not source.path.startswith("executors/")]


@pytest.mark.parametrize("source", OURS, ids=lambda source: source.module)
def test_a_module_imports_only_its_own_layer_and_those_below(source: Source) -> None:
    own = layer_of(source.module)
    assert own is not None, f"{source.module} has no place in LAYERS yet"

    for name in imports_of(source):
        if name.split(".")[0] == "taskflow":
            other = layer_of(name)
            assert other is not None, f"{name} has no place in LAYERS yet"
            assert ORDER.index(other) <= ORDER.index(own), (
                f"{source.module} ({own}) imports {name} ({other})"
            )


def test_only_what_wires_things_knows_a_concrete_store() -> None:
    for source in OURS:
        if layer_of(source.module) in {"values", "core", "ports", "services"}:
            stores = {name for name in imports_of(source) if name.startswith("taskflow.stores")}
            assert {layer_of(name) for name in stores} <= {"ports"}, source.path


@pytest.mark.parametrize(
    "source",
    [source for source in sources() if source.path.startswith("executors/")],
    ids=lambda source: source.module,
)
def test_the_executors_import_the_standard_library_anyio_and_psutil_only(source: Source) -> None:
    allowed = {*sys.stdlib_module_names, "anyio", "executors", "psutil"}

    assert {name.split(".")[0] for name in imports_of(source)} <= allowed


def test_the_core_knows_neither_fastapi_nor_starlette() -> None:
    for source in OURS:
        if layer_of(source.module) not in {"manager", "edges"}:
            assert not {
                n for n in imports_of(source) if n.split(".")[0] in {"fastapi", "starlette"}
            }


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    names = {source.module for source in sources()}
    graph = {source.module: imports_of(source) & names for source in sources()}

    while free := {module for module, needs in graph.items() if not needs & graph.keys()}:
        graph = {module: needs for module, needs in graph.items() if module not in free}

    assert not graph, f"in a circle, or above one: {sorted(graph)}"


def test_imports_inside_of_functions_are_exactly_those_with_a_reason() -> None:
    found = {
        (source.path, name)
        for source in sources()
        for function in ast.walk(source.tree)
        if isinstance(function, FUNCTIONS)
        for node in at_run_time(function)
        for name in imported(node)
    }

    assert found == set(LOCAL_IMPORTS)


def test_a_worker_process_loads_nothing_heavy_by_itself() -> None:
    code = f"import sys, executors.worker; print([n for n in {HEAVY!r} if n in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"
