"""The graph against the file: the same answers, step by step, in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spikeloom.compiler.frontends.onnx.evaluate import evaluate
from spikeloom.compiler.frontends.onnx.file import OnnxNetwork
from spikeloom.compiler.frontends.onnx.states import Step
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.errors import UnsupportedError

STEPS, SEED = 5, 0
SAME = 1e-6
ON = 0.5
"""Share of the input that is 1: a network is made for events or for pictures, and both make it fire."""


def prove(
    graph: Graph,
    step: Step,
    network: OnnxNetwork,
    time_axis: int | None,
    starts: Mapping[str, float],
    name: str,
) -> None:
    """Run both on inputs drawn by chance.

    Args:
        graph: that was made of it.
        step: one step of the file.
        network: the file.
        time_axis: of its input, if time is unrolled in it.
        starts: the states of a network of one step before its first; 0 where it is not told.
        name: for messages.

    Raises:
        UnsupportedError: SL0306, an output differs.
    """
    rng = np.random.default_rng(SEED)
    step_input = step.x if time_axis is None else network.inputs[0]
    shape = network.shapes[step_input]
    if time_axis is None:
        frames = (rng.random((STEPS, *shape)) < ON).astype(np.float64)
        wanted = _stepped(step, starts, frames)
    else:
        x = (rng.random(shape) < ON).astype(np.float64)
        frames = np.moveaxis(x, time_axis, 0)
        (wanted,) = evaluate(
            network.nodes, network.constants, network.opset, {step_input: x}, network.outputs
        )
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    got = np.stack([run.step(frame)[graph.outputs[0]] for frame in frames])
    if not step.stacked:
        got = got[-1]
    difference = np.abs(got.reshape(wanted.shape) - wanted)
    if difference.max() > SAME * max(1.0, float(np.abs(wanted).max())):
        at = int(difference.reshape(len(difference), -1).max(1).argmax())
        raise UnsupportedError.of(
            "SL0306",
            name,
            f"the graph answers otherwise than the file: by {difference.max():.3g} at step {at}",
            remedy="this is a bug in Spikeloom if the file is one that it says it takes",
        )


def _stepped(step: Step, starts: Mapping[str, float], frames: Array) -> Array:
    """The outputs of a network of one step, its states handed on."""
    network = step.network
    states = {before: np.full(network.shapes[before], starts.get(before, 0.0)) for before in step.states}
    answers = []
    wanted = [step.y, *step.states.values()]
    for frame in frames:
        y, *after = evaluate(
            network.nodes, network.constants, network.opset, {step.x: frame, **states}, wanted
        )
        states = dict(zip(step.states, after, strict=True))
        answers.append(y)
    return np.stack(answers)
