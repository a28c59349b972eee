"""The files on disk, the package list of pyproject.toml and the installed package are one thing."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import spikeloom


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


def folder_of(root: Path, project: dict[str, Any], package: str) -> Path:
    """Where setuptools looks for a package: the longest entry of package-dir that it starts with."""
    places: dict[str, str] = project["tool"]["setuptools"]["package-dir"]
    base = max((name for name in places if f"{package}.".startswith(f"{name}.")), key=len)
    return root / places[base] / package.removeprefix(base).strip(".").replace(".", "/")


def test_packages_are_those_on_disk(root: Path, project: dict[str, Any], modules: dict[str, Any]) -> None:
    on_disk = {name for name, module in modules.items() if module.path.name == "__init__.py"}
    declared = project["tool"]["setuptools"]["packages"]
    assert sorted(on_disk) == sorted(declared)
    assert declared == sorted(declared), "keep the list sorted"


def test_every_folder_with_code_is_a_package(modules: dict[str, Any]) -> None:
    orphans = [m.path for m in modules.values() if not (m.path.parent / "__init__.py").exists()]
    assert not orphans, "setuptools leaves out a folder that has no __init__.py"


def test_package_data_covers_every_other_file(root: Path, project: dict[str, Any]) -> None:
    """A template or a limits file that no pattern matches is missing from the wheel, and only there."""
    setup = project["tool"]["setuptools"]
    shipped, present = set(), set()
    for package in setup["packages"]:
        folder = folder_of(root, project, package)
        for pattern in setup["package-data"].get(package, ()):
            shipped |= {path for path in folder.glob(pattern) if path.is_file()}
    for name in set(setup["package-dir"].values()):
        files = (path for path in (root / name).rglob("*") if path.is_file())
        present |= {path for path in files if "__pycache__" not in path.parts and path.suffix != ".py"}
    assert present == shipped


def test_the_bare_names_stay_free(tmp_path: Path) -> None:
    """PyPI has packages called compiler and runtime; installing ours must not put folders over them."""
    script = "import importlib.util as u; print([u.find_spec(n) for n in ('compiler', 'runtime', 'targets')])"
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert shown == "[None, None, None]\n"


def test_no_module_is_loaded_twice() -> None:
    """A file that is imported under two names has two of each class, and isinstance fails."""
    loaded = [name for name in sys.modules if name.partition(".")[0] in {"compiler", "runtime", "targets"}]
    assert not loaded


def test_links_are_relative(root: Path) -> None:
    links = [path for path in (root / "src").rglob("*") if path.is_symlink()]
    assert sorted(link.name for link in links) == ["compiler", "runtime", "targets"]
    for link in links:
        assert not link.readlink().is_absolute()
        assert link.resolve() == root / link.name


def test_entry_points_exist(project: dict[str, Any]) -> None:
    declared = dict(project["project"]["scripts"])
    for group in project["project"]["entry-points"].values():
        declared |= group
    for reference in declared.values():
        module, _, name = reference.partition(":")
        assert hasattr(importlib.import_module(module), name), reference


def test_version_is_stated_once(project: dict[str, Any]) -> None:
    assert spikeloom.__version__ == project["project"]["version"]


def normal(requirement: str) -> str:
    """The bare name of a requirement such as ``Jinja2>=3.1``."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def test_dependencies_are_pinned(root: Path, project: dict[str, Any]) -> None:
    lines = (root / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(fnmatch(pin, "?*==?*") for pin in pins)
    wanted = [*project["project"]["dependencies"], "setuptools", "spikingjelly"]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    missing = {normal(name) for name in wanted} - {normal(pin) for pin in pins}
    assert not missing


@pytest.fixture(scope="module")
def imported(modules: dict[str, Any]) -> set[str]:
    """The distributions that our modules import, anywhere in them."""
    owners = packages_distributions()
    tops = {found.module.partition(".")[0] for module in modules.values() for found in module.imports}
    return {normal(owner) for top in tops for owner in owners.get(top, ())} - {"spikeloom"}


def test_what_is_imported_is_declared(project: dict[str, Any], imported: set[str]) -> None:
    table = project["project"]
    declared = {normal(name) for name in table["dependencies"] + table["optional-dependencies"]["torch"]}
    assert not imported - declared


def test_what_is_declared_is_imported(project: dict[str, Any], imported: set[str]) -> None:
    assert not {normal(name) for name in project["project"]["dependencies"]} - imported


def test_public_names_exist_and_are_documented() -> None:
    names = spikeloom.__all__
    assert names == sorted(names)
    undocumented = [
        name for name in names if callable(getattr(spikeloom, name)) and not getattr(spikeloom, name).__doc__
    ]
    assert not undocumented
