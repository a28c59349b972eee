"""Declared equations in ONNX: both forms compute what the definition does, to the last state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from spikeloom.compiler.graph.graph import GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import Type, levels
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.targets.onnx import onnx as target
from tests.engines.agreement import disagreements, engines
from tests.operation_cases import EQUATIONS

BITS, SHIFT = 12, 7


def _neuron(equations: int, channels: tuple[int, ...], seed: int) -> EquationNeuron:
    rng = np.random.default_rng(seed)
    gain = rng.integers(2 ** (BITS + SHIFT - 5), 2 ** (BITS + SHIFT - 4), channels)
    return EquationNeuron(
        *EQUATIONS[equations],
        parameters=("b",),
        values=rng.uniform(-1, 1, (1, *channels)),
        fraction_bits=BITS,
        limit=2**18 - 1,
        gain=gain,
        bias=rng.integers(0, 2 ** (BITS + SHIFT - 1), channels),
        shift=SHIFT,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("equations", range(len(EQUATIONS)), ids=[texts[2] for texts in EQUATIONS])
def test_behind_and_before_a_convolution(equations: int, seed: int) -> None:
    """Convolutions hold channels last: the parameters of channels must follow. Spikes may be negative."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 4, (7, 3, 2, 6, 5)).astype(np.uint8)
    grow = GraphBuilder("net", Stage.INTEGER, "onnx")
    x = grow.input("x", Type((2, 6, 5), levels(3)))
    for layer, inputs in enumerate((2, 5)):
        weight = rng.integers(-9, 10, (5, inputs, 3, 3)).astype(np.int8)
        (x,) = grow.add(f"conv{layer}", Conv2d(weight, None, (1, 1), (1, 1), (1, 1)), x)
        (x,) = grow.add(f"own{layer}", _neuron(equations, (5, 1, 1), seed + layer), x)
    (x,) = grow.add("flat", Reshape((5 * 6 * 5,)), x)
    weight = rng.integers(-9, 10, (3, 150)).astype(np.int8)
    grow.output(grow.add("head", Linear(weight), x)[0])
    graph = grow.build()
    assert target().obstacles(graph) == []
    assert disagreements(graph, frames, cuts=[3]) == []
    reference = engines(graph)["reference"]
    reference.reset(3)
    spikes = reference.run(frames).spikes
    assert all(0 < (fired != 0).mean() < 1 for fired in spikes.values())


def test_equal_neurons_share_a_function_and_others_do_not() -> None:
    one = _neuron(0, (4,), 0)
    grow = GraphBuilder("net", Stage.INTEGER, "onnx")
    x = grow.input("x", Type((4,), levels(3)))
    for index, op in enumerate((one, one, replace(one, fraction_bits=BITS - 1))):
        (x,) = grow.add(f"own{index}", op, x)
    grow.output(grow.add("head", Linear(np.ones((1, 4), np.int8)), x)[0])
    graph = grow.build()
    model = onnx.load_from_string(target().artifacts(graph)["step.onnx"])
    own = [function for function in model.functions if function.name.startswith("EquationNeuron")]
    assert len(own) == 2
    assert "v = b * v + x" in own[0].doc_string
