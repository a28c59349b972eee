"""Neurons and membranes that never fire, for a time step of one second and explicit Euler.

With dt = 1 a decay of d parts of 4096 is tau = 4096/d, and the f fraction bits of the state are in the gains.
NIR has real numbers, so the rounding toward zero at each step is not said: it is exact where nothing decays.
A hard reset is v > theta; a soft one is v >= theta + 1 = v_threshold, which is what it subtracts.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import log2

import numpy as np

from spikeloom.compiler.frontends.nir.export.saying import (
    Details,
    NotSayableError,
    Rule,
    Said,
    described,
    full,
    narrowed,
    number,
    parameter,
)
from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.graph.ops.leaky_sum import KEEP_ONE, LeakySum
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron, is_dense

ALWAYS = -(2.0**52)
"""A threshold that every integer is above: what is above it is a constant 1."""


def _say_neuron(op: IntegerNeuron, inputs: tuple[Type, ...]) -> Said:
    shape = inputs[0].shape
    if op.levels > 1:
        raise NotSayableError("graded spikes")
    if op.reset_by is not None and (op.reset_by != op.theta[0] + 1).any():
        raise NotSayableError("a reset that subtracts something else than the threshold")
    details: Details = {
        "theta": described(op.theta),
        "bias": described(op.bias),
        "reset_by": None if op.reset_by is None else described(op.reset_by),
        "state_bits": op.state_bits,
        "horizon": op.horizon,
    }
    first = op.theta[0] if op.reset_by is None else op.reset_by
    theta, bias = (full(array, shape).astype(np.float64) for array in (first, op.bias))
    if op.current_decay is not None:
        return Said({"": _current_based(op, theta, bias)}, details=details)
    if op.decay > 0:
        tau = DECAY_ONE / op.decay
        return Said({"": NirNode("LIF", _leaky(theta, bias, tau, 2**op.fraction_bits))}, details=details)
    node = NirNode("IF", {"r": full(np.array(2.0**op.fraction_bits), shape), **_firing(theta)})
    if not bias.any():
        return Said({"": node}, details=details)
    constant = NirNode("Threshold", {"threshold": np.full(shape, ALWAYS)})
    scaled = NirNode("Scale", {"scale": bias / 2**op.fraction_bits})
    nodes = {".one": constant, ".bias": scaled, "": node}
    return Said(nodes, ((".one", ".bias"), (".bias", "")), (".one", ""), details)


def _current_based(op: IntegerNeuron, theta: Array, bias: Array) -> NirNode:
    if not op.decay or not op.current_decay:
        raise NotSayableError("a synaptic current without a leak of its own or of the potential")
    tau, tau_syn = DECAY_ONE / op.decay, DECAY_ONE / op.current_decay
    leaky = _leaky(theta, bias, tau, 1)
    del leaky["tau"]
    own = {"tau_mem": tau, "tau_syn": tau_syn, "w_in": 2**op.fraction_bits * tau_syn}
    return NirNode("CubaLIF", {**leaky, **{name: np.full(theta.shape, x) for name, x in own.items()}})


def _leaky(theta: Array, bias: Array, tau: float, gain: int) -> dict[str, Array]:
    return {
        "tau": np.full(theta.shape, tau),
        "r": np.full(theta.shape, gain * tau),
        "v_leak": bias * tau,
        **_firing(theta),
    }


def _firing(theta: Array) -> dict[str, Array]:
    return {"v_threshold": theta, "v_reset": np.zeros_like(theta)}


def _restore_neuron(nodes: Mapping[str, NirNode], details: Details) -> Op:
    node = nodes[""]
    theta = parameter(node, "v_threshold")
    current_decay: int | None = None
    if node.type == "IF":
        decay, gain = 0, parameter(node, "r").flat[0]
        bias = parameter(nodes[".bias"], "scale") * gain if ".bias" in nodes else np.zeros_like(theta)
    else:
        name = "tau" if node.type == "LIF" else "tau_mem"
        tau = parameter(node, name).flat[0]
        decay, gain = round(DECAY_ONE / tau), parameter(node, "r").flat[0] / tau
        bias = parameter(node, "v_leak") / tau
        if node.type == "CubaLIF":
            tau_syn = parameter(node, "tau_syn").flat[0]
            current_decay, gain = round(DECAY_ONE / tau_syn), parameter(node, "w_in").flat[0] / tau_syn
    soft = details["reset_by"]
    return IntegerNeuron(
        theta=narrowed(theta if soft is None else theta - 1, details["theta"]),
        bias=narrowed(bias, details["bias"]),
        decay=decay,
        fraction_bits=round(log2(gain)),
        current_decay=current_decay,
        reset="hard" if soft is None else "soft",
        reset_by=None if soft is None else narrowed(theta, soft),
        state_bits=details["state_bits"],
        horizon=details["horizon"],
    )


def _say_recurrent(op: RecurrentNeuron, inputs: tuple[Type, ...]) -> Said:
    """The neurons, and a Linear or a Scale from them to them; a Delay for each step after the first."""
    said = _say_neuron(op.neuron, inputs)
    shape = inputs[0].shape
    if is_dense(op.weight, len(shape)):
        back = NirNode("Linear", {"weight": number(op.weight)})
    else:
        back = NirNode("Scale", {"scale": number(full(op.weight, shape))})
    delay = {".wait": NirNode("Delay", {"delay": np.full(shape, op.wait - 1.0)})} if op.wait > 1 else {}
    way = ["", *delay, ".back", ""]
    nodes = {**delay, ".back": back, **said.nodes}
    details = {**said.details, "weight": described(op.weight), "wait": op.wait}
    return Said(nodes, (*said.edges, *pairwise(way)), said.entries, details)


def _restore_recurrent(nodes: Mapping[str, NirNode], details: Details) -> Op:
    plain = _restore_neuron(nodes, details)
    assert isinstance(plain, IntegerNeuron)
    back = nodes[".back"]
    weight = parameter(back, "weight" if back.type == "Linear" else "scale")
    return RecurrentNeuron(
        narrowed(weight, details["weight"]),
        plain.theta,
        plain.bias,
        plain.decay,
        plain.fraction_bits,
        plain.current_decay,
        plain.state_bits,
        plain.horizon,
        plain.reset_by,
        int(details["wait"]),
    )


def _say_leaky_sum(op: LeakySum, inputs: tuple[Type, ...]) -> Said:
    shape, tau = inputs[0].shape, KEEP_ONE / (KEEP_ONE - int(op.keep))
    bias = np.zeros(()) if op.bias is None else op.bias
    parameters = {
        "tau": np.full(shape, tau),
        "r": np.full(shape, 2**op.fraction_bits * tau),
        "v_leak": full(bias, shape) * tau,
    }
    details: Details = {"bias": None if op.bias is None else described(op.bias)}
    return Said({"": NirNode("LI", parameters)}, details=details)


def _restore_leaky_sum(nodes: Mapping[str, NirNode], details: Details) -> Op:
    tau = float(parameter(nodes[""], "tau").flat[0])
    gain = float(parameter(nodes[""], "r").flat[0]) / tau
    told = details["bias"]
    bias = None if told is None else narrowed(parameter(nodes[""], "v_leak") / tau, told)
    return LeakySum(KEEP_ONE - round(KEEP_ONE / tau), bias, round(log2(gain)))


def _say_accumulate(op: Accumulate, inputs: tuple[Type, ...]) -> Said:
    return Said({"": NirNode("I", {"r": np.ones(inputs[0].shape)})}, details={"horizon": op.horizon})


def _restore_accumulate(nodes: Mapping[str, NirNode], details: Details) -> Op:
    return Accumulate(details["horizon"])


NEURON = Rule(_say_neuron, _restore_neuron)
RECURRENT = Rule(_say_recurrent, _restore_recurrent)
LEAKY_SUM = Rule(_say_leaky_sum, _restore_leaky_sum)
ACCUMULATE = Rule(_say_accumulate, _restore_accumulate)
