"""The membrane of one neuron of a trained model, at the step where the integer network parts from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spikeloom.cli.model import ModelSource, load_model
from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.errors import InputError
from spikeloom.runtime.divergence import Place
from spikeloom.runtime.events.array_recipe import given_kind, read_recipe
from spikeloom.runtime.events.recipe import FrameRecipe

if TYPE_CHECKING:
    from spikeloom.compiler.frontends.torch.capture import Capture

_NEVER = 1e300  # a threshold that no potential reaches


@dataclass(frozen=True)
class TrainedMembrane:
    """One neuron of the trained model, in the model's own units.

    Attributes:
        before: its membrane potential before the step.
        potential: after decay and input of the step, before it fires and is reset.
        threshold: the nearest one; for graded spikes, half a level from the next.
        margin: potential less threshold.
    """

    before: float
    potential: float
    threshold: float
    margin: float


def trained_membrane(
    bundle: Bundle, source: ModelSource, stored: Mapping[str, NDArray[np.generic]], place: Place
) -> TrainedMembrane | None:
    """Compute a neuron's membrane in float64 from the spikes that eager PyTorch gave; None for other neurons.

    Every layer is fed with the stored spikes of the layers before it, so that no rounding of this
    computation can flip one.

    Args:
        bundle: of the model.
        source: the model.
        stored: the bundle's traces of one sample: its frames and spikes.
        place: where the integer network parts from them.

    Raises:
        InputError: SL0203, the model is not that of the bundle; what :func:`load_model` raises.
    """
    from spikeloom.compiler.frontends.torch.capture import capture

    recipe = read_recipe(bundle.json("recipe.json"))
    events = recipe if isinstance(recipe, FrameRecipe) else None
    loaded = load_model(source, None, events)
    steps = recipe.steps if events is None else 0
    captured = capture(loaded.model, loaded.shape, given_kind(recipe), bundle.graph.name, steps)
    if {node.name for node in captured.graph.neurons()} != {node.name for node in bundle.graph.neurons()}:
        raise InputError.of("SL0203", source.spec, "has other neuron layers than the network in the bundle")
    frames = stored["frames"]
    real = recipe.decode(frames).astype(np.float64)
    return _membrane(captured, real, _forced(bundle, stored), place, bundle)


def _forced(bundle: Bundle, stored: Mapping[str, NDArray[np.generic]]) -> dict[str, Array]:
    """What the trained layers sent, [steps, ...] as the graph has it, real."""
    graph = bundle.graph
    return {
        layer: stored[f"spikes/{layer}"].reshape(-1, 1, *graph.types[layer].shape) * graph.units[layer].scale
        for layer in (node.output for node in graph.neurons())
        if f"spikes/{layer}" in stored
    }


def _membrane(
    captured: Capture, real: Array, forced: Mapping[str, Array], place: Place, bundle: Bundle
) -> TrainedMembrane | None:
    graph, node = captured.graph, captured.graph.node(place.layer)
    op, fired = node.op, forced.get(node.output)
    if not isinstance(op, Neuron) or fired is None:
        return None
    step = place.step - bundle.graph.lateness[bundle.graph.node(place.layer).output]
    interpreter = Interpreter(graph)
    interpreter.reset(1)
    start = op.initial(*graph.input_types(node))
    state = {name: np.broadcast_to(value, (1, *value.shape)) for name, value in start.items()}
    before = potential = state["v"]
    for t in range(step + 1):
        given = {name: spikes[t] for name, spikes in forced.items()}
        values = interpreter.step(real[t], forced=given)
        drive = given.get(node.inputs[0], values[node.inputs[0]])
        before = state["v"]
        _, state = replace(op, threshold=_NEVER).step((drive,), state)
        potential = state["v"]
        state["v"] = _reset(op, potential, fired[t] * op.divisor)
    at = (0, *place.neuron)
    threshold = _nearest(op, potential[at].item())
    return TrainedMembrane(
        before[at].item(), potential[at].item(), threshold, potential[at].item() - threshold
    )


def _reset(op: Neuron, potential: Array, spikes: Array) -> Array:
    if op.reset == "soft":
        return potential - spikes * op.subtracted
    return np.where(spikes > 0, op.v_reset, potential)


def _nearest(op: Neuron, potential: float) -> float:
    """The threshold that decides: of graded spikes the one between the nearest two levels."""
    level = min(max(1.0, np.floor(potential / op.threshold) + 1), op.levels) if op.levels > 1 else 1.0
    return op.threshold * (level - 0.5 if op.levels > 1 else 1.0)
