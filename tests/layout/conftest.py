"""The source tree as the layout tests see it: every module with its parsed text and its imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "spikeloom": ROOT / "src" / "spikeloom",
    "spikeloom.compiler": ROOT / "compiler",
    "spikeloom.runtime": ROOT / "runtime",
    "spikeloom.targets": ROOT / "targets",
}


@dataclass(frozen=True)
class Import:
    """One imported name: ``from module import name``, or ``import module`` with no name."""

    module: str
    name: str
    line: int
    at_import_time: bool


@dataclass(frozen=True)
class Module:
    """One file of the package under the name by which it is imported."""

    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(_imports(self.tree, at_import_time=True))


def _imports(node: ast.AST, at_import_time: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, "", child.lineno, at_import_time)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                yield Import(child.module or "", alias.name, child.lineno, at_import_time)
        else:
            runs_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for_types = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            yield from _imports(child, at_import_time and not runs_later and not for_types)


def _modules() -> Iterator[Module]:
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):  # does not follow the links in src/spikeloom
            parts = path.relative_to(folder).with_suffix("").parts
            names = parts[:-1] if parts[-1] == "__init__" else parts
            yield Module(".".join((package, *names)), path)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def modules() -> dict[str, Module]:
    """Every module of the package by its import name."""
    return {module.name: module for module in _modules()}
