"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.sources import FUNCTIONS, Source, imports_of, names_used, sources

MAX_FILE = 400
MAX_FUNCTION = 60

WALL_CLOCK = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.time",
    "time.time_ns",
}
STOPWATCH = {"time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"}
#: Modules of taskflow that read the clock themselves, each with its reason.
READS_THE_CLOCK = {
    "taskflow/clock.py": "is the clock",
}
RANDOM = {"os.urandom", "random", "secrets", "uuid.uuid1", "uuid.uuid4"}
#: Modules that draw random numbers, each with its reason.
DRAWS = {
    "taskflow/engine.py": "an instance needs a name of its own; draws the jitter that is handed on",
    "taskflow/factory.py": "draws the ids that are handed on",
    "taskflow/stores/sqlite/gate.py": "spreads processes that wait for the same lock",
}
UNSAFE_MODULES = {"cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"}
UNSAFE_CALLS = {"__import__", "compile", "eval", "exec"}

every_module = pytest.mark.parametrize("source", sources(), ids=lambda source: source.path)


@every_module
def test_a_module_says_in_its_docstring_what_it_is_for(source: Source) -> None:
    docstring = ast.get_docstring(source.tree) or ""

    assert len(docstring) > 20, f"{source.path} says {docstring!r}"


@every_module
def test_a_module_is_short_enough_to_be_read_in_one_go(source: Source) -> None:
    length = len(source.text.splitlines())

    assert length <= MAX_FILE, f"{source.path} has {length} lines: give a part of it its own module"


@every_module
def test_functions_are_short_enough_to_be_seen_at_once(source: Source) -> None:
    for node in ast.walk(source.tree):
        if isinstance(node, FUNCTIONS):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            first = body[0].lineno if body else node.lineno
            length = (node.end_lineno or first) - first + 1
            assert length <= MAX_FUNCTION, (
                f"{source.path}:{node.lineno} {node.name}: {length} lines"
            )


@every_module
def test_annotations_are_not_evaluated(source: Source) -> None:
    if any(isinstance(node, (*FUNCTIONS, ast.ClassDef)) for node in ast.walk(source.tree)):
        assert "from __future__ import annotations\n" in source.text


def test_only_the_clock_reads_the_clock() -> None:
    found = set()
    for source in sources():
        # A store measures its patience with locks and threads, and asks the operating system
        # whether another instance is alive; neither can be played faster in a test.
        store = source.path.startswith("taskflow/stores/")
        forbidden = WALL_CLOCK if store else WALL_CLOCK | STOPWATCH
        liveness = store and source.path.endswith("liveness.py")
        ours = source.path.startswith("taskflow/")
        if ours and not liveness and names_used(source) & forbidden:
            found.add(source.path)

    assert found == set(READS_THE_CLOCK)


def test_only_a_few_named_modules_draw_random_numbers() -> None:
    def draws(source: Source) -> bool:
        return any(
            name == one or name.startswith(one + ".")
            for name in names_used(source)
            for one in RANDOM
        )

    assert {source.path for source in sources() if draws(source)} == set(DRAWS)


def test_nothing_that_was_stored_can_be_unpickled_or_executed() -> None:
    for source in sources():
        if not source.path.startswith("executors/"):
            assert not {name.split(".")[0] for name in imports_of(source)} & UNSAFE_MODULES
        assert not names_used(source) & UNSAFE_CALLS, source.path


def test_no_module_swallows_every_exception_there_is() -> None:
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) == "BaseException"
            ):
                raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
                assert raises or node.name, (
                    f"{source.path}:{node.lineno} catches cancellation too and neither raises it "
                    "again nor looks at it"
                )
