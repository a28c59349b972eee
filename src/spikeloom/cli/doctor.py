"""``spikeloom doctor``: what is installed, and what will not work."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from rich.text import Text

from spikeloom.cli.console import output as console
from spikeloom.cli.console import print_json, table
from spikeloom.cli.sources import Json
from spikeloom.compiler.graph.target import find_target, target_names
from spikeloom.errors import SpikeloomError
from spikeloom.targets.loihi.environment import find_worker, setup_worker

NEEDED_FOR = {
    "numpy": "everything",
    "rich": "the command line",
    "typer": "the command line",
    "safetensors": "bundles",
    "threadpoolctl": "products on one thread",
    "onnx": "compiling",
    "onnxruntime": "the onnx engine",
    "llvmlite": "the event engine",
    "numba": "the event engine, mapping, event files of Prophesee and Event Stream",
    "networkx": "rounding, NIR files",
    "scipy": "mapping, Loihi, early exit",
    "h5py": "event files in HDF5, NIR, netx, SONATA",
    "pyarrow": "spike logs",
    "jinja2": "reports",
    "markupsafe": "reports",
    "matplotlib": "reports",
    "pyyaml": "--model-config in YAML",
    "torch": "compiling PyTorch models",
    "spikingjelly": "models built with SpikingJelly, such as the examples",
    "distributed": "run --cluster",
}
OPTIONAL = ("torch", "spikingjelly", "distributed")


def doctor(
    setup_lava: Annotated[
        bool, typer.Option("--setup-lava", help="Make the environment of Python 3.10 that Lava runs in.")
    ] = False,
    json: Json = False,
) -> int:
    """Say what is installed and what will not work; exit status 2 if a needed package is missing."""
    if setup_lava:
        setup_worker()
    packages = {name: _version(name) for name in NEEDED_FOR}
    missing = [name for name, found in packages.items() if found is None and name not in OPTIONAL]
    document: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "targets": {name: _target(name) for name in target_names()},
        "lava": _lava(),
        "missing": missing,
    }
    if json:
        print_json(document)
    else:
        _print(document)
    return 2 if missing or not document["targets"] else 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _lava() -> str | None:
    """The interpreter that has lava-nc."""
    try:
        return str(find_worker())
    except SpikeloomError:
        return None


def _target(name: str) -> str:
    try:
        return find_target(name).summary
    except SpikeloomError as error:
        return f"broken: {error}"


def _print(document: dict[str, Any]) -> None:
    console.print(f"Python {document['python']} on {document['platform']}\n")
    packages = table("Packages", "name", "version", "needed for", text=3)
    for name, found in document["packages"].items():
        absent = Text("not installed", "yellow") if name in OPTIONAL else Text("missing", "red")
        packages.add_row(name, found or absent, NEEDED_FOR[name])
    console.print(packages)
    targets = table("\nTargets", "name", "what it is", text=2)
    for name, summary in document["targets"].items():
        targets.add_row(name, summary)
    console.print(targets)
    lava = document["lava"] or "no environment; make one with spikeloom doctor --setup-lava"
    console.print(f"\nLava: {lava}", markup=False, soft_wrap=True)
    if not document["targets"]:
        console.print("[red]none[/]: the package is not installed; run pip install -e .")
