"""Convolutions and linear maps: their weights on the target's grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Node, Unit
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.time_mean import TimeMean
from spikeloom.compiler.quantize.driven import driven_neuron
from spikeloom.compiler.quantize.rule import rule
from spikeloom.compiler.quantize.streams import HEADROOM, compact
from spikeloom.compiler.quantize.walk import (
    MAX_RANGE,
    MIN_RANGE,
    LayerGrid,
    NoIntegerFormError,
    Rounded,
    Settings,
    Walk,
)
from spikeloom.compiler.quantize.weights import (
    Fired,
    GridWeights,
    free_steps,
    grouped_steps,
    round_weights,
    shared_step,
    trained_grid,
)

EXACT_FLOAT32 = 2**24
FAR_APART = 4.0
"""How much larger the weights of spikes that come back may be than those of a layer's inputs' integers."""
LARGEST_SUM = 2**30
FEWEST_DIGITS = 2**4
"""An input that would have to be narrowed further keeps its digits; the sum behind it is rescaled instead."""


@rule(Convolution, Linear)
def weights(walk: Walk, op: Convolution | Linear, node: Node) -> None:
    """Rounded weights; the bias goes into the offset of the unit, or into the sums of a readout."""
    name, x, op = _weighted_input(walk, op, node)
    scale = float(x.scale.reshape(()))
    reads_out = _reads_out(walk, node)
    fired = None if reads_out else _fired(walk, node)
    grid = _grid(walk, node, op.weight, fired, scale, reads_out)
    shape = (-1, *(1,) * op.axes) if isinstance(op, Convolution) else (-1,)
    steps = grid.steps.reshape(shape)
    bias: Array = np.zeros_like(steps) if op.bias is None else op.bias.astype(np.float64).reshape(shape)
    if np.any(x.offset != 0):
        per_output = grid.steps.reshape(-1, *(1,) * (op.weight.ndim - 1))
        rounded = replace(op, weight=grid.integers * per_output / scale, bias=None)
        bias = bias + _weighted_offset(walk, rounded, x.offset, node)
    if reads_out and bias.size == len(grid.steps):
        integer_bias = np.rint(bias / steps).astype(np.int32).reshape(-1)
        quantized = replace(op, weight=grid.integers, bias=integer_bias)
        walk.append(node, quantized, [name], Unit(grid.steps[:1], np.zeros(())))
    else:
        walk.append(
            node,
            replace(op, weight=grid.integers, bias=None),
            [name],
            Unit(compact(steps), compact(bias)),
        )


def _weighted_offset(walk: Walk, op: Convolution | Linear, offset: Array, node: Node) -> Array:
    """What a layer makes of the offset of its input: a number a channel, or one a position.

    Its weights are the rounded ones, so that an input of 0.0 stays nothing, whatever its byte.
    """
    if offset.size == 1 and not (isinstance(op, Convolution) and any(op.padding)):
        sums: Array = op.weight.reshape(len(op.weight), -1).sum(1)
        after = op.axes if isinstance(op, Convolution) else 0
        return sums.reshape(-1, *(1,) * after) * float(offset.reshape(()))
    full = np.broadcast_to(offset, walk.graph.types[node.inputs[0]].shape)
    return compact(op.evaluate(full[None])[0][0])


def _weighted_input(
    walk: Walk, op: Convolution | Linear, node: Node
) -> tuple[str, Unit, Convolution | Linear]:
    """The input of a layer in a scalar unit, and so narrow that no sum overflows its accumulator.

    Zeros that a convolution would pad an input of bytes with are not the byte that stands for 0:
    such an input is padded by a node of its own. Where a potential behind the layer would overflow,
    a wide input gives digits away before the weights do.
    """
    x = walk.unit(node.inputs[0])
    name = walk.names[node.inputs[0]]
    reach = max(map(abs, walk.builder.types[name].kind.bounds))
    weights = op.weight.reshape(len(op.weight), -1).astype(np.float64)
    largest = np.maximum(np.abs(weights).max(1), 1e-300)
    fan_in = max(1.0, float((np.abs(weights).sum(1) / largest).max()) * walk.grid_of(node).largest_weight)
    if reach >= MIN_RANGE and walk.profile.short_of_overflow / fan_in < FEWEST_DIGITS:
        walk.wide.add(node.name)
    largest_sum = walk.profile.largest_sum if walk.profile.rescales else LARGEST_SUM
    limit = int(np.clip(min(EXACT_FLOAT32, largest_sum) / fan_in, MIN_RANGE, MAX_RANGE))
    must = x.scale.size != 1 or float(x.scale.reshape(-1)[0]) <= 0 or fan_in * reach >= largest_sum
    if not must and node.name in walk.halvings and walk.profile.rescales and reach > limit:
        must = True
        limit = int(np.clip(walk.profile.short_of_overflow / fan_in, MIN_RANGE, MAX_RANGE))
        walk.narrowed.add(node.name)
    if must:
        peak = walk.activity.peaks[node.inputs[0]] or 1.0
        name, x = walk.rescaled(node, node.inputs[0], HEADROOM * peak / limit, limit)
        return name, x, op
    zero = -x.offset / x.scale
    pads = isinstance(op, Convolution) and any(op.padding)
    if pads and zero.size == 1 and zero != 0 and zero == np.rint(zero):
        assert isinstance(op, Convolution)
        widths = (0, *op.padding)
        padding = Pad(widths, widths, float(zero.reshape(())))
        (name,) = walk.builder.add(f"{node.name}.pad", padding, name, source=node.source)
        walk.units[name] = x
        op = replace(op, padding=(0,) * op.axes)
    return name, x, op


def _reads_out(walk: Walk, node: Node) -> bool:
    """Whether the sums of a layer are the network's answer, perhaps summed over time."""
    name = node.output
    while name not in walk.graph.outputs:
        users = walk.graph.consumers.get(name, ())
        if len(users) != 1 or not isinstance(users[0].op, (Accumulate, LeakySum, TimeMean, Reshape)):
            return False
        name = users[0].output
    return True


