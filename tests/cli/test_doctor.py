"""What `doctor` looks for is what the package needs."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import pytest

from spikeloom.cli import doctor
from tests.cli.conftest import ROOT
from tests.cli.terminal import spikeloom


def test_every_dependency_is_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split("[<>=!~ ;]", line)[0] for line in project["dependencies"]}
    assert names == set(doctor.NEEDED_FOR) - set(doctor.OPTIONAL)


def test_versions_are_those_that_are_installed() -> None:
    packages = spikeloom("doctor", "--json").json["packages"]
    assert packages["numpy"] == version("numpy")
    assert packages["typer"] == version("typer")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(doctor.NEEDED_FOR, "no-such-package", "nothing")
    answer = spikeloom("doctor", "--json", expect=2)
    assert answer.json["missing"] == ["no-such-package"]
