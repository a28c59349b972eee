"""One LIF neuron that Lava's own simulator ran for the NIR paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikeloom.compiler.graph.graph import GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.targets.loihi import loihi2
from spikeloom.targets.loihi.engine import Chip


def test_the_lif_of_the_nir_paper(data: Path) -> None:
    """w = 10, dv = 163, du = 4095, vth = 25: spikes and potentials of ``lif_lava_cpu_fixed.csv``."""
    folder = data / "conformance" / "nir_paper"
    spikes = np.loadtxt(folder / "lif_norse.csv", delimiter=",")[:, 0].astype(np.int64)
    wanted = np.loadtxt(folder / "lif_lava_cpu_fixed.csv", delimiter=",").astype(np.int64)
    builder = GraphBuilder("lif", Stage.INTEGER, "loihi2")
    x = builder.input("x", Type((1,), SPIKES))
    (y,) = builder.add("weights", Linear(np.array([[5]], np.int8)), x)  # stored as 10
    lif = IntegerNeuron(np.array([[25 << 6]]), np.array([0]), 163, 7, state_bits=24)
    builder.output(builder.add("lif", lif, y)[0])
    chip = Chip(loihi2().program(builder.build()))
    chip.reset(1)
    got = []
    for spike in spikes:
        sent = chip.step({"x": np.array([[spike]])})
        got.append([spike, chip.state["lif"].v[0, 0], sent["lif"][0, 0]])
    assert (np.array(got) == wanted).all()
    assert wanted[:, 2].sum() == 4
