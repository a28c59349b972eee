"""Files with delays, loops and resonators, from the command line to the chips: compiled, mapped, compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.frontends.netx.file import read_netx
from spikeloom.compiler.frontends.netx.lower import lower_netx
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.loihi import loihi1, loihi2
from spikeloom.targets.loihi.engine import LoihiEngine
from tests.cli.terminal import spikeloom
from tests.netx.test_lava_dl import delayed, has_lava, in_lava_dl, lava_dl, recurrent, resonating

__all__ = ["lava_dl"]  # a fixture

Made = Callable[[np.random.Generator, Path], Path]
FILES: dict[str, Made] = {
    "loops": lambda rng, folder: recurrent(rng, folder, odd=False),
    "loops of odd weights": lambda rng, folder: recurrent(rng, folder, odd=True),
    "resonators": lambda rng, folder: resonating(rng, folder, "RF"),
    "resonators by phase": lambda rng, folder: resonating(rng, folder, "RF_PHASE"),
    "late by output": lambda rng, folder: delayed(rng, folder, (9,)),
    "late by input": lambda rng, folder: delayed(rng, folder, (14,)),
    "late by synapse": lambda rng, folder: delayed(rng, folder, (9, 14)),
    "late alike": lambda rng, folder: delayed(rng, folder, ()),
}
ON_LOIHI1 = sorted(name for name in FILES if "resonators" not in name)
UNDER_LAVA = ("loops of odd weights", "resonators by phase", "late by synapse")


@pytest.mark.parametrize("name", FILES)
def test_a_file_runs_on_the_chip(name: str, tmp_path: Path) -> None:
    path, bundle = FILES[name](np.random.default_rng(3), tmp_path), tmp_path / "a.loom"
    spikeloom("compile", path, "--target", "loihi2", "--steps", 70, "-o", bundle)
    engines = "reference,loihi" + ",lava" * (name in UNDER_LAVA and has_lava())
    assert spikeloom("verify", bundle, "--engines", engines, "--json").json["mismatches"] == 0


@pytest.mark.parametrize("name", ON_LOIHI1)
def test_the_older_chip_has_delays_and_loops(name: str, tmp_path: Path) -> None:
    """Exact, and every population is the chip's own LIF."""
    graph = lower_netx(read_netx(FILES[name](np.random.default_rng(3), tmp_path)), 70).graph
    assert loihi1().obstacles(graph) == []
    engines = {"reference": ReferenceEngine(graph), "loihi": LoihiEngine(loihi1().program(graph), graph)}
    frames = (np.random.default_rng(0).random((70, 2, 20)) < 0.3).astype(np.uint8)
    found = compare_engines(engines, [(name, frames)])  # type: ignore[arg-type]
    assert not found.mismatches


@pytest.mark.lava
def test_a_trained_network_with_delays_is_exact_on_the_chip(lava_dl: Path) -> None:
    """N-TIDIGITS of lava-dl's tests, two layers of learned delays up to 62, on its own recording."""
    path = in_lava_dl(lava_dl, "ntidigits/ntidigits.net")
    graph = lower_netx(read_netx(path)).graph
    frames = np.load(path.parent / "input.npy").T[:300].reshape(300, 1, 1, 1, 64).astype(np.uint8)
    program = loihi2().program(graph)
    assert max(one.longest for one in program.synapses) == 62
    engines = {"reference": ReferenceEngine(graph), "loihi": LoihiEngine(program, graph)}
    found = compare_engines(engines, [("ntidigits", frames)])  # type: ignore[arg-type]
    assert not found.mismatches
