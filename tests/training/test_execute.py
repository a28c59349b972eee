"""Every operation of an integer graph in PyTorch: the integers of its definition, and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, Node, Stage
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import all_ops
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.training.equations import EquationLayer
from spikeloom.compiler.training.execute import executable, execute
from spikeloom.compiler.training.layers import NeuronLayer, RescaleLayer, WeightLayer
from spikeloom.compiler.training.products import multiply
from spikeloom.compiler.training.rounding import on_bias_grid, on_threshold_grid
from spikeloom.compiler.training.surrogate import steep_sigmoid
from spikeloom.errors import UnsupportedError
from tests.random_networks import random_network

SEEDS = range(30)
PROFILE = NumericProfile("onnx")
FLOAT_ONLY = {
    "affine", "avg_pool2d", "batch_norm", "clip", "elementwise", "feedback_neuron", "layer_norm", "mean",
    "neuron", "softmax", "step_affine", "time_mean", "weighted_key_value", "window_softmax",
}  # fmt: skip
LEARNS = {"conv1d", "conv2d", "equation_neuron", "integer_neuron", "linear", "rescale"}


def _compute(node: Node, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """A node in PyTorch; the layers that learn as they are before they have learned anything."""
    op, (steps, batch) = node.op, inputs[0].shape[:2]
    if isinstance(op, (Convolution, Linear)):
        layer = WeightLayer(op, op.weight.astype(float), np.ones(len(op.weight)), 8)
        return (layer(inputs[0].flatten(0, 1)).unflatten(0, (steps, batch)),)
    if isinstance(op, IntegerNeuron):
        return (NeuronLayer(op, np.ones(()), PROFILE, steep_sigmoid, False)(inputs[0]),)
    if isinstance(op, EquationNeuron):
        return (EquationLayer(op, steep_sigmoid)(inputs[0]),)
    if isinstance(op, Rescale):
        return (RescaleLayer(op, 1.0)(inputs[0]),)
    return execute(op, *inputs)


def _differing(graph: Graph, frames: NDArray[np.uint8]) -> tuple[set[str], int]:
    """Names of the operations that were run, and how many numbers differ from the definition."""
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    wanted = [run.step(frame) for frame in frames]
    values: dict[str, Tensor] = {graph.inputs[0]: torch.from_numpy(frames).float()}
    apart = 0
    for node in graph.nodes:
        results = _compute(node, [values[name] for name in node.inputs])
        for name, result in zip(node.outputs, results, strict=True):
            values[name] = result
            exact = np.stack([step[name] for step in wanted])
            apart += int((result.detach().numpy() != exact).sum())
    return {node.op.name for node in graph.nodes}, apart


def test_random_networks_of_all_operations_compute_the_same_integers() -> None:
    seen: set[str] = set()
    for seed in SEEDS:
        network = random_network(seed)
        names, apart = _differing(network.graph, network.frames)
        assert apart == 0, f"seed {seed}"
        seen |= names
    assert seen == executable() | LEARNS


def test_every_integer_operation_has_a_form() -> None:
    assert executable() | LEARNS == set(all_ops()) - FLOAT_ONLY


def test_float_operations_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="SL0501 affine"):
        execute(Affine(np.ones(1), np.zeros(1)), torch.zeros(1, 1, 1))


@pytest.mark.parametrize("seed", range(8))
def test_gradients_reach_the_input(seed: int) -> None:
    """Through every rounding, wherever a path leads from the input to the output."""
    network = random_network(seed)
    frames = torch.from_numpy(network.frames).double().requires_grad_()
    values: dict[str, Tensor] = {network.graph.inputs[0]: frames}
    for node in network.graph.nodes:
        values.update(zip(node.outputs, _compute(node, [values[n] for n in node.inputs]), strict=True))
    output = values[network.graph.outputs[0]]
    (output * torch.randn(output.shape, dtype=output.dtype)).sum().backward()  # type: ignore[no-untyped-call]
    assert frames.grad is not None
    assert frames.grad.isfinite().all()
    assert network.graph.stage is Stage.INTEGER


def test_wide_sums_are_taken_in_double_precision() -> None:
    a, b = torch.full((1, 3), 4097.0), torch.full((3, 1), 4095.0)
    assert multiply(a, b).dtype == torch.float64
    assert multiply(a, b).item() == 3 * 4097 * 4095
    assert multiply(a, b / 4095).dtype == torch.float32


def test_the_largest_sum_of_single_precision_is_exact() -> None:
    a, b = torch.ones((1, 4)), torch.full((4, 1), 2.0**22 - 1)
    assert multiply(a, b).dtype == torch.float32
    assert multiply(a, b).item() == 2**24 - 4


def test_sums_of_wide_values_stay_exact() -> None:
    a = torch.tensor([[[2.0**24]]])
    (total,) = execute(Add(), a, torch.ones_like(a))
    assert total.item() == 2**24 + 1


COARSE: dict[str, Any] = {"threshold_step": 64, "bias_mantissa_bits": 4, "bias_exponent_bits": 2}


def test_biases_take_the_finest_shift_that_fits() -> None:
    profile = NumericProfile("coarse", **COARSE)
    assert on_bias_grid(torch.tensor([7.4, -6.6]), profile).tolist() == [7.0, -7.0]
    assert on_bias_grid(torch.tensor([13.0, 3.0]), profile).tolist() == [12.0, 4.0]
    assert on_bias_grid(torch.tensor([1e9, -1.0]), profile).tolist() == [56.0, 0.0]


def test_thresholds_fire_where_the_quantizer_says() -> None:
    fine, coarse = NumericProfile("fine"), NumericProfile("coarse", **COARSE)
    assert on_threshold_grid(torch.tensor([[95.5, 96.0, -3.0]]), fine).tolist() == [[95.0, 95.0, 0.0]]
    assert on_threshold_grid(torch.tensor([[90.0, 100.0]]), coarse).tolist() == [[64.0, 128.0]]
