"""The networks as modules of torch, for the peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from spikeloom.benchmarks.floats import following_bias, threshold
from spikeloom.benchmarks.networks import BenchNetwork
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose

# A factory of a neuron layer: from a threshold to a module that takes currents [steps, batch, ...] to spikes
# of the same shape, from rest in each call.
MakeNeuron = Callable[[float], nn.Module]


def torch_network(network: BenchNetwork, make_neuron: MakeNeuron) -> Any:
    """The network as a module of torch: frames [steps, batch, ...] to outputs [steps, batch, ...].

    What has no state runs on steps * batch pictures at once. Biases of neurons are those of the layer
    before them where it can have one.
    """
    graph = network.graph

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(
                make_neuron(threshold(node.op))
                if isinstance(node.op, IntegerNeuron)
                else _torch_op(graph, node)
                for node in graph.nodes
            )

        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            steps, batch = frames.shape[:2]
            values = {graph.inputs[0]: frames.flatten(0, 1)}
            for node, part in zip(graph.nodes, self.parts, strict=True):
                inputs = [values[name] for name in node.inputs]
                if isinstance(node.op, IntegerNeuron):
                    x = inputs[0].reshape(steps, batch, *inputs[0].shape[1:])
                    values[node.output] = part(x).flatten(0, 1)
                else:
                    values[node.output] = part(*inputs)
            y = values[graph.outputs[0]]
            return y.reshape(steps, batch, *y.shape[1:])

    return Network().eval().requires_grad_(False)


class _Call(nn.Module):
    """A function as a module, with a bias that is added to what it returns."""

    def __init__(self, function: Any, bias: Array | None) -> None:
        super().__init__()
        self.function = function
        self.bias = None if bias is None else torch.from_numpy(bias)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Call it."""
        y: torch.Tensor = self.function(*inputs)
        return y if self.bias is None else y + self.bias


def _torch_op(graph: Graph, node: Node) -> nn.Module:
    """A module of inputs [steps * batch, ...].

    Raises:
        TypeError: no benchmark network has such an operation.
    """
    bias, op = following_bias(graph, node), node.op
    if isinstance(op, Convolution):
        return _convolution(op, bias)
    if isinstance(op, Linear):
        return _linear(op, bias)
    return _Call(_function(op), bias)


def _function(op: object) -> Any:
    if isinstance(op, MaxPool2d):
        return nn.MaxPool2d(op.kernel, op.stride, op.padding)
    if isinstance(op, MatMul):
        return torch.matmul
    if isinstance(op, Add):
        return torch.add
    if isinstance(op, Reshape):
        return lambda x: x.reshape(len(x), *op.shape)
    if isinstance(op, Transpose):
        return lambda x: x.permute(0, *(axis + 1 for axis in op.order))
    if isinstance(op, ReduceSum):
        return lambda x: x.sum([axis + 1 for axis in op.axes])
    raise TypeError(f"no peer knows {op}")


def _convolution(op: Convolution, bias: Array | None) -> nn.Module:
    kind = nn.Conv2d if op.axes == 2 else nn.Conv1d
    out, channels = op.weight.shape[:2]
    geometry = (op.kernel, op.stride, op.padding, op.dilation, op.groups)
    layer = kind(channels * op.groups, out, *geometry, bias=bias is not None)  # type: ignore[arg-type]
    _fill(layer, op.weight, bias)
    return layer


def _linear(op: Linear, bias: Array | None) -> nn.Module:
    layer = nn.Linear(op.weight.shape[1], op.weight.shape[0], bias=bias is not None)
    _fill(layer, op.weight, bias)
    return layer


def _fill(layer: nn.Conv1d | nn.Conv2d | nn.Linear, weight: Array, bias: Array | None) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight.astype(np.float32)))
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(bias.reshape(-1)))
