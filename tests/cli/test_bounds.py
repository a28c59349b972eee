"""The proof that nothing overflows is in the bundle, layer by layer, and no run goes beyond it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikeloom.compiler.bundle import read_bundle
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.quantize.activity import weighted_nodes


def test_no_sum_and_no_potential_leaves_its_bound(bundle: Path) -> None:
    compiled = read_bundle(bundle)
    graph, activity = compiled.graph, compiled.json("activity.json")
    sums = {one["layer"]: one["reach"] for one in activity["sum_bounds"]}
    potentials = {one["layer"]: one for one in activity["potential_bounds"]}
    assert list(sums) == [node.name for node in weighted_nodes(graph)]
    assert list(potentials) == [node.name for node in graph.neurons()]
    assert all(-(2**31) < low <= high < 2**31 for low, high in sums.values())
    frames = np.concatenate([np.ones_like(compiled.tensors("traces.safetensors")["frames"])] * 3)
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    for frame in frames:
        values = run.step(frame)
        for layer, (low, high) in sums.items():
            assert low <= values[layer].min() <= values[layer].max() <= high
        for layer, bound in potentials.items():
            low, high = bound["reach"]
            assert low <= run.state[f"{layer}/v"].min() <= run.state[f"{layer}/v"].max() <= high
            assert -(2 ** (bound["state_bits"] - 1)) < low <= high < 2 ** (bound["state_bits"] - 1)
