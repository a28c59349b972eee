"""Neuron layers: membranes, spikes and their count in one pass."""

from __future__ import annotations

from dataclasses import MISSING, fields
from math import gcd

import numpy as np

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.runtime.engines.event.kernels.neuron import fire_graded, fire_one_level
from spikeloom.runtime.engines.event.memory import arranged, memory_axes, split_rows, spread
from spikeloom.runtime.engines.event.plan import Call, Layout, Moment, Planner
from spikeloom.runtime.engines.event.rules import Arrays, plans

_KNOWN = {
    "theta", "bias", "decay", "fraction_bits", "current_decay", "reset", "reset_by", "state_bits", "horizon",
}  # fmt: skip
_EXACT_FLOAT32 = 2**24
_INT32 = 2**31


@plans(IntegerNeuron)
def integer_neuron(planner: Planner, node: Node, op: IntegerNeuron, inputs: Arrays) -> Arrays | None:
    """The kernel for one level where it suffices, else the one for all of them."""
    (x,) = inputs
    if x.dtype not in (np.uint8, np.int32) or op.state_bits > 32 or op.levels > 255 or not _is_known(op):
        return None
    x = planner.dense(x)
    axes = memory_axes(x)
    shape = arranged(x, axes).shape[2:]
    kind = planner.graph.types[node.inputs[0]]
    full = [_in_memory(array, kind.shape, axes) for array in (op.theta[0], op.bias, _reset_by(op))]
    rows, columns = split_rows(shape, *full)
    constants = {
        "theta": np.stack([spread(theta, kind.shape, axes, columns) for theta in op.theta]),
        "bias": spread(op.bias, kind.shape, axes, columns),
        "reset_by": spread(_reset_by(op), kind.shape, axes, columns),
    }
    spikes = planner.take(node.output, axes, np.uint8)
    lead = (planner.steps, planner.samples, rows, columns)
    ends = (arranged(x, axes).reshape(lead), arranged(spikes, axes).reshape(lead))
    for name in op.states(kind):
        planner.shared.layouts[f"{node.name}/{name}"] = Layout(np.int32, axes, (rows, columns))
    make = _one_level if _is_plain(op) else _graded
    if _is_plain(op) and not op.initial(kind)["v"].any():
        planner.shared.rested.add(f"{node.name}/v")
    planner.calls.append(make(node, op, kind, constants, *ends))
    return (spikes,)


def _is_known(op: IntegerNeuron) -> bool:
    """Whether the kernels know every setting that the neuron makes use of."""
    return all(
        entry.name in _KNOWN or (entry.default is not MISSING and getattr(op, entry.name) == entry.default)
        for entry in fields(op)
    )


def _is_plain(op: IntegerNeuron) -> bool:
    """One level, the input as current, and a soft reset by what a spike needs at least."""
    by = (
        op.reset_by is None or (np.broadcast_arrays(op.reset_by, op.theta[0] + 1)[0] == op.theta[0] + 1).all()
    )
    return op.levels == 1 and op.current_decay is None and bool(by)


def _reset_by(op: IntegerNeuron) -> Array:
    return np.zeros((), np.int64) if op.reset_by is None else op.reset_by


def _in_memory(parameter: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    return parameter.reshape((1,) * (len(shape) - parameter.ndim) + parameter.shape).transpose(axes)


def _one_level(
    node: Node, op: IntegerNeuron, kind: Type, constants: dict[str, Array], x: Array, spikes: Array
) -> Call:
    theta = np.minimum(constants["theta"][0], _INT32 - 1).astype(np.int32)  # nothing is above it
    bias = constants["bias"].astype(np.int32)
    share = _share(op, kind)
    gain, soft, key, output = 1 << op.fraction_bits, op.reset_by is not None, f"{node.name}/v", node.output

    def run(moment: Moment) -> None:
        v, rested, counts = moment.state[key], key in moment.rested, moment.counts[output]
        fire_one_level(x, v, theta, bias, soft, share, gain, rested, spikes, counts)

    return run


def _share(op: IntegerNeuron, kind: Type) -> Array:
    """What a leak keeps, in a type that holds its product with every potential."""
    keep = DECAY_ONE - op.decay
    low, high = op.potential_bounds(kind)
    widest = max(-low, high) * (keep // gcd(keep, DECAY_ONE) if keep else 1)
    return np.array([keep / DECAY_ONE], np.float32 if widest <= _EXACT_FLOAT32 else np.float64)


def _graded(
    node: Node, op: IntegerNeuron, kind: Type, constants: dict[str, Array], x: Array, spikes: Array
) -> Call:
    theta, bias, reset_by = (constants[name].astype(np.int64) for name in ("theta", "bias", "reset_by"))
    keeps = np.array([0 if op.current_decay is None else DECAY_ONE - op.current_decay, DECAY_ONE - op.decay])
    unused = np.zeros(x.shape[1:], np.int32) if op.current_decay is None else None
    soft, digits, key, output = op.reset_by is not None, op.fraction_bits, node.name, node.output

    def run(moment: Moment) -> None:
        u = moment.state[f"{key}/u"] if unused is None else unused
        v, counts = moment.state[f"{key}/v"], moment.counts[output]
        fire_graded(x, u, v, theta, bias, reset_by, soft, keeps, digits, spikes, counts)

    return run
