"""Why two engines part: the first spike that differs, with the membranes behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron

_NEVER = 2**62  # a threshold that no potential reaches


@dataclass(frozen=True)
class Place:
    """Where two traces differ first: the earliest step, and of its layers the one that comes first.

    Attributes:
        sample, step: counted from 0.
        layer: a neuron layer, or "output" for the network's output.
        neuron: index within the layer.
        wanted, got: what the first engine gave and what the second one gave.
    """

    sample: int
    step: int
    layer: str
    neuron: tuple[int, ...]
    wanted: float
    got: float


@dataclass(frozen=True)
class Membrane:
    """One neuron in one engine at the step where it parts from the other.

    Attributes:
        before: its membrane potential before the step, in state units.
        potential: after decay and input of the step, before it fires and is reset.
        margin: potential less the nearest threshold; it fires if that is above zero.
        after: the membrane potential that the engine is left with, of its own making.

    The potential follows from the engine's state before the step by the definition of the neuron: where
    potentials are equal and spikes differ, the step itself is computed wrongly.
    """

    before: int
    potential: int
    margin: int
    after: int


@dataclass(frozen=True)
class Explanation:
    """A divergence with what lies behind it.

    Attributes:
        place: the first difference.
        thresholds: of the neuron, one a level, in state units; empty where the layer has none.
        membranes: of the engines whose membranes are known, by name.
        states: states that differ before the step although every spike was equal, by name.
    """

    place: Place
    thresholds: tuple[int, ...]
    membranes: Mapping[str, Membrane]
    states: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def first_difference(graph: Graph, wanted: Trace, got: Trace) -> Place | None:
    """The first place in which two traces of the same frames differ, or None.

    Of the differences of one step the layer that comes first in the graph is told: what follows it only
    repeats it.
    """
    layers = [node.name for node in graph.neurons() if node.name in wanted.spikes]
    pairs: list[tuple[str, Array, Array]] = [
        (layer, wanted.spikes[layer], got.spikes[layer]) for layer in layers
    ]
    pairs.append(("output", wanted.output, got.output))
    places = [_first(layer, expected, actual) for layer, expected, actual in pairs]
    return min((place for place in places if place), key=lambda place: place.step, default=None)


def _first(layer: str, wanted: Array, got: Array) -> Place | None:
    differs = np.argwhere(wanted != got)
    if not len(differs):
        return None
    step, sample, *neuron = map(int, differs[0])
    at = (step, sample, *neuron)
    return Place(sample, step, layer, tuple(neuron), wanted[at].item(), got[at].item())


def explain(graph: Graph, engines: Mapping[str, Engine], frames: Array, place: Place) -> Explanation:
    """Run engines up to the step of a difference and look at the neuron in each.

    Args:
        graph: the integer graph of the engines.
        engines: by name; one or two of them.
        frames: [steps, samples, ...] on which they differ.
        place: where.
    """
    single = frames[:, place.sample : place.sample + 1]
    states = {name: _state_before(engine, single[: place.step]) for name, engine in engines.items()}
    first, *others = states.values()
    parted = sorted(key for other in others for key in first if (first[key] != other[key]).any())
    node = next((node for node in graph.neurons() if node.name == place.layer), None)
    if node is None or not isinstance(node.op, IntegerNeuron):
        return Explanation(place, (), {}, tuple(parted))
    thresholds = _thresholds(graph, node, node.op, place.neuron)
    frame, key = single[place.step], f"{node.name}/v"
    membranes = {}
    for name, state in states.items():
        potential = _potential(graph, node, node.op, state, frame)[place.neuron].item()
        margin = potential - min(thresholds, key=lambda theta: abs(potential - theta))
        engines[name].run(frame[None])
        before, after = (int(held[key][(0, *place.neuron)]) for held in (state, engines[name].state()))
        membranes[name] = Membrane(before, potential, margin, after)
    return Explanation(place, thresholds, membranes, tuple(parted))


def _state_before(engine: Engine, frames: Array) -> dict[str, Array]:
    engine.reset(1)
    if len(frames):
        engine.run(frames)
    return engine.state()


def _thresholds(graph: Graph, node: Node, op: IntegerNeuron, neuron: tuple[int, ...]) -> tuple[int, ...]:
    shape = graph.types[node.output].shape
    return tuple(int(np.broadcast_to(theta, shape)[neuron]) for theta in op.theta)


def _potential(
    graph: Graph, node: Node, op: IntegerNeuron, state: Mapping[str, Array], frame: Array
) -> Array:
    """What a step makes of a state by the definition, before anything fires: of each neuron of a layer."""
    interpreter = Interpreter(graph)
    interpreter.state = {key: array.astype(np.int64) for key, array in state.items()}
    values = interpreter.step(frame)
    silent = replace(op, theta=np.full_like(op.theta, _NEVER, dtype=np.int64))
    names = op.states(*graph.input_types(node))
    own = {name: state[f"{node.name}/{name}"].astype(np.int64) for name in names}
    _, after = silent.step((values[node.inputs[0]],), own)
    potentials: Array = after["v"][0]
    return potentials
