"""Every example in a docstring runs.

Modules are imported under their real names: `pytest --doctest-modules compiler/` would load each file
a second time under a bare name, and its classes would not be those of the package.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
from types import ModuleType

import pytest

import spikeloom

OPTIONAL = {"h5py", "lava", "sklearn", "spikingjelly", "torch"}


def test_walk_finds_what_is_on_disk(modules: dict[str, object]) -> None:
    assert set(names()) | {"spikeloom"} == set(modules)


def names() -> list[str]:
    """Every module as Python finds it; what is in a package that fails to import is missing."""
    return [module.name for module in pkgutil.walk_packages(spikeloom.__path__, "spikeloom.", lambda _: None)]


def load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        pytest.skip(f"{name} needs {error.name}")


# spikeloom.__main__ starts the command line when it is imported
@pytest.mark.parametrize("name", ["spikeloom", *(name for name in names() if name != "spikeloom.__main__")])
def test_doctests(name: str) -> None:
    result = doctest.testmod(load(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples failed; see the output above"
