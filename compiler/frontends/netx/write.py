"""An integer graph as a netx file: chains of weights and neurons, as netx can express them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikeloom.compiler.frontends.netx.groups import Group, coding, firing, summing
from spikeloom.compiler.frontends.netx.registers import LONGEST_DELAY, ZERO_BYTE
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.errors import Problem, UnsupportedError

Neurons = IntegerNeuron | RecurrentNeuron | SigmaDelta | Accumulate
LEAST_WEIGHT, LARGEST_WEIGHT = -256, 255
REMEDY = "export it to lava or nir, which hold more"


def netx_bytes(graph: Graph, steps: int) -> bytes:
    """The file, which :func:`read_netx` and lava-dl's netx read; the same bytes each time.

    netx holds a chain of layers, each with one threshold, a hard reset, and biases that are multiples of
    64 state units (it fixes their exponent at 6).

    Args:
        graph: an integer graph.
        steps: time steps of a sample.

    Raises:
        UnsupportedError: SL0602, what netx cannot hold; all is listed.
    """
    import h5py

    writer = _Writer(graph)
    layers = writer.layers()
    if writer.problems:
        raise UnsupportedError(writer.problems)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", track_order=True) as file:
        for number, layer in enumerate(layers):
            _put(file.create_group(f"layer/{number}"), layer)
        file["simulation/tSample"] = steps
    return buffer.getvalue()


def _put(group: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _put(group.create_group(name), value)
        else:
            group[name] = value


@dataclass
class _Writer:
    """Walks a graph that must be a chain."""

    graph: Graph
    problems: list[Problem] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)
    weights: Node | None = None
    late: Array | None = None
    codes: bool = False

    def layers(self) -> list[dict[str, Any]]:
        """The layers as their groups; with problems, what of them there is."""
        before = self.graph.inputs[0]
        for node in self.graph.nodes:
            if node.inputs != (before,):
                self._refuse(node, "is not the next of a chain")
            before = node.outputs[0]
            self._take(node, node.op)
        return self.found

    def _take(self, node: Node, op: Op) -> None:
        if isinstance(op, Conv2d | Linear) and self.weights is None:
            self.weights = node
        elif isinstance(op, Neurons) and (self.weights is not None or not self.found):
            self.found.append(self._layer(node))
            self.weights = self.late = None
            self.codes = isinstance(op, SigmaDelta)
        elif isinstance(op, Delay) and (self.found or self.weights is not None):
            self._delay(node, op)
        elif isinstance(op, Reshape) and len(op.shape) == 1 and self.weights is None:
            self.found.append({"type": _text("flatten"), "shape": np.array(op.shape)})
        else:
            self._refuse(node, "has no layer of netx")

    def _delay(self, node: Node, op: Delay) -> None:
        """In front of neurons, as netx has it; or behind some that are at rest without an input: the same."""
        steps = np.broadcast_to(op.steps, self.graph.types[node.output].shape).reshape(-1).astype(np.float32)
        if steps.max() > LONGEST_DELAY:
            self._refuse(node, "is longer than netx's synapses wait", str(int(steps.max())))
        if self.weights is not None:
            if not isinstance(self.weights.op, Linear):
                self._refuse(node, "netx drops the delays of convolutions")
            self.late = steps
            return
        layer = self.found[-1]
        if "inFeatures" not in layer or {"bias", "delay", "weight_rec"} & {*layer}:
            self._refuse(node, "is behind neurons, and netx's delays are in front of dense ones")
        layer["delay"] = steps

    def _refuse(self, node: Node, what: str, got: str = "") -> None:
        where = f"{node.name} at {node.source}"
        wanted = "a chain of conv, dense and flatten layers, and LIF or sigma-delta neurons"
        self.problems.append(Problem("SL0602", where, what, wanted, got, REMEDY))

    def _layer(self, node: Node) -> dict[str, Any]:
        shape = np.array(self.graph.types[node.output].shape)
        if self.weights is None:
            return self._input(node, shape)
        op = self.weights.op
        assert isinstance(op, Conv2d | Linear)
        group = self._group(node, reads_input=False)
        if op.bias is not None and op.bias.any():
            self._refuse(self.weights, "has biases in front of the neurons")
        weight = self._stored(self.weights, op.weight, group)
        values = _convolution(op) if isinstance(op, Convolution) else _dense(op)
        layer = {"shape": shape, **values, "weight": weight, "neuron": group.registers}
        if isinstance(node.op, RecurrentNeuron):
            back = self._stored(node, node.op.weight, group)
            layer |= {"type": _text("dense_rec"), "weight_rec": back}
        if self.late is not None:
            layer["delay"] = self.late
            if "weight_rec" in layer:
                self._refuse(node, "is reached late, and netx delays what comes back as well")
        return layer | ({"bias": group.bias.astype(np.float32)} if group.bias.any() else {})

    def _stored(self, node: Node, weight: Array, group: Group) -> Array:
        stored = weight.astype(np.int64) << group.digits
        if stored.min() < LEAST_WEIGHT or stored.max() > LARGEST_WEIGHT:
            self._refuse(node, "has weights of more than nine bits")
        return stored.astype(np.float32)

    def _input(self, node: Node, shape: Array) -> dict[str, Any]:
        unit = self.graph.units.get(self.graph.inputs[0])
        scale, offset = (1.0, 0.0) if unit is None else (float(unit.scale), float(unit.offset))
        group = self._group(node, reads_input=True)
        if group.digits or group.bias.any() or isinstance(node.op, Accumulate | RecurrentNeuron):
            self._refuse(node, "reads the input, and has a bias or other than six fraction digits")
        zero = -offset / scale - (ZERO_BYTE if isinstance(node.op, SigmaDelta) else 0)
        values = {"weight": np.float32(1 / scale), "bias": np.float32(zero), "neuron": group.registers}
        return {"type": _text("input"), "shape": shape, **values}

    def _group(self, node: Node, reads_input: bool) -> Group:
        op = node.op
        if isinstance(op, SigmaDelta):
            group = coding(op, reads_input)
        elif isinstance(op, IntegerNeuron | RecurrentNeuron):
            group = firing(op)
        else:
            group = summing(self.codes)
        for what, got in group.faults:
            self._refuse(node, what, got)
        return group


def _convolution(op: Convolution) -> dict[str, Any]:
    pairs = {"kernelSize": op.kernel, "stride": op.stride, "padding": op.padding, "dilation": op.dilation}
    channels = {
        "outChannels": len(op.weight),
        "inChannels": op.weight.shape[1] * op.groups,
        "groups": op.groups,
    }
    return {"type": _text("conv"), **channels, **{name: np.array(pair) for name, pair in pairs.items()}}


def _dense(op: Linear) -> dict[str, Any]:
    outputs, inputs = op.weight.shape
    return {"type": _text("dense"), "outFeatures": outputs, "inFeatures": inputs}


def _text(name: str) -> Array:
    return np.array([name], "S10")
