"""What a population executes: its process, with the numbers of the graph's operation in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikeloom.compiler.graph.kinds import SPIKES
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.ops.resonator import Resonator
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.mapping.network import Population
from spikeloom.errors import UnsupportedError
from spikeloom.targets.loihi.groups import neuron_of
from spikeloom.targets.loihi.lower import Lowered
from spikeloom.targets.loihi.program import Coding, Ints, Process, Rescaling, Turn
from spikeloom.targets.loihi.proofs import THRESHOLD_STEP

AND_THRESHOLD = 2 * THRESHOLD_STEP
"""One spike of weight 2 lifts v to 128, which does not exceed it; two do."""


def process_of(lowered: Lowered, one: Population, depth: int) -> Process:
    """The process of a population, without slots.

    Raises:
        UnsupportedError: SL0504, a constant reaches a current that decays; SL0602, something that changes in
            every chip step stands in a network whose step takes several.
    """
    origin = lowered.origins.get(one.name)
    op = None if origin is None else origin.op
    base = Process(one.name, one.shape, "sum", depth=depth, tag=one.tag, bias=np.zeros(one.size, np.int64))
    if one.role == "input":
        return replace(base, model="input")
    if one.name in lowered.models:
        return replace(base, model=lowered.models[one.name])
    if one.role == "product":
        return _product(base, is_and(lowered, one.name))
    if isinstance(op, Resonator):
        _works_in_every_step(lowered, one)
        return _resonator(base, op)
    received = lowered.biases.get(one.name, np.zeros(()))
    if isinstance(op, SigmaDelta):
        _works_in_every_step(lowered, one)
        return replace(_coder(base, op), bias=_flat(received, one.shape))
    if one.role == "neuron":
        neuron = neuron_of(origin)
        return _any_spike(base) if neuron is None else _neuron(base, neuron, received, one.combine == "max")
    base = replace(base, bias=_flat(received, one.shape))
    if isinstance(op, Rescale):
        return replace(_relay(base, op), takes_largest=one.combine == "max")
    if isinstance(op, TimeGate):
        return replace(base, opens=(op.start, op.steps))
    if one.role == "readout":
        return replace(base, model="readout")
    return replace(base, model="largest" if one.combine == "max" else "sum")


def is_and(lowered: Lowered, name: str) -> bool:
    """Whether a population multiplies two spikes."""
    origin = lowered.origins.get(name)
    if origin is None or lowered.network.population(name).role != "product":
        return False
    return all(kind.kind == SPIKES for kind in lowered.graph.input_types(origin))


def _works_in_every_step(lowered: Lowered, one: Population) -> None:
    if lowered.network.steps > 1:
        what = "works in every chip step, and the network takes several for a step of attention"
        raise UnsupportedError.of("SL0602", one.name, what, remedy='compile it with --attention "at once"')


def _product(base: Process, of_spikes: bool) -> Process:
    """A product neuron; of two spikes a LIF that two spikes lift over its threshold and one does not.

    What one spike leaves in it is less than a 4096th of 64 state units in the next step: nothing.
    """
    if not of_spikes:
        return replace(base, model="product")
    threshold = np.full((1, base.size), AND_THRESHOLD, np.int64)
    return replace(base, model="lif", threshold=threshold, decay=DECAY_ONE - 1)


def _any_spike(base: Process) -> Process:
    """An OR of spikes: whatever arrives lifts v from 0 over 64 units."""
    threshold = np.full((1, base.size), THRESHOLD_STEP, np.int64)
    return replace(base, model="lif", threshold=threshold, decay=0)


def _neuron(base: Process, op: IntegerNeuron, received: Array, takes_largest: bool) -> Process:
    """The chip's LIF where it does, else a neuron program; what arrives as a constant is a bias."""
    constant = received.astype(np.int64) << op.fraction_bits
    if op.current_decay is not None and constant.any():
        raise UnsupportedError.of(
            "SL0504",
            base.name,
            "a constant reaches a current that decays, and the chip adds its bias behind that",
            remedy="put the bias of the layer before into the neuron, or remove it",
        )
    plain = op.levels == 1 and op.reset == "hard" and not takes_largest
    return replace(
        base,
        model="lif" if plain else "counter",
        layer=base.name,
        bias=_flat(constant + op.bias, base.shape),
        threshold=np.stack([_flat(theta, base.shape) for theta in op.theta]),
        decay=op.decay,
        current_decay=DECAY_ONE if op.current_decay is None else op.current_decay,
        reset_by=None if op.reset_by is None else _flat(op.reset_by, base.shape),
        takes_largest=takes_largest,
        keeps_current=op.current_decay is not None,
    )


def _coder(base: Process, op: SigmaDelta) -> Process:
    coding = Coding(
        _flat(op.bias, base.shape),
        op.threshold,
        op.output_shift,
        op.input_shift,
        op.integrates,
        op.rectifies,
        op.limit,
    )
    return replace(base, model="sigma_delta", keeps_current=op.integrates, coding=coding)


def _resonator(base: Process, op: Resonator) -> Process:
    turn = Turn(op.cosine, op.sine, op.threshold, op.fraction_bits, op.by_phase)
    return replace(base, model="resonator", layer=base.name, keeps_current=True, turn=turn)


def _relay(base: Process, op: Rescale) -> Process:
    offset = np.zeros(()) if op.offset is None else op.offset
    rescaling = Rescaling(_flat(op.factor, base.shape), _flat(offset, base.shape), op.shift, op.lo, op.hi)
    return replace(base, model="relay", rescaling=rescaling)


def _flat(array: Array, shape: tuple[int, ...]) -> Ints:
    """[neurons] of what broadcasts against [1, *shape]."""
    flat: Ints = np.broadcast_to(array, (1, *shape)).astype(np.int64).reshape(-1)
    return flat