def _fired(walk: Walk, node: Node) -> Fired | None:
    """The neuron that the sums of a layer drive; None if they drive none alone."""
    neuron = driven_neuron(walk.graph, node)
    if neuron is not None:
        assert isinstance(neuron.op, Neuron | FeedbackNeuron)
        return Fired(neuron.op.threshold / neuron.op.gain)
    if walk.profile.rescales or node.name in walk.group_of:
        return None
    if any(isinstance(user.op, Add) for user in walk.graph.consumers.get(node.output, ())):
        raise NoIntegerFormError(
            "SL0502",
            "its sums are added to others before a neuron fires, each of another scale",
            "compile for the target onnx, which rescales them",
        )
    raise NoIntegerFormError("SL0501", "its sums drive neither one neuron layer nor an output alone")


def _grid(
    walk: Walk, node: Node, weight: Array, fired: Fired | None, scale: float, reads_out: bool
) -> GridWeights:
    """The rounded weights of a layer; those of the walk before, where nothing has changed."""
    halvings = walk.halvings.get(node.name, 0) - (node.name in walk.narrowed)
    settings = (fired, scale, reads_out, halvings, walk.shared.get(node.name, 0.0))
    rounded = walk.rounded.get(node.name)
    if rounded is None or rounded.settings != settings:
        rounded = _round(walk, node, weight.astype(np.float64) * scale, settings)
        walk.rounded[node.name] = rounded
    if rounded.wanted is not None:
        walk.wanted[node.name] = rounded.wanted
    walk.grids.append(rounded.report)
    walk.steps[node.name] = rounded.grid.steps / scale
    return rounded.grid


def _round(walk: Walk, node: Node, weight: Array, settings: Settings) -> Rounded:
    """Steps and integers of weights [output channels, ...] that are in units of their input's integers."""
    fired, scale, reads_out, halvings, shared = settings
    moment = walk.activity.moments[node.name] / scale**2
    profile, within = walk.grid_of(node), walk.rounding.within
    joint = node.name in walk.group_of
    seen, spread = _beside_the_way_back(walk, node, weight, moment)
    free = profile.threshold_groups is None and not reads_out and halvings == 0 and seen is weight
    grid = trained_grid(weight, profile) if free else None
    taken_over, wanted = grid is not None, None
    if grid is None:
        if joint or reads_out:
            steps = shared_step(seen, spread, profile, 2.0**halvings, within)
        elif fired is None or profile.threshold_groups is None:
            steps = free_steps(seen, spread, profile, 2.0**halvings, within)
        else:
            steps = grouped_steps(seen, spread, fired, profile, 2.0**halvings, within)
        if joint:
            wanted = float(steps.max())
            steps = np.full_like(steps, max(shared, wanted))  # as coarse as the coarsest of them needs
        grid = round_weights(weight, steps, moment, profile)
    integers = grid.integers.astype(int)
    largest = int(np.abs(integers).max())
    bits = profile.weight_bits
    if taken_over:
        bits = max(2, 1 + int(max(integers.max(), -1 - integers.min())).bit_length())
    kinds = len(np.unique(grid.steps))
    report = LayerGrid(node.name, bits, largest, kinds, grid.error, halvings, taken_over)
    return Rounded(settings, grid, report, wanted)


def _beside_the_way_back(walk: Walk, node: Node, weight: Array, moment: Array) -> tuple[Array, Array]:
    """The weights of a layer and the mean squares of its inputs, with those of spikes that come back.

    What arrives at a recurrent layer from both sides counts in one unit, so the two choose it together; but
    where an input of many levels makes for a unit so fine that the spikes' weights would be too large, the
    sums are rescaled behind the layer.
    """
    users = walk.graph.consumers.get(node.output, ())
    op = users[0].op if len(users) == 1 else None
    on_one_axis = len(walk.graph.types[node.output].shape) == 1
    if not isinstance(op, FeedbackNeuron) or not isinstance(node.op, Linear) or not on_one_axis:
        return weight, moment
    back = op.weight if op.weight.ndim == 2 else np.diag(np.broadcast_to(op.weight, len(weight)))
    if walk.profile.rescales and np.abs(back).max() > FAR_APART * np.abs(weight).max():
        return weight, moment
    rate = np.full(len(back), walk.activity.rates[users[0].name])
    return np.hstack([weight, back]), np.concatenate([moment, rate])
