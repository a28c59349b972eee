"""The captured graph in PyTorch: each node by the call that eager PyTorch makes.

Float results depend on which kernel computes them. This interpreter calls the same functions on
tensors of the same layout as eager PyTorch does for a single time step, and keeps each neuron's
own Python; so the two must agree to the last bit, and where they do not, the capture is wrong.
"""

from __future__ import annotations

import copy
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spikeloom.compiler.frontends.torch.along_time import Past, advance
from spikeloom.compiler.frontends.torch.axes import Lead
from spikeloom.compiler.frontends.torch.capture import Capture
from spikeloom.compiler.frontends.torch.libraries.held import holding
from spikeloom.compiler.frontends.torch.neurons import (
    find_neurons,
    holders,
    library_of,
    potential,
    reset_states,
    spikes_of,
)
from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.op import Array, Op, StatefulOp
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.avg_pool2d import AvgPool2d
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.broadcast import Broadcast
from spikeloom.compiler.graph.ops.clip import Clip
from spikeloom.compiler.graph.ops.concat import Concat
from spikeloom.compiler.graph.ops.conv1d import Conv1d
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.divide import Divide
from spikeloom.compiler.graph.ops.elementwise import Elementwise
from spikeloom.compiler.graph.ops.embedding import Embedding
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.layer_norm import LayerNorm
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.mean import Mean
from spikeloom.compiler.graph.ops.mul import Mul
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.ops.pad import Pad
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.slice import Slice
from spikeloom.compiler.graph.ops.softmax import Softmax
from spikeloom.compiler.graph.ops.split import Split
from spikeloom.compiler.graph.ops.time_mean import TimeMean
from spikeloom.compiler.graph.ops.transpose import Transpose
from spikeloom.compiler.graph.ops.upsample2d import Upsample2d


