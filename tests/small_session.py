"""A small network with recordings that make it fire, as a bundle: for the tests of sessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikeloom.compiler.bundle import Bundle, graph_members, json_member, write_bundle
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.op import Op
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.target import find_target
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.stream import EVENT, Events
from spikeloom.runtime.session import StepResult

RECIPE = FrameRecipe(width=5, height=4, steps=6, duration_us=1000)
SCALE = 0.125
ENGINES = ["reference", "onnx", "event"]


def small_network(seed: int = 0, last: Op | None = None) -> Graph:
    """[2, 4, 5] frames, a layer that fires on a third of its steps, 3 classes; ``last`` comes after them."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder("small", Stage.INTEGER, "onnx")
    x = builder.input("x", Type(RECIPE.shape, SPIKES))
    weight = rng.integers(-60, 100, (4, 2, 3, 3)).astype(np.int8)
    (conv,) = builder.add("conv", Conv2d(weight, None, (1, 1), (1, 1)), x)
    lif = IntegerNeuron(np.array([[6000]]), np.array([100]), 1500, 6)
    (spikes,) = builder.add("lif", lif, conv)
    (flat,) = builder.add("flat", Reshape((80,)), spikes)
    readout = Linear(rng.integers(-90, 90, (3, 80)).astype(np.int8), np.array([5, -7, 2]))
    (head,) = builder.add("head", readout, flat)
    if last is not None:
        (head,) = builder.add("last", last, head)
    builder.units[head] = Unit(np.array(SCALE), np.zeros(()))
    builder.output(head)
    return builder.build()


def small_bundle(path: Path, graph: Graph) -> Bundle:
    """The network as a bundle that both engines can run."""
    forms = find_target("onnx").artifacts(graph)
    members = {
        **graph_members(graph),
        **{f"onnx/{name}": data for name, data in forms.items()},
        "recipe.json": json_member(RECIPE.to_json()),
    }
    return write_bundle(path, members, {})


def recording(seed: int, count: int = 400, span_us: int = 6500) -> Events:
    """Random events, by default a little longer than the frames of the recipe."""
    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT)
    events["t"] = np.sort(rng.integers(0, span_us, count))
    events["x"], events["y"], events["p"] = (rng.integers(0, n, count) for n in (5, 4, 2))
    return events


def same_steps(steps: list[StepResult], others: list[StepResult]) -> bool:
    """Whether two streams gave the same."""
    return len(steps) == len(others) and all(
        (a.step, a.prediction, dict(a.spikes)) == (b.step, b.prediction, dict(b.spikes))
        and (a.evidence == b.evidence).all()
        for a, b in zip(steps, others, strict=True)
    )
