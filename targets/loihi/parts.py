"""A program in parts: each neuron layer by itself, with all that lies between it and the layers before.

Lava starts a process of the system for each of its own, which bounds what it runs at once. A part has few of
them. It is driven by what the layers before it sent, recorded from the integer graph, at the chip steps at
which the chip would send it; where every layer's part gives what the graph gives, so does the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.mapping.network import Network
from spikeloom.errors import Problem, UnsupportedError
from spikeloom.targets.loihi.assemble import assemble_part, assemble_processes
from spikeloom.targets.loihi.lava import LavaEngine, fed, npz, run_folder, times
from spikeloom.targets.loihi.lower import Lowered
from spikeloom.targets.loihi.program import Ints, Program

MOST_SYNAPSES = 20_000_000
"""Synapses of a part, each of which Lava holds."""


@dataclass(frozen=True)
class Part:
    """What lies between neuron layers, and the layer at its end.

    Attributes:
        end: the population whose messages are looked at: a layer, or the network's output.
        inner: populations that are executed, in the order of the data flow, the end among them.
        sources: layers and inputs that drive them.
    """

    end: str
    inner: tuple[str, ...]
    sources: tuple[str, ...]


def parts_of(lowered: Lowered) -> list[Part]:
    """A part for every neuron layer, and for the output if it is none."""
    network = lowered.network
    names = [one.name for one in network.populations]
    layers = [name for name in names if is_layer(lowered, name)]
    driven = {*layers, *(one.name for one in network.populations if one.role == "input")}
    return [_part(network, end, names, driven) for end in dict.fromkeys((*layers, network.outputs[0]))]


def _part(network: Network, end: str, names: list[str], driven: set[str]) -> Part:
    inner, sources, ends = {end}, set[str](), [end]
    while ends:
        before = {network.projections[number].source for number in network.into(ends.pop())}
        sources |= before & driven
        ends += before - driven - inner
        inner |= before - driven
    return Part(
        end,
        tuple(name for name in names if name in inner),
        tuple(name for name in names if name in sources),
    )


def is_layer(lowered: Lowered, name: str) -> bool:
    """Whether a population executes a neuron layer of the graph."""
    origin = lowered.origins.get(name)
    is_neuron = lowered.network.population(name).role == "neuron"
    return is_neuron and origin is not None and origin.op.work == "update"


class LavaPartsEngine(LavaEngine):
    """Runs every part of a network under Lava, one after the other.

    What it gives for a layer is what Lava makes of the recorded messages of the layers before, not of its
    own: a difference stays in its part. Networks may be larger than what Lava or the engine ``loihi``
    can hold; a part may have :data:`MOST_SYNAPSES`.
    """

    name = "lava-parts"

    def __init__(self, lowered: Lowered, graph: Graph) -> None:
        super().__init__(assemble_processes(lowered), graph)
        self._lowered = lowered
        self._graph = graph
        self._parts = parts_of(lowered)
        if problems := [problem for part in self._parts for problem in _too_large(lowered.network, part)]:
            raise UnsupportedError(problems)

    def _execute(self, frames: NDArray[np.uint8]) -> dict[str, Ints]:
        recorded = _recorded(self._graph, self._lowered, frames)
        return {part.end: self._run(part, recorded, *frames.shape[:2]) for part in self._parts}

    def _run(self, part: Part, recorded: Mapping[str, Ints], steps: int, samples: int) -> Ints:
        """[samples, steps, neurons] that the end of a part sends."""
        program = assemble_part(self._lowered, part.inner, part.sources, part.end)
        return run_folder(self._python, program, part_files(program, recorded), steps, samples)[part.end]


def part_files(program: Program, recorded: Mapping[str, Ints]) -> dict[str, bytes]:
    """``frames.npz`` of a part: what each source sends in each chip step.

    Args:
        program: of the part.
        recorded: of each source, [samples, network steps, neurons].
    """
    inputs = [one for one in program.processes if one.model == "input"]
    arrays = {f"frames/{one.name}": fed(program, recorded[one.name], one.depth) for one in inputs}
    return {"frames.npz": npz({**arrays, **times(program, recorded[inputs[0].name].shape[1])})}


def _recorded(graph: Graph, lowered: Lowered, frames: NDArray[np.uint8]) -> dict[str, Ints]:
    """What inputs and layers send, [samples, steps, neurons]."""
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    values = {name: name for name in graph.inputs}
    values |= {n: lowered.origins[n].output for n in lowered.origins if is_layer(lowered, n)}
    steps: dict[str, list[NDArray[np.int64]]] = {name: [] for name in values}
    for frame in frames:
        found = run.step(frame)
        for name, value in values.items():
            steps[name].append(found[value].reshape(len(frame), -1))
    return {name: np.swapaxes(np.stack(sent), 0, 1) for name, sent in steps.items()}


def _too_large(network: Network, part: Part) -> Iterator[Problem]:
    count = sum(network.synapses(number) for name in part.inner for number in network.into(name))
    if count > MOST_SYNAPSES:
        what = "is too large a part for Lava"
        yield Problem("SL0603", part.end, what, f"at most {MOST_SYNAPSES:,} synapses", f"{count:,}")