class TorchInterpreter:
    """Executes a captured graph in PyTorch, one time step at a time.

    Its neurons are copies of the model's own modules; the model is not touched.
    """

    def __init__(self, capture: Capture) -> None:
        self._graph = capture.graph
        self._leads = capture.leads
        self._divisors = capture.divisors
        self._joint = capture.joint
        self._readouts = capture.readouts
        self._volumes = capture.volumes
        self._is_stepped = capture.steppable
        weights = {id(weight): weight for weight in capture.model.parameters()}  # shared: nothing learns here
        self._model = copy.deepcopy(capture.model, weights)
        self._neurons: dict[str, Any] = dict(find_neurons(self._model))
        self._past: dict[str, list[Tensor]] = {}
        self._memory: dict[str, Past] = {}
        self._steps_done = 0
        self._values: dict[str, Tensor] = {}

    def reset(self) -> None:
        """Put every neuron back to its start, and forget what was summed over time."""
        reset_states(self._model)
        self._past, self._memory, self._steps_done = {}, {}, 0

    def potential(self, path: str) -> Tensor | None:
        """The membrane potential [batch, ...] of a neuron layer after the last step, if it has one."""
        return potential(self._neurons[path])

    @torch.no_grad()
    def step(self, frame: Tensor) -> dict[str, Tensor]:
        """Run one time step on a frame [batch, ...]; returns every value, [batch, ...]."""
        self._values = values = {self._graph.inputs[0]: frame}
        for node in self._graph.nodes:
            arguments = [self._view(values[name], self._leads[node.name]) for name in node.inputs]
            results = self._call(node, arguments)
            values.update(
                {
                    name: result.reshape(len(frame), *self._graph.types[name].shape)
                    for name, result in zip(node.outputs, results, strict=True)
                }
            )
        self._steps_done += 1
        return values

    def _call(self, node: Node, arguments: list[Tensor]) -> tuple[Tensor, ...]:
        if isinstance(node.op, (Neuron, EquationNeuron, FeedbackNeuron)):
            with holding(holders(self._neurons[node.name])):
                return (spikes_of(self._neurons[node.name](arguments[0])),)
        if isinstance(node.op, (TimeMean, Accumulate)):
            seen = self._past.setdefault(node.name, [])
            if self._steps_done >= self._graph.lateness[node.output]:
                seen.append(arguments[0])
            if not seen:
                return (torch.zeros_like(arguments[0]),)
            axis = 1 if self._leads[node.name] is Lead.BATCH_TIME else 0
            return (self._over_time(node, node.name, (axis,)),)
        if node.name in self._volumes and isinstance(node.op, Conv2d):
            return (_volume(node.op, arguments[0], self._volumes[node.name]),)
        if node.name in self._readouts:
            return (self._read_out(node, arguments[0]),)
        if isinstance(node.op, StatefulOp):
            past = self._memory.setdefault(node.name, {})
            return (advance(node.op, self._leads[node.name].axes, past, *arguments),)
        if node.name in self._joint and self._past[self._joint[node.name][0]]:
            return (self._over_time(node, *self._joint[node.name]),)
        if node.name in self._divisors:  # a product with the reciprocal would round differently
            return (arguments[0] / _tensor(self._divisors[node.name]),)
        lead = self._leads[node.name].axes
        return tuple(call(node.op, lead, *arguments))

    def _read_out(self, node: Node, driven: Tensor) -> Tensor:
        """The potential of the model's own neuron, from the current before it."""
        before, path = self._readouts[node.name]
        current = self._values[self._graph.node(before).inputs[0]]
        module = self._neurons[path]
        has_spikes = path in self._values  # then it was called in this step
        if not has_spikes and (driven.any() or self._steps_done >= self._graph.lateness[node.output]):
            with holding(holders(module)):
                module(current if library_of(module).one_step(module) else current.unsqueeze(0))
        v = potential(module)
        return torch.zeros_like(current) if v is None else v

    def _over_time(self, node: Node, summed: str, axes: tuple[int, ...]) -> Tensor:
        """A reduction of all steps so far in one call, as PyTorch does it."""
        steps = torch.cat(self._past[summed], 1 if self._leads[summed] is Lead.BATCH_TIME else 0)
        return steps.mean(axes) if isinstance(node.op, (TimeMean, Mean)) else steps.sum(axes)

    def _view(self, x: Tensor, lead: Lead) -> Tensor:
        """One step of a batch with the axes with which eager PyTorch holds it."""
        if lead in (Lead.FOLDED, Lead.FOLDED_BATCH_FIRST) and not self._is_stepped:
            return _one_of_several(x)
        if lead is Lead.TIME_BATCH:
            return x.unsqueeze(0)
        return x.unsqueeze(1) if lead is Lead.BATCH_TIME else x


def _one_of_several(x: Tensor) -> Tensor:
    """A single row with the stride that one of several has: by it PyTorch chooses how it convolves."""
    if len(x) != 1 or x.ndim < 2:
        return x
    reach = max(size * stride for size, stride in zip(x.shape[1:], x.stride()[1:], strict=True))
    return x.as_strided(x.shape, (reach, *x.stride()[1:]), x.storage_offset())


