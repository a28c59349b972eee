"""An integer graph as a netx file: chains of weights and LIF neurons, as netx can express them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikeloom.compiler.frontends.netx.registers import SHIFT, SILENT
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.errors import Problem, UnsupportedError

STEP = 1 << SHIFT
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

    def layers(self) -> list[dict[str, Any]]:
        """The layers as their groups; with problems, what of them there is."""
        found: list[dict[str, Any]] = []
        before, weights = self.graph.inputs[0], None
        for node in self.graph.nodes:
            if node.inputs != (before,):
                self._refuse(node, "is not the next of a chain")
            before = node.outputs[0]
            op = node.op
            if isinstance(op, Conv2d | Linear) and weights is None:
                weights = node
            elif isinstance(op, IntegerNeuron | Accumulate) and (weights is not None or not found):
                found.append(self._layer(node, weights))
                weights = None
            elif isinstance(op, Delay) and found and weights is None:
                found[-1]["delay"] = op.steps.reshape(-1).astype(np.float32)
            elif isinstance(op, Reshape) and len(op.shape) == 1 and weights is None:
                found.append({"type": _text("flatten"), "shape": np.array(op.shape)})
            else:
                self._refuse(node, "has no layer of netx")
        return found

    def _refuse(self, node: Node, what: str, got: str = "") -> None:
        where = f"{node.name} at {node.source}"
        self.problems.append(Problem("SL0602", where, what, "conv, dense, flatten and LIF", got, REMEDY))

    def _layer(self, node: Node, weights: Node | None) -> dict[str, Any]:
        shape = np.array(self.graph.types[node.output].shape)
        if weights is None:
            return self._input(node, shape)
        op = weights.op
        assert isinstance(op, Conv2d | Linear)
        digits, neuron, bias = self._neuron(node)
        stored = op.weight.astype(np.int64) << digits
        if op.bias is not None and op.bias.any():
            self._refuse(weights, "has biases in front of the neurons")
        if stored.min() < LEAST_WEIGHT or stored.max() > LARGEST_WEIGHT:
            self._refuse(weights, "has weights of more than nine bits")
        values = _convolution(op) if isinstance(op, Convolution) else _dense(op)
        weight = stored.astype(np.float32)
        layer = {"shape": shape, **values, "weight": weight, "neuron": neuron}
        return layer | ({"bias": bias.astype(np.float32)} if bias.any() else {})

    def _input(self, node: Node, shape: Array) -> dict[str, Any]:
        unit = self.graph.units.get(self.graph.inputs[0])
        scale, offset = (1.0, 0.0) if unit is None else (float(unit.scale), float(unit.offset))
        digits, neuron, bias = self._neuron(node)
        if digits or bias.any() or isinstance(node.op, Accumulate):
            self._refuse(node, "reads the input, and has a bias or other than six fraction digits")
        weight, zero = np.float32(1 / scale), np.float32(-offset / scale)
        return {"type": _text("input"), "shape": shape, "weight": weight, "bias": zero, "neuron": neuron}

    def _neuron(self, node: Node) -> tuple[int, dict[str, Any], Array]:
        """Digits by which weights are shifted when they are stored, the group of the neuron, biases."""
        if isinstance(node.op, Accumulate):
            return 1, _registers(SILENT, 0, DECAY_ONE), np.zeros(1)
        op = node.op
        assert isinstance(op, IntegerNeuron)
        thresholds = np.unique(op.theta)
        if op.levels > 1 or op.reset != "hard":
            self._refuse(node, "has graded spikes or a soft reset")
        if len(thresholds) > 1 or thresholds[0] % STEP or thresholds[0] >= SILENT * STEP:
            self._refuse(
                node, "has several thresholds, or one off the grid", ", ".join(map(str, thresholds[:4]))
            )
        if (op.bias % STEP).any():
            self._refuse(node, f"has biases that are no multiples of {STEP}")
        if op.fraction_bits not in (SHIFT, SHIFT + 1):
            self._refuse(node, "has other than six or seven fraction digits", str(op.fraction_bits))
        current = DECAY_ONE if op.current_decay is None else op.current_decay
        registers = _registers(int(thresholds[0]) // STEP, op.decay, current)
        return op.fraction_bits - SHIFT, registers, op.bias.reshape(-1) // STEP


def _registers(threshold: int, decay: int, current_decay: int) -> dict[str, Any]:
    return {
        "type": "LOIHI", "vThMant": threshold, "vDecay": decay, "iDecay": current_decay, "refDelay": 1,
        "wgtExp": 0, "gradedSpike": False,
    }  # fmt: skip


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
