"""Recurrent layers: what comes back counts in the unit of what arrives."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron, is_dense
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.thresholds import quantize_neuron
from spikeloom.compiler.quantize.walk import PLAIN, NoIntegerFormError, Walk
from spikeloom.errors import UnsupportedError

WHOLE = 1e-6
"""By how much a weight may be off a whole number of its unit and still be one."""


@rule(FeedbackNeuron)
def feedback(walk: Walk, op: FeedbackNeuron, node: Node) -> None:
    """Neurons and weights on the grid of the input.

    The layer before has chosen its steps with these weights beside its own. Where there is none, or its steps
    are far finer, the input is brought to a unit in which the weights fit, and the potential too.
    """
    name, unit = walk.names[node.inputs[0]], walk.unit(node.inputs[0])
    weight = _stored(op, walk.graph.types[node.inputs[0]].shape)
    layers = walk.layers_before(node)
    rescaled = _must_be_rescaled(walk, node, unit, weight, bool(layers))
    if rescaled:
        name, unit = _rescaled(walk, node, weight)
    integers = np.rint(_in_unit(walk, node, weight, unit)).astype(np.int64)
    largest = int(np.abs(integers).max(initial=0))
    if largest > walk.profile.largest_weight and layers and _chose_alone(walk, node):
        walk.overflow(node, f"a weight of spikes that come back is {largest} in the unit of the input")
        return
    limit = walk.profile.largest_weight
    try:
        integer, bound = quantize_neuron(node.name, op.neuron, unit, walk.profile, walk.horizon)
    except UnsupportedError as error:
        if not (_can_be_doubled(walk, node) if rescaled else walk.can_be_coarser(node)):
            raise
        _overflow(walk, node, error.problems[0].what, rescaled)  # coarser, biases and thresholds are smaller
        return
    recurrent = RecurrentNeuron(
        np.clip(integers, -limit, limit).astype(np.int8),
        integer.theta,
        integer.bias,
        integer.decay,
        integer.fraction_bits,
        integer.current_decay,
        integer.state_bits,
        integer.horizon,
        integer.reset_by,
        op.wait,
    )
    if fault := walk.overflows(recurrent, name):
        _overflow(walk, node, fault, rescaled)
        return
    walk.bounds[node.name] = bound
    walk.append(node, recurrent, [name], PLAIN)


def _overflow(walk: Walk, node: Node, reason: str, rescaled: bool) -> None:
    """In another walk, double the steps of the layers before, or the unit that the input was brought to."""
    if not rescaled:
        walk.overflow(node, reason)
        return
    if not _can_be_doubled(walk, node):
        raise NoIntegerFormError("SL0503", reason, "use a target with a wider state")
    walk.overflowing.add(node.name)
    walk.broken.update(node.outputs)


def _can_be_doubled(walk: Walk, node: Node) -> bool:
    """Whether the weights keep two bits if the unit of the input is doubled again."""
    return walk.halvings.get(node.name, 0) < walk.profile.weight_bits - 2


def _stored(op: FeedbackNeuron, shape: tuple[int, ...]) -> Array:
    """The weights; as a matrix where neurons in a row drive themselves alone."""
    weight = op.weight.astype(np.float64)
    return np.diag(np.broadcast_to(weight, shape)) if weight.ndim < 2 and len(shape) == 1 else weight


def _in_unit(walk: Walk, node: Node, weight: Array, unit: Unit) -> Array:
    """The weights as numbers of a unit."""
    if is_dense(weight, len(walk.graph.types[node.inputs[0]].shape)):
        return np.asarray(weight / np.broadcast_to(unit.scale, len(weight))[:, None])
    return np.asarray(weight / unit.scale)


def _must_be_rescaled(walk: Walk, node: Node, unit: Unit, weight: Array, has_layers: bool) -> bool:
    op = node.op
    assert isinstance(op, FeedbackNeuron)
    decays_with_the_current = op.current_decay is not None and np.any(unit.offset != 0)
    if (unit.scale <= 0).any() or decays_with_the_current:
        return True
    real = _in_unit(walk, node, weight, unit)
    largest = float(np.abs(real).max(initial=0))
    if has_layers:
        return walk.profile.rescales and largest > 2 * walk.profile.largest_weight
    spreads = walk.profile.threshold_groups is not None and unit.scale.size > 1
    off = float(np.abs(np.rint(real) - real).max(initial=0))
    return off > WHOLE or largest > walk.profile.largest_weight or spreads


def _rescaled(walk: Walk, node: Node, weight: Array) -> tuple[str, Unit]:
    """The input in a unit of which the largest weight is about the largest that the target holds.

    The unit is doubled as often as the potential overflowed in it. An input of one scalar unit stays a
    multiple of a finer one, so that what reaches a threshold exactly still does.
    """
    finest = float(np.abs(weight).max(initial=0)) / walk.profile.largest_weight
    wanted = max(walk.streams[node.inputs[0]], finest) * 2.0 ** walk.halvings.get(node.name, 0)
    before = walk.unit(node.inputs[0]).scale
    if before.size == 1 and float(before.reshape(())) >= wanted:
        wanted = float(before.reshape(())) / int(float(before.reshape(())) / wanted)
    return walk.rescaled(node, node.inputs[0], wanted, walk.profile.stream_limit)


def _chose_alone(walk: Walk, node: Node) -> bool:
    """Whether the layer before did not see these weights when it chose its steps."""
    return not isinstance(walk.graph.producers[node.inputs[0]].op, Linear)
