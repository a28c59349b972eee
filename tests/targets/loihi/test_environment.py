"""Which interpreter is taken for Lava's: one that has it, not any of the right version."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from spikeloom.errors import InputError
from spikeloom.targets.loihi.environment import SETTING, find_netx, find_worker


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This interpreter, said to be a Python 3.10 and named by the setting; its packages are in a folder."""
    python = tmp_path / "python"
    version = f"({sys.version_info[0]}, {sys.version_info[1]})"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "$(echo "$2" | sed "s/(3, 10)/{version}/")"\n')
    python.chmod(0o755)
    monkeypatch.setenv(SETTING, str(python))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    return python


def _install(folder: Path, *modules: str) -> None:
    for name in modules:
        path = folder.joinpath("packages", *name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


LAVA = ("lava.proc.lif.process", "lava.proc.prodneuron.process")


def test_a_python_of_the_right_version_without_lava_is_not_taken(interpreter: Path) -> None:
    with pytest.raises(InputError, match="there is no environment that Lava runs in") as caught:
        find_worker()
    assert str(interpreter) in caught.value.problems[0].got


def test_one_with_lava_is_taken_and_asked_for_netx(interpreter: Path, tmp_path: Path) -> None:
    _install(tmp_path, *LAVA)
    assert find_worker() == interpreter
    with pytest.raises(InputError, match="has no lava-dl"):
        find_netx()
    _install(tmp_path, "h5py", "lava.lib.dl.netx")
    assert find_netx() == interpreter
