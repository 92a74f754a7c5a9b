"""The sources as syntax trees, for tests that check how they are written."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("executors", "taskflow")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Source:
    """One module."""

    path: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """Its dotted name."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@functools.cache
def sources() -> tuple[Source, ...]:
    """Every module of the library."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    paths.append(ROOT / "fastapi_taskflow.py")
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths}
    return tuple(Source(path, text, ast.parse(text)) for path, text in sorted(texts.items()))


def is_type_checking(node: ast.AST) -> bool:
    """Whether ``node`` is an ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below ``node`` that exists when the program runs."""
    for child in ast.iter_child_nodes(node):
        if not is_type_checking(child):
            yield child
            yield from at_run_time(child)


def imported(node: ast.AST) -> list[str]:
    """The modules that an import statement names; [] for any other statement."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"a relative import of {node.module}: write the whole name"
        assert node.module is not None
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        # ``from package import module`` needs the module, not what the package offers.
        return [name if _is_module(name) else node.module for name in inside]
    return []


def _is_module(name: str) -> bool:
    return (ROOT / f"{name.replace('.', '/')}.py").is_file()


def imports_of(source: Source) -> set[str]:
    """Modules that ``source`` imports when it runs, wherever the statement stands."""
    return {name for node in at_run_time(source.tree) for name in imported(node)}


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for such an expression, "" for any other."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def names_used(source: Source) -> set[str]:
    """Every dotted name, with ``from x import y`` read as the name ``x.y``."""
    full: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom):
            full |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            full |= {a.asname: a.name for a in node.names if a.asname}
    used = set()
    for node in ast.walk(source.tree):
        name = dotted(node)
        first, dot, rest = name.partition(".")
        used.add(full.get(first, first) + dot + rest)
    return used
