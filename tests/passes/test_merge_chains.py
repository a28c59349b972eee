"""RepConv: a chain of convolutions, and the one convolution that does the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.passes.merge_chains import find_chains, merge_chain
from spikeloom.compiler.pipeline import Options, compile_model
from spikeloom.compiler.pipeline.chains import settle_chains

RNG = np.random.default_rng(5)
INPUTS, HIDDEN, OUTPUTS, SIZE = 6, 8, 5, 7
PROFILE = NumericProfile("p")


def _graph(
    border: bool = True, bias: bool = True, stride: int = 1, grid: bool = False, branch: bool = False
) -> Graph:
    """A 1 x 1 convolution, padded with what it gives for zeros, a depthwise one and a 1 x 1 one."""
    one: Array = RNG.normal(size=(HIDDEN, INPUTS, 1, 1))
    two = RNG.normal(size=(HIDDEN, 1, 3, 3))
    three = RNG.normal(size=(OUTPUTS, HIDDEN, 1, 1))
    if grid:
        one = 0.3 * RNG.integers(-7, 8, one.shape)
    first = RNG.normal(size=HIDDEN)
    edge = np.broadcast_to(first[:, None, None], (HIDDEN, SIZE + 2, SIZE + 2)).copy()
    edge[:, 1:-1, 1:-1] = 0
    builder = GraphBuilder("g", Stage.CANONICAL)
    x = builder.input("x", Type((INPUTS, SIZE, SIZE), REAL))
    (y,) = builder.add("first", Conv2d(one, first if bias else None), x)
    (z,) = builder.add("pad", Pad((0, 1, 1), (0, 1, 1)), y)
    if border:
        (z,) = builder.add("border", Affine(np.ones(()), edge), z)
    (z,) = builder.add("middle", Conv2d(two, RNG.normal(size=HIDDEN), (stride,) * 2, groups=HIDDEN), z)
    builder.output(builder.add("last", Conv2d(three, RNG.normal(size=OUTPUTS)), z)[0])
    if branch:
        builder.output(y)
    return builder.build()


def _answer(graph: Graph, x: Array) -> Array:
    run = Interpreter(graph)
    run.reset(len(x))
    return run.step(x)[graph.outputs[0]]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("border", "bias"), [(True, True), (False, False)])
def test_one_convolution_does_what_the_chain_does(stride: int, border: bool, bias: bool) -> None:
    graph = _graph(border, bias, stride)
    (chain,) = find_chains(graph)
    merged = merge_chain(graph, chain)
    assert [node.name for node in merged.nodes] == ["last"]
    x = RNG.normal(size=(3, INPUTS, SIZE, SIZE))
    np.testing.assert_allclose(_answer(merged, x), _answer(graph, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(_graph(border=False), id="zeros around a biased result"),
        pytest.param(_graph(bias=False), id="a border around an unbiased result"),
        pytest.param(_graph(branch=True), id="somebody else reads the first"),
    ],
)
def test_what_one_convolution_cannot_do_is_left_alone(graph: Graph) -> None:
    assert find_chains(graph) == ()
    assert settle_chains(graph, "dense", PROFILE, np.ones((1, 1, INPUTS, SIZE, SIZE))) == (graph, ())


@pytest.mark.parametrize(
    ("wanted", "density", "grid", "form", "reason"),
    [
        ("auto", 0.04, False, "dense", "cost"),
        ("auto", 1.0, False, "chain", "cost"),
        ("auto", 0.04, True, "chain", "trained grid"),
        ("dense", 1.0, True, "dense", "asked"),
        ("chain", 0.04, False, "chain", "asked"),
    ],
)
def test_the_form_is_the_cheaper_that_loses_no_grid(
    wanted: str, density: float, grid: bool, form: str, reason: str
) -> None:
    """What is between the three is never zero: by the chain the input's silence is lost."""
    frames = np.zeros((2, 1, INPUTS, SIZE, SIZE))
    some = RNG.permutation(frames.size)[: round(density * frames.size)]
    frames.reshape(-1)[some] = 1.0
    graph = _graph(grid=grid)
    after, (choice,) = settle_chains(graph, wanted, PROFILE, frames)
    assert (choice.layer, choice.form, choice.reason) == ("last", form, reason)
    assert choice.density == pytest.approx(density, abs=0.001)
    place = SIZE**2
    assert choice.dense == pytest.approx(choice.density * OUTPUTS * INPUTS * 9 * place)
    assert choice.chain == pytest.approx(
        (choice.density * HIDDEN * INPUTS + HIDDEN * 9 + OUTPUTS * HIDDEN) * place
    )
    assert len(after.nodes) == (1 if form == "dense" else len(graph.nodes))


class _RepConv(nn.Module):
    """Two neuron layers, and between them a chain; the input to the second seldom fires."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.head = nn.Conv2d(2, 8, 3, padding=1), nn.Linear(8, 4)
        self.rep = nn.Sequential(
            nn.Conv2d(8, 8, 1, bias=False), nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.Conv2d(8, 8, 1),
        )  # fmt: skip
        self.lif, self.last = (neuron.LIFNode(tau=2.0, v_threshold=v, step_mode="m") for v in (0.35, 0.02))

    def forward(self, x: Tensor) -> Any:
        y = self.lif(self.first(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        y = self.last(self.rep(y.flatten(0, 1)).unflatten(0, x.shape[:2]))
        return self.head(y.mean((3, 4)))


@pytest.mark.parametrize("form", ["auto", "dense", "chain"])
def test_either_form_compiles_exactly(form: str) -> None:
    frames = (np.random.default_rng(1).random((4, 3, 2, 6, 6)) < 0.4).astype(np.float32)
    options = Options("onnx", steps=4, stop_after="integer", repconv=form, silence=True)
    run = compile_model(_RepConv().eval(), InputShape.parse("T,B,2,6,6"), None, frames, options, None)
    (choice,) = run.chains
    assert choice.form == ("dense" if choice.dense < choice.chain else "chain") if form == "auto" else form
    assert run.canonical is not None
    names = {node.name for node in run.canonical.nodes}
    assert ("rep.0" in names) == (choice.form == "chain")
    assert run.activity is not None
    assert min(run.activity.rates.values()) > 0
    compared = next(e for e in run.ledger.to_json() if e["stage"] == "canonical graph")
    assert compared["differing"] == 0
