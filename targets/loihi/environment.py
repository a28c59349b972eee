"""The environment that Lava runs in: Python 3.10, which lava-nc 0.10.0 needs, and nothing of ours.

lava-nc is archived upstream and runs on no Python that we run on, so that it gets an interpreter of its
own: made once by ``spikeloom doctor --setup-lava``, and spoken to by files. lava-dl 0.6.0 lies beside it,
of which netx is used: the oracle of the ``.net`` files that we read and write.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from spikeloom.errors import InputError

SETTING = "SPIKELOOM_LAVA_PYTHON"
"""Names an interpreter: one that has lava-nc, or a Python 3.10 to make the environment with."""

PACKAGES = (
    "lava-nc==0.10.0",
    "numpy==1.26.4",
    "scipy==1.15.3",
    "networkx==2.8.7",
    "setuptools==65.5.0",
    "h5py==3.11.0",
)
NETX = "lava-dl==0.6.0"
"""Installed without what it asks for, which is torch with CUDA: its netx needs lava-nc and h5py alone."""
_IS_310 = "import sys; assert sys.version_info[:2] == (3, 10)"
_HAS_LAVA = f"{_IS_310}\nimport lava.proc.lif.process, lava.proc.prodneuron.process"
_HAS_NETX = (
    f"{_HAS_LAVA}\nimport h5py, importlib.util\nsys.exit(not importlib.util.find_spec('lava.lib.dl.netx'))"
)
_REMEDY = "install Python 3.10 or uv, or name a Python 3.10 in SPIKELOOM_LAVA_PYTHON"


def worker_folder() -> Path:
    """Where the environment is kept: in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "spikeloom" / "lava-0.10.0"


def find_worker() -> Path:
    """The interpreter that has lava-nc.

    Raises:
        InputError: SL0801, there is none; the remedy says how to get one.
    """
    named = os.environ.get(SETTING)
    candidates = [Path(named)] if named else []
    candidates.append(worker_folder() / "bin" / "python")
    for python in candidates:
        if _runs(python, _HAS_LAVA):
            return python
    raise InputError.of(
        "SL0801",
        "lava",
        "there is no environment that Lava runs in",
        wanted="Python 3.10 with lava-nc 0.10.0",
        got=_named("that has it"),
        remedy="make one with `spikeloom doctor --setup-lava`",
    )


def find_netx() -> Path:
    """The interpreter that has lava-nc and lava-dl's netx.

    Raises:
        InputError: SL0801, there is none; the remedy says how to get one.
    """
    python = find_worker()
    if _runs(python, _HAS_NETX):
        return python
    remedy = "make Lava's environment anew with `spikeloom doctor --setup-lava`"
    raise InputError.of("SL0801", "netx", f"{python} has no lava-dl", wanted=NETX, remedy=remedy)


def setup_worker() -> Path:
    """Make the environment, or complete the one that there is; returns its interpreter.

    A Python 3.10 is taken from the setting, from ``python3.10`` on the path, from pyenv's versions, or
    from uv, in this order. Packages come from wherever pip is configured to look.

    Raises:
        InputError: SL0801, there is no Python 3.10, or the packages cannot be installed.
    """
    own = worker_folder() / "bin" / "python"
    try:
        found = find_worker()
        if found != own or _runs(own, _HAS_NETX):
            return found
    except InputError:
        _make(worker_folder())
    install = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _call([*install, *PACKAGES])
    _call([*install, "--no-deps", NETX])
    return find_worker()


def _named(wanted: str) -> str:
    """What the setting names, if it names something; it was not what was wanted."""
    named = os.environ.get(SETTING)
    return f"{SETTING}={named}, which is no interpreter {wanted}" if named else ""


def _make(folder: Path) -> None:
    for python in _candidates():
        if _runs(python, _IS_310):
            _call([str(python), "-m", "venv", "--clear", str(folder)])
            return
    if uv := shutil.which("uv"):
        _call([uv, "venv", "--seed", "--clear", "--python", "3.10", str(folder)])
        return
    got = _named("of that version")
    raise InputError.of(
        "SL0801", "lava", "there is no Python 3.10", wanted="Python 3.10", got=got, remedy=_REMEDY
    )


def _candidates() -> Iterator[Path]:
    if named := os.environ.get(SETTING):
        yield Path(named)
    if found := shutil.which("python3.10"):
        yield Path(found)
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from sorted(versions.glob("3.10.*/bin/python3.10"), reverse=True)


def _runs(python: Path, code: str) -> bool:
    """Whether an interpreter exists and executes some code without a fault; a pyenv shim may not."""
    try:
        return subprocess.run([python, "-c", code], capture_output=True, timeout=120).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        what = f"{' '.join(command[:3])} failed: {' '.join(last)}"
        raise InputError.of("SL0801", "lava", what, remedy=_REMEDY)
