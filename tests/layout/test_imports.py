"""Who may import whom: docs/design.md says it in words, the tables below are what holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

# A module belongs to the layer with the longest matching name.
LAYERS = {
    "spikeloom": "facade",
    "spikeloom.__main__": "cli",
    "spikeloom.atomic": "leaf",
    "spikeloom.benchmarks": "cli",
    "spikeloom.cli": "cli",
    "spikeloom.compiler": "empty",
    "spikeloom.compiler.agreement": "pipeline",
    "spikeloom.compiler.bundle": "bundle",
    "spikeloom.compiler.frontends": "frontends",
    "spikeloom.compiler.graph": "graph",
    "spikeloom.compiler.layer_report": "pipeline",
    "spikeloom.compiler.ledger": "pipeline",
    "spikeloom.compiler.mapping": "mapping",
    "spikeloom.compiler.mapping.box": "mapping data",
    "spikeloom.compiler.mapping.chip": "mapping data",
    "spikeloom.compiler.mapping.explanation": "mapping data",
    "spikeloom.compiler.mapping.lowering_cost": "mapping data",
    "spikeloom.compiler.mapping.network": "mapping data",
    "spikeloom.compiler.mapping.placement": "mapping data",
    "spikeloom.compiler.mapping.relation": "mapping data",
    "spikeloom.compiler.mapping.synapses": "mapping data",
    "spikeloom.compiler.mapping.target": "mapping data",
    "spikeloom.compiler.models": "leaf",
    "spikeloom.compiler.passes": "passes",
    "spikeloom.compiler.pipeline": "pipeline",
    "spikeloom.compiler.prepare": "pipeline",
    "spikeloom.compiler.quantize": "quantize",
    "spikeloom.compiler.training": "training",
    "spikeloom.errors": "leaf",
    "spikeloom.factories": "leaf",
    "spikeloom.runtime": "runtime",
    "spikeloom.targets": "targets",
}

# Each layer may also import itself and the leaves.
ALLOWED: dict[str, set[str]] = {
    "leaf": set(),
    "empty": set(),
    "graph": set(),
    "passes": {"graph"},
    "frontends": {"graph", "passes"},
    "quantize": {"graph", "passes"},
    "mapping data": {"graph"},
    "mapping": {"graph", "mapping data"},
    "bundle": {"graph", "mapping data"},
    "targets": {"graph", "passes", "mapping data"},
    "runtime": {"graph", "bundle", "mapping data"},
    "training": {"graph", "passes", "frontends", "quantize", "runtime"},
}
ALLOWED["pipeline"] = set(ALLOWED) - {"empty"}
ALLOWED["facade"] = set(ALLOWED) - {"empty"}
ALLOWED["cli"] = set(ALLOWED) - {"empty"}

# Heavy or optional packages, and the only modules that may import them while they are imported
# themselves; everybody else imports them inside the function that needs them.
AT_IMPORT_TIME = {
    "distributed": (),
    "h5py": (),
    "lava": ("spikeloom.targets.loihi.worker.processes",),
    "matplotlib": (),
    "onnx": ("spikeloom.targets.onnx",),
    "onnxruntime": (),
    "pyarrow": (),
    "spikingjelly": (),
    "torch": (
        "spikeloom.benchmarks.torch_network",
        "spikeloom.compiler.frontends.torch",
        "spikeloom.compiler.training",
    ),
}

# Where a package may be imported at all. A bundle runs without what it was compiled with.
ANYWHERE = {
    "distributed": ("spikeloom.cli.cluster",),
    "lava": ("spikeloom.targets.loihi",),
    "spikingjelly": (),
    "torch": (
        "spikeloom.benchmarks",
        "spikeloom.cli",
        "spikeloom.compiler.agreement",
        "spikeloom.compiler.frontends.torch",
        "spikeloom.compiler.pipeline",
        "spikeloom.compiler.prepare",
        "spikeloom.compiler.training",
    ),
}


def layer(module: str) -> str:
    return LAYERS[max((name for name in LAYERS if within(module, name)), key=len)]


def within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def ours(found: Any, modules: dict[str, Any]) -> str | None:
    """The module of ours that an import reaches: a submodule where the name is one, else the package.

    The version is nobody's: the facade states it before anything else.
    """
    if (found.module, found.name) == ("spikeloom", "__version__"):
        return None
    submodule = f"{found.module}.{found.name}" if found.name else found.module
    return next((name for name in (submodule, found.module) if name in modules), None)


def test_no_layer_reaches_above_itself(modules: dict[str, Any], root: Path) -> None:
    wrong = []
    for module in modules.values():
        own = layer(module.name)
        for found in module.imports:
            other = ours(found, modules)
            if other and layer(other) not in ALLOWED[own] | {own, "leaf"}:
                where = f"{module.path.relative_to(root)}:{found.line}"
                wrong.append(f"{where}: {own} may not import {layer(other)} ({other})")
    assert not wrong, "\n" + "\n".join(wrong)


def test_every_import_of_ours_is_absolute_and_exists(modules: dict[str, Any], root: Path) -> None:
    wrong = [
        f"{module.path.relative_to(root)}:{found.line}: {found.module} {found.name}"
        for module in modules.values()
        for found in module.imports
        if found.module.partition(".")[0] in {"", "compiler", "runtime", "targets"}
        or (found.module.startswith("spikeloom.") and ours(found, modules) is None)
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_import_cycles(modules: dict[str, Any]) -> None:
    """An import inside a function counts too: two modules that need each other are one module."""
    needs = {
        module.name: {other for found in module.imports if (other := ours(found, modules))}
        for module in modules.values()
    }
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the cycle


@pytest.mark.parametrize("package", sorted(AT_IMPORT_TIME))
def test_heavy_packages_wait_for_the_call(package: str, modules: dict[str, Any], root: Path) -> None:
    wrong = [
        f"{module.path.relative_to(root)}:{found.line}"
        for module in modules.values()
        for found in module.imports
        if within(found.module, package)
        and found.at_import_time
        and not any(within(module.name, home) for home in AT_IMPORT_TIME[package])
    ]
    assert not wrong


@pytest.mark.parametrize("package", sorted(ANYWHERE))
def test_packages_that_only_some_parts_know(package: str, modules: dict[str, Any], root: Path) -> None:
    wrong = [
        f"{module.path.relative_to(root)}:{found.line}"
        for module in modules.values()
        for found in module.imports
        if within(found.module, package) and not any(within(module.name, home) for home in ANYWHERE[package])
    ]
    assert not wrong


def test_compiler_is_an_empty_package(modules: dict[str, Any]) -> None:
    """A re-export there would import the frontends wherever the graph is imported."""
    statements = modules["spikeloom.compiler"].tree.body
    assert all(isinstance(statement, ast.Expr) for statement in statements), "a docstring and no more"


def loaded_after(arguments: list[str]) -> set[str]:
    """The top-level packages in memory after a command line ran to its end."""
    script = (
        "import sys\n"
        "from spikeloom.cli import main\n"
        f"sys.argv = ['spikeloom', *{arguments!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_help_is_light() -> None:
    loaded = loaded_after(["--help"])
    assert "spikeloom" in loaded
    assert not loaded & {*AT_IMPORT_TIME, "numba", "scipy", "sklearn"}


def test_only_targets_knows_a_chip(modules: dict[str, Any], root: Path) -> None:
    """Names and strings of the code; prose may compare, and a frontend names whose files it reads."""
    wrong = [
        f"{module.path.relative_to(root)}:{node.lineno}"
        for module in modules.values()
        if layer(module.name) not in {"targets", "cli", "facade", "frontends"}
        for node in code_of(module.tree)
        if re.search("loihi|lava", ast.unparse(node), re.I)
    ]
    assert not wrong


def code_of(tree: ast.Module) -> list[ast.expr]:
    """Names, attributes and strings of a module, without its docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    kinds = (ast.Name, ast.Attribute, ast.Constant)
    return [node for node in ast.walk(tree) if isinstance(node, kinds) and id(node) not in prose]
