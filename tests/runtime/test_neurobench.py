"""NeuroBench's metrics: its own figures (2.3.0) on a trained network and on small ones of snnTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spikeloom.compiler.frontends.torch.interpreter import TorchInterpreter
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.neuron import Neuron, Reset
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


def leaky(reset: Reset, late: bool) -> tuple[Graph, np.ndarray]:
    """Layers of Leaky(beta=0.5, threshold=4, reset_mechanism=..., reset_delay=late); input [T, N, 4]."""
    rng = np.random.default_rng(0)
    weights = [rng.integers(-2, 4, (6, 4)).astype(np.float32), rng.integers(-2, 3, (3, 6)).astype(np.float32)]
    frames = (rng.random((N, T, 4)) < 0.4).astype(np.uint8).swapaxes(0, 1)
    builder = GraphBuilder("leaky", Stage.CANONICAL)
    by = 4.0 / 0.5 if late and reset == "soft" else None
    x = builder.input("x", Type((4,), REAL))
    for number, weight in enumerate(weights, 1):
        (x,) = builder.add(f"fc{number}", Linear(weight), x)
        neuron = Neuron(0.5, 1.0, 4.0, strict=True, reset=reset, reset_by=by, late=late)
        (x,) = builder.add(f"l{number}", neuron, x)
    builder.output(x)
    builder.units[x] = Unit(np.ones(()), np.zeros(()))
    return builder.build(), frames


@pytest.mark.parametrize(
    ("reset", "late", "updates", "acs", "sparsity"),
    [
        ("soft", False, 56.4, 74.8, 0.8761904761904763),
        ("soft", True, 56.4, 70.6, 0.9111111111111111),
        ("hard", False, 55.8, 71.8, 0.9015873015873016),
        ("hard", True, 56.4, 71.8, 0.9015873015873016),
    ],
)
def test_each_reset_of_snntorch(
    reset: Reset, late: bool, updates: float, acs: float, sparsity: float
) -> None:
    """As neurobench 2.3.0 prints them for snnTorch 1.0.0; a late reset is reset_delay=True, the default.

    NeuroBench multiplies the sparsity of a batch by its samples and divides by those of the data set.
    """
    graph, frames = leaky(reset, late)
    found = measure(graph, [frames]).neurobench
    assert found.membrane_updates == updates
    assert found.activation_sparsity * N / N == sparsity
    assert found.synaptic_operations == {"Effective_MACs": 0.0, "Effective_ACs": acs, "Dense": 294}
    assert found.static.connection_sparsity == 0.119


class OneEachStep:
    """Sample n is answered after step n + 1."""

    def stops(self, evidence: np.ndarray, step: int) -> np.ndarray:
        return np.arange(N - len(evidence), N) < step


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_a_late_reset_with_an_early_exit(reset: Reset) -> None:
    """What is counted of samples that leave one after the other is what is counted of each alone."""
    graph, frames = leaky(reset, late=True)
    found = measure(graph, [frames], OneEachStep()).neurobench.membrane_updates  # type: ignore[arg-type]
    alone = [measure(graph, [frames[: n + 1, n : n + 1]]).neurobench.membrane_updates for n in range(N)]
    assert found == sum(alone) / N


def test_batches_make_no_difference() -> None:
    graph, frames = small()
    whole = measure(graph, [frames]).neurobench
    parts = measure(graph, [frames[:, :2], frames[:, 2:]]).neurobench
    assert parts.to_json() == whole.to_json()
