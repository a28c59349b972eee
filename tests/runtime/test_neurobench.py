"""NeuroBench's metrics: its own figures (2.3.0) on a trained network and on small ones of snnTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spikeloom.compiler.frontends.torch.interpreter import TorchInterpreter
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.runtime.estimate.activity import measure
from spikeloom.runtime.estimate.neurobench import StateCounter, static_metrics
from spikeloom.runtime.estimate.operations import OperationCounter
from tests.trained_nmnist import TrainedNmnist, trained_nmnist


@pytest.fixture(scope="module")
def nmnist(data: Path) -> TrainedNmnist:
    return trained_nmnist(data)


def test_static_metrics_of_the_trained_network(nmnist: TrainedNmnist) -> None:
    """NeuroBench on the PyTorch module: SOURCES.md of the data."""
    found = static_metrics(nmnist.capture.graph)
    assert found.footprint == 388_656
    assert found.parameter_count == 95_882
    assert found.connection_sparsity == 0.0


def test_activation_sparsity_of_the_trained_network(nmnist: TrainedNmnist) -> None:
    """NeuroBench's figure on the 60 recordings, to the last digit that SOURCES.md gives."""
    graph = nmnist.capture.graph
    operations, states = OperationCounter(graph), StateCounter(graph)
    operations.start(60)
    interpreter = TorchInterpreter(nmnist.capture)
    interpreter.reset()
    for frame in torch.from_numpy(nmnist.frames).float():
        values = {name: value.numpy() for name, value in interpreter.step(frame).items()}
        operations.add(values)
        states.add(values, {}, {}, first=False)
    found = states.result(operations.result())
    assert round(found.activation_sparsity, 10) == 0.8623432992
    assert round(found.synaptic_operations["Effective_ACs"], 4) == 1_219_975.6
    assert len(found.activation_sparsity_by_layer) == 10


def test_the_integer_network_is_smaller(nmnist: TrainedNmnist) -> None:
    graph = nmnist.quantized("onnx").graph
    found = measure(graph, [nmnist.frames[:, :4]]).neurobench
    assert found.static.footprint < 388_656 / 3
    assert found.activation_sparsity == pytest.approx(0.862, abs=0.02)
    neurons = sum(graph.types[node.name].size for node in graph.neurons())
    assert neurons < found.membrane_updates <= 5 * neurons


# --- a small network of snnTorch -------------------------------------------------------------------------

T, N = 7, 5


def small() -> tuple[Graph, np.ndarray]:
    """Layers of Leaky(beta=0.5, threshold=2, reset_mechanism="zero", reset_delay=False); input [T, N, 4]."""
    rng = np.random.default_rng(0)
    first = rng.integers(-3, 5, (6, 4)).astype(np.float32)
    second = rng.integers(-3, 4, (3, 6)).astype(np.float32)
    frames = (rng.random((N, T, 4)) < 0.4).astype(np.uint8).swapaxes(0, 1)
    builder = GraphBuilder("small", Stage.CANONICAL)
    x = builder.input("x", Type((4,), REAL))
    for number, weight in enumerate((first, second), 1):
        (x,) = builder.add(f"fc{number}", Linear(weight), x)
        (x,) = builder.add(f"l{number}", Neuron(decay=0.5, gain=1.0, threshold=2.0, strict=True), x)
    builder.output(x)
    return builder.build(), frames


def test_every_metric_of_a_small_network() -> None:
    """As neurobench 2.3.0 gives them for the same weights and input in snnTorch 1.0.0.

    Its footprint is 40 bytes more: the constants that each Leaky keeps as buffers.
    """
    graph, frames = small()
    assert measure(graph, [frames]).neurobench.to_json() == {
        "Footprint": 208 - 40,
        "ParameterCount": 42,
        "ConnectionSparsity": 0.0714,
        "ActivationSparsity": 0.746031746031746,
        "ActivationSparsityByLayer": {"l1": 0.6238095238095238, "l2": 0.9904761904761905},
        "SynapticOperations": {"Effective_MACs": 0.0, "Effective_ACs": 97.6, "Dense": 294},
        "MembraneUpdates": 51.4,
    }


def test_membrane_updates_of_a_reset_by_subtraction() -> None:
    """As neurobench 2.3.0 gives them for snnTorch's Leaky without reset_delay, of threshold 4."""
    rng = np.random.default_rng(0)
    weights = [rng.integers(-2, 4, (6, 4)).astype(np.float32), rng.integers(-2, 3, (3, 6)).astype(np.float32)]
    frames = (rng.random((N, T, 4)) < 0.4).astype(np.uint8).swapaxes(0, 1)
    builder = GraphBuilder("subtract", Stage.CANONICAL)
    x = builder.input("x", Type((4,), REAL))
    for number, weight in enumerate(weights, 1):
        (x,) = builder.add(f"fc{number}", Linear(weight), x)
        soft = Neuron(decay=0.5, gain=1.0, threshold=4.0, strict=True, reset="soft")
        (x,) = builder.add(f"l{number}", soft, x)
    builder.output(x)
    found = measure(builder.build(), [frames]).neurobench.to_json()
    assert found["MembraneUpdates"] == 56.4
    assert found["SynapticOperations"] == {"Effective_MACs": 0.0, "Effective_ACs": 74.8, "Dense": 294}
    assert found["ConnectionSparsity"] == 0.119


def test_batches_make_no_difference() -> None:
    graph, frames = small()
    whole = measure(graph, [frames]).neurobench
    parts = measure(graph, [frames[:, :2], frames[:, 2:]]).neurobench
    assert parts.to_json() == whole.to_json()
