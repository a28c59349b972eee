"""From populations and projections to what the chip executes.

Weights become what the chip stores, constants become biases, paths are balanced, and the proofs are
made: no current leaves its 24 bits, no weight and no bias its register. What cannot be represented is
refused; nothing is rounded here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import prod

import numpy as np

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.ops.resonator import Resonator
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.compiler.mapping.box import Box
from spikeloom.compiler.mapping.network import Network, Population, Projection
from spikeloom.compiler.mapping.synapses import Synapses as Expanded
from spikeloom.compiler.mapping.synapses import expand
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi.groups import neuron_of
from spikeloom.targets.loihi.lower import Lowered
from spikeloom.targets.loihi.lowering.rule import Lateness
from spikeloom.targets.loihi.processes import is_and, process_of
from spikeloom.targets.loihi.program import (
    SHIFT,
    Ints,
    Process,
    Program,
    Synapses,
)
from spikeloom.targets.loihi.proofs import problems_of
from spikeloom.targets.loihi.slots import Slots


def assemble(lowered: Lowered) -> Program:
    """The program of a lowered network.

    Raises:
        UnsupportedError: SL0503, a current could leave 24 bits; SL0504, a number has no register;
            SL0603, a path is longer than synapses can wait.
    """
    network = lowered.network
    synapses = tuple(_synapses(lowered, number) for number in range(len(network.projections)))
    return _proved(lowered, replace(assemble_processes(lowered), synapses=synapses))


def assemble_processes(lowered: Lowered) -> Program:
    """The program without its synapses."""
    network, depth = lowered.network, lowered.timing.depth
    return Program(
        network.name,
        tuple(_slotted(lowered, one, depth[one.name]) for one in network.populations),
        (),
        network.outputs[0],
        lowered.output_bias.astype(np.int64),
        lowered.sums_over_time,
        network.steps,
        lowered.remembers,
    )


def assemble_part(lowered: Lowered, inner: Collection[str], sources: Collection[str], end: str) -> Program:
    """The program of some populations, with inputs in the place of what drives them.

    Args:
        lowered: the whole network.
        inner: populations that are executed.
        sources: populations that drive them.
        end: the one of ``inner`` whose messages are looked at.

    Raises:
        UnsupportedError: as :func:`assemble`.
    """
    network, depth = lowered.network, lowered.timing.depth
    start = min(depth[name] for name in sources)
    processes = [
        replace(_slotted(lowered, one, depth[one.name] - start), layer="")
        if one.name in inner
        else Process(
            one.name, one.shape, "input", depth=depth[one.name] - start, bias=np.zeros(one.size, np.int64)
        )
        for one in network.populations
        if one.name in inner or one.name in sources
    ]
    numbers = (number for name in inner for number in network.into(name))
    synapses = tuple(_synapses(lowered, number) for number in sorted(numbers))
    bias = np.zeros(1, np.int64)
    name, steps, remembers = network.name, network.steps, lowered.remembers
    program = Program(name, tuple(processes), synapses, end, bias, steps=steps, remembers=remembers)
    return _proved(lowered, program)


def _proved(lowered: Lowered, program: Program) -> Program:
    messages = {one.name: one.bounds for one in lowered.network.populations}
    if problems := list(problems_of(program, messages)):
        raise UnsupportedError(problems)
    return program


def _slotted(lowered: Lowered, one: Population, depth: int) -> Process:
    """A process, and the slots in which it takes and sends.

    Outside of streams everything works in slot 0, where alone something arrives; what would send without
    that, or change its state, must wait.
    """
    process = replace(process_of(lowered, one, depth), late=one.late)
    if lowered.remembers and _starts_by_itself(process):
        process = replace(process, waits=True)
    slots = lowered.slots.get(one.name, Slots(None, None, one.late))
    if lowered.network.steps == 1 or slots is None:
        return process
    if one.name not in lowered.slots and not one.late and not _must_wait(process):
        return process
    takes, sends = slots.of(one.shape)
    return replace(process, takes=takes, sends=sends)


def _starts_by_itself(process: Process) -> bool:
    """Whether it may send something before anything has arrived."""
    if process.rescaling is not None and process.rescaling.of(np.zeros((process.size, 1), np.int64)).any():
        return True
    constant = process.bias if process.coding is None else process.coding.bias
    return bool(process.bias.any() or constant.any() or process.threshold.min() < 0)


def _must_wait(process: Process) -> bool:
    if process.model in ("lif", "counter"):
        return bool(process.layer)
    return process.model in ("relay", "readout") or bool(process.bias.any())


def _synapses(lowered: Lowered, number: int) -> Synapses:
    """Every synapse with a weight, by target."""
    projection, late = lowered.network.projections[number], lowered.late.get(number)
    found = expand(projection, Box(tuple((0, size) for size in projection.target_sizes)))
    digits, exponent = _scale(lowered, projection)
    weights = _weights(lowered.graph, lowered.network, projection)[found.weight] << digits
    kept = np.flatnonzero(weights)
    order = kept[np.argsort(found.target[kept], kind="stable")]
    count = prod(projection.target_sizes)
    return Synapses(
        projection.source,
        projection.target,
        0 if is_and(lowered, projection.target) else projection.port,
        lowered.timing.delays[(projection.source, projection.target)],
        np.concatenate([[0], np.bincount(found.target[order], minlength=count).cumsum()]).astype(np.int64),
        found.source[order],
        weights[order],
        max(abs(bound) for bound in lowered.network.population(projection.source).bounds),
        exponent,
        np.zeros(0, np.int64) if late is None else _late(late, found, lowered.network.steps)[order],
    )


def _late(late: Lateness, found: Expanded, steps: int) -> Ints:
    """[synapses] chip steps by which each is late by network steps."""
    sent = late.sent[found.source] if late.sent.ndim else late.sent
    taken = late.taken.reshape(-1)[found.target] if late.taken.ndim else late.taken
    total: Ints = np.broadcast_to((sent + taken) * steps, found.source.shape).astype(np.int64)
    return total


def _scale(lowered: Lowered, projection: Projection) -> tuple[int, int]:
    """Digits by which weights are shifted when they are stored, and by which the sum is shifted back.

    A neuron with seven fraction digits takes one of them from its weights: w is stored as 2w. What
    is not a neuron gets 2w as well where signs are mixed, with a weight exponent of -1; so does a neuron
    of six digits that has odd weights of both signs.
    """
    origin = lowered.origins.get(projection.target)
    if is_and(lowered, projection.target):
        return 1, 0
    weights = _weights(lowered.graph, lowered.network, projection)
    mixed = weights.min() < 0 < weights.max()
    if origin is not None and isinstance(origin.op, SigmaDelta | Resonator):
        return (1, -1) if mixed and (weights & 1).any() else (0, 0)
    if lowered.network.population(projection.target).role == "neuron":
        op = neuron_of(origin)
        digits = 1 if op is None else op.fraction_bits - SHIFT
        return (1, -1) if mixed and digits == 0 and (weights & 1).any() else (digits, 0)
    return (1, -1) if mixed else (0, 0)


def _weights(graph: Graph, network: Network, projection: Projection) -> Ints:
    kernel = network.kernel(projection.kernel)
    if not kernel.tensor:
        return np.ones(prod(kernel.shape), np.int64)
    node, _, field = kernel.tensor.rpartition("/")
    weights: Ints = np.asarray(getattr(graph.node(node).op, field)).astype(np.int64).ravel()
    return weights
