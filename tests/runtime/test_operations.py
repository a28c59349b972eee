"""Operation counts: NeuroBench's own figures on the trained network, and counting by hand on a small one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from spikeloom.compiler.frontends.torch.interpreter import TorchInterpreter
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import SPIKES, Type, levels, sums
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.lookup import Lookup
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.runtime.estimate.neurobench import static_metrics
from spikeloom.runtime.estimate.operations import OperationCounter, Operations
from spikeloom.runtime.estimate.spike_driven import dense_share, not_spike_driven
from tests.trained_nmnist import TrainedNmnist, trained_nmnist


@pytest.fixture(scope="module")
def nmnist(data: Path) -> TrainedNmnist:
    return trained_nmnist(data)


@pytest.fixture(scope="module")
def counted(nmnist: TrainedNmnist) -> Operations:
    """What the trained network does in PyTorch on the 60 recordings."""
    counter = OperationCounter(nmnist.capture.graph)
    counter.start(60)
    interpreter = TorchInterpreter(nmnist.capture)
    interpreter.reset()
    for frame in torch.from_numpy(nmnist.frames).float():
        counter.add({name: value.numpy() for name, value in interpreter.step(frame).items()})
    return counter.result()


def test_neurobench_counts_the_same(counted: Operations) -> None:
    """NeuroBench 2.3.0 on these recordings (SOURCES.md of the data), to the last digit that it gives."""
    assert counted.samples == 60
    assert round(counted.acs, 4) == 1_219_975.6
    assert round(counted.macs, 4) == 299_126.8667
    assert counted.dense == 8_148_480


def test_products_of_attention_are_counted_apart(counted: Operations) -> None:
    """4 heads of 16 x 9 by 9 x 16 and 16 x 16 by 16 x 9, in 5 steps; spikes leave a few of them."""
    assert counted.dense_products == 5 * 4 * (16 * 9 * 16 + 16 * 16 * 9)
    assert 0 < counted.products < 0.2 * counted.dense_products
    products = [node for node in counted.nodes if node.work == "product"]
    assert {node.node for node in products} == {"blocks.0.attn.matmul", "blocks.0.attn.matmul.1"}
    assert sum(node.effective.mean() for node in products) == pytest.approx(counted.products)


def test_every_neuron_is_updated_at_every_step(counted: Operations, nmnist: TrainedNmnist) -> None:
    neurons = sum(nmnist.capture.graph.types[node.name].size for node in nmnist.capture.graph.neurons())
    assert counted.updates == 5 * neurons == 5 * 10_168


def test_the_integer_network_counts_the_same_kinds(counted: Operations, nmnist: TrainedNmnist) -> None:
    """Its mean has become a sum, its spikes differ a little; what is dense stays."""
    graph = nmnist.quantized("onnx").graph
    counter = OperationCounter(graph)
    run = Interpreter(graph)
    for first in (0, 20, 40):
        batch = nmnist.frames[:, first : first + 20]
        counter.start(20)
        run.reset(20)
        for frame in batch:
            counter.add(run.step(frame))
    integer = counter.result()
    assert integer.samples == 60
    assert (integer.dense, integer.dense_products) == (counted.dense, counted.dense_products)
    assert integer.acs == pytest.approx(counted.acs, rel=0.05)
    assert integer.macs == pytest.approx(counted.macs, rel=0.1)
    assert integer.updates == counted.updates


# --- by hand ---------------------------------------------------------------------------------------------

WEIGHT = np.array([[1, 0, -2], [3, 4, 0]], np.int8)


@pytest.fixture
def graph() -> Graph:
    """A layer on graded input [3], a product of spikes with themselves, and a sum."""
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((3,), levels(3)))
    (fc,) = builder.add("fc", Linear(WEIGHT), x)
    (lif,) = builder.add("lif", IntegerNeuron(np.array([[63]]), np.array([0]), 4096, 6), fc)
    (row,) = builder.add("row", Reshape((1, 2)), lif)
    (column,) = builder.add("column", Reshape((2, 1)), lif)
    (product,) = builder.add("product", MatMul(), column, row)
    builder.output(builder.add("sum", Add(), product, product)[0])
    return builder.build()


def _count(graph: Graph, *batches: np.ndarray) -> Operations:
    """Batches of frames [steps, samples, 3]."""
    counter = OperationCounter(graph)
    run = Interpreter(graph)
    for frames in batches:
        counter.start(frames.shape[1])
        run.reset(frames.shape[1])
        for frame in frames:
            counter.add(run.step(frame))
    return counter.result()


def test_pairs_are_counted_one_by_one(graph: Graph) -> None:
    """fc: 1 -> [1, 3], so both fire; second step: input 2 alone, -> [-2, 0], none fires."""
    frames = np.array([[[1, 0, 0]], [[0, 0, 1]]])
    result = _count(graph, frames)
    assert (result.acs, result.macs) == (2 + 1, 0)
    assert result.dense == 2 * 6
    assert (result.products, result.dense_products) == (4, 2 * 4)
    assert (result.updates, result.additions) == (2 * 2, 4)


def test_what_no_spike_drives_is_a_share_of_all(graph: Graph) -> None:
    """Inputs of 0..3 are numbers: fc multiplies with them; the product of what the neurons fire does not."""
    result = _count(graph, np.array([[[1, 0, 0]], [[0, 0, 1]]]))
    assert (result.real, result.host) == (2 + 1, 0)
    assert result.not_spike_driven == 3 / (3 + 4)
    assert dense_share(graph) == 6 / (6 + 4)


def test_layers_behind_neurons_are_spike_driven_and_host_operations_are_not() -> None:
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((3,), SPIKES))
    (current,) = builder.add("first", Linear(WEIGHT), x)
    (spikes,) = builder.add("lif", IntegerNeuron(np.array([[63]]), np.array([0]), 4096, 6), current)
    (again,) = builder.add("second", Linear(WEIGHT[:, :2]), spikes)
    (looked,) = builder.add("gate", Lookup(-16, np.arange(33)), again)
    (last,) = builder.add("third", Linear(WEIGHT[:, :2]), looked)
    builder.output(last)
    assert not_spike_driven(builder.build()) == {"gate", "third"}


def test_a_sample_with_one_graded_input_is_all_macs(graph: Graph) -> None:
    """As NeuroBench judges a layer: by every input that it saw; here sample by sample."""
    plain, graded = [[1, 0, 0]], [[2, 0, 1]]
    frames = np.array([[plain[0], plain[0]], [plain[0], graded[0]]])  # [step, sample]
    result = _count(graph, frames)
    (fc, *_) = result.nodes
    assert fc.binary.tolist() == [True, False]
    assert fc.effective.tolist() == [4, 2 + 3]
    assert (result.acs, result.macs) == (4 / 2, 5 / 2)


def test_inputs_of_minus_one_need_no_multiplication() -> None:
    builder = GraphBuilder("g", Stage.INTEGER)
    x = builder.input("x", Type((3,), sums(-2, 1)))
    builder.output(builder.add("fc", Linear(WEIGHT), x)[0])
    result = _count(builder.build(), np.array([[[-1, 0, 1], [-2, 0, 1]]]))
    assert (result.acs, result.macs) == (3 / 2, 3 / 2)


def test_figures_do_not_depend_on_the_batches(graph: Graph) -> None:
    frames = np.random.default_rng(0).integers(0, 4, (3, 7, 3))
    together = _count(graph, frames)
    apart = _count(graph, frames[:, :2], frames[:, 2:6], frames[:, 6:])
    assert together.to_json() == apart.to_json()
    for a, b in zip(together.nodes, apart.nodes, strict=True):
        assert a.effective.tolist() == b.effective.tolist()


def test_the_json_form_names_every_node_with_work(graph: Graph) -> None:
    document = _count(graph, np.ones((2, 3, 3), int)).to_json()
    assert [node["node"] for node in document["nodes"]] == ["fc", "lif", "product", "sum"]
    assert [node["work"] for node in document["nodes"]] == ["synaptic", "update", "product", "addition"]
    assert document["samples"] == 3
    assert document["updates"] == 4.0


@pytest.mark.parametrize(("wait", "arriving"), [(1, 4), (2, 2), (4, 0)])
def test_spikes_that_come_back_are_synaptic_operations_when_they_arrive(wait: int, arriving: int) -> None:
    """The first neuron fires in each of 3 steps; its spikes pass two weights, and late ones find no step."""
    builder = GraphBuilder("loop", Stage.INTEGER)
    x = builder.input("x", Type((3,), SPIKES))
    weight = np.array([[0, 3, 0], [-2, 0, 0], [-2, 0, 0]], np.int8)
    layer = RecurrentNeuron(weight, np.array([[0]]), np.zeros(1, np.int64), 4096, 0, wait=wait)
    builder.output(builder.add("lif", layer, x)[0])
    counter, interpreter = OperationCounter(builder.build()), Interpreter(builder.build())
    counter.start(1)
    interpreter.reset(1)
    for _ in range(3):
        values = interpreter.step(np.array([[1, 0, 0]], np.uint8))
        assert values["lif"].tolist() == [[1, 0, 0]]
        counter.add(values)
    found = counter.result()
    assert (found.acs, found.macs, found.dense, found.updates) == (arriving, 0, 3 * 9, 9)
    assert [node.node for node in found.nodes] == ["lif", "lif.back"]
    assert static_metrics(builder.build()).connection_sparsity == round(6 / 9, 4)