@singledispatch
def call(op: Op, lead: int, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Call the PyTorch function of an operation; ``lead`` axes stand before a sample's own."""
    raise TypeError(f"{op.name} does not occur in a captured graph")


def _tensor(array: Array | None) -> Any:
    return None if array is None else torch.from_numpy(np.array(array))


@call.register
def _(op: Conv1d, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (
        functional.conv1d(
            x, _tensor(op.weight), _tensor(op.bias), op.stride, op.padding, op.dilation, op.groups
        ),
    )


@call.register
def _(op: Conv2d, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (
        functional.conv2d(
            x, _tensor(op.weight), _tensor(op.bias), op.stride, op.padding, op.dilation, op.groups
        ),
    )


def _volume(op: Conv2d, x: Tensor, time: int) -> Tensor:
    """A convolution over [B, channels, height, width] as PyTorch does it with an axis of one step more."""

    def among(pair: tuple[int, ...], own: int) -> tuple[int, ...]:
        return (*pair[:time], own, *pair[time:])

    y: Tensor = functional.conv3d(
        x.unsqueeze(2 + time),
        _tensor(op.weight).unsqueeze(2 + time),
        _tensor(op.bias),
        among(op.stride, 1),
        among(op.padding, 0),
        among(op.dilation, 1),
        op.groups,
    )
    return y.squeeze(2 + time)


@call.register
def _(op: Linear, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.linear(x, _tensor(op.weight), _tensor(op.bias)),)


@call.register
def _(op: BatchNorm, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    gain, bias, mean, variance = (_tensor(array) for array in (op.gain, op.bias, op.mean, op.variance))
    return (functional.batch_norm(x, mean, variance, gain, bias, False, 0.0, op.epsilon),)


@call.register
def _(op: MaxPool2d, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    pooled = functional.max_pool2d(x.flatten(0, lead - 1), op.kernel, op.stride, op.padding)
    return (pooled.reshape(*x.shape[:lead], *pooled.shape[1:]),)


@call.register
def _(op: Affine, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    scaled = x if (op.scale == 1).all() else x * _tensor(op.scale)
    return (scaled if (op.offset == 0).all() else scaled + _tensor(op.offset),)


@call.register
def _(op: Add, lead: int, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return (a + b,)


@call.register
def _(op: MatMul, lead: int, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return (a @ b,)


@call.register
def _(op: Mean, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (x.mean([axis + lead for axis in op.axes]),)


@call.register
def _(op: ReduceSum, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (x.sum([axis + lead for axis in op.axes]),)


@call.register
def _(op: Reshape, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (x.reshape(*x.shape[:lead], *op.shape),)


@call.register
def _(op: Transpose, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (x.permute(*range(lead), *(axis + lead for axis in op.order)),)


@call.register
def _(op: Split, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.split(x, list(op.sizes), op.axis + lead))


@call.register
def _(op: Concat, lead: int, *inputs: Tensor) -> tuple[Tensor, ...]:
    return (torch.cat(inputs, op.axis + lead),)


@call.register
def _(op: Mul, lead: int, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return (a * b,)


@call.register
def _(op: Broadcast, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (x.expand(*x.shape[:lead], *op.shape),)


@call.register
def _(op: Slice, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    index = (slice(None),) * (op.axis + lead)
    return (x[(*index, slice(op.start, op.stop, op.step))],)


@call.register
def _(op: Pad, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    pairs = list(zip(op.before, op.after, strict=True))
    widths = [width for pair in reversed(pairs) for width in pair]
    return (functional.pad(x, widths, value=op.value),)


@call.register
def _(op: AvgPool2d, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.avg_pool2d(x, op.kernel, op.stride, op.padding, False, op.count_include_pad),)


@call.register
def _(op: Upsample2d, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (functional.interpolate(x, scale_factor=[float(factor) for factor in op.scale]),)


FUNCTIONS: dict[str, Any] = {
    "abs": torch.abs,
    "elu": functional.elu,
    "exp": torch.exp,
    "gelu": functional.gelu,
    "logsigmoid": functional.logsigmoid,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "softplus": functional.softplus,
    "square": torch.square,
    "tanh": torch.tanh,
}


@call.register
def _(op: Elementwise, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (FUNCTIONS[op.function](x),)


@call.register
def _(op: Clip, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (x.clamp(op.lo, op.hi),)


@call.register
def _(op: Divide, lead: int, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    return (a / b,)


@call.register
def _(op: LayerNorm, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    gain = _tensor(op.gain)
    if not op.centred:
        return (functional.rms_norm(x, gain.shape, gain, op.epsilon),)
    return (functional.layer_norm(x, gain.shape, gain, _tensor(op.bias), op.epsilon),)


@call.register
def _(op: Softmax, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    if op.kept is not None:
        x = x.masked_fill(~torch.from_numpy(op.kept), float("-inf"))
    return (x.softmax(op.axis + lead),)


@call.register
def _(op: Embedding, lead: int, x: Tensor) -> tuple[Tensor, ...]:
    return (_tensor(op.weight[x.long().numpy()]),)  # the rows alone: a table may be of any length
