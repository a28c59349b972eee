"""From a netx file to an integer graph: nothing is trained, calibrated or rounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.compiler.frontends.netx.file import NetxFile, NetxLayer
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.kinds import SPIKES, Kind, Type, levels
from spikeloom.compiler.graph.op import Array, RuleBrokenError
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.errors import InputError, InternalError, Problem

SHIFT = 6
"""Lava shifts sums, thresholds and (netx) biases left by so many digits."""
SILENT = 2**17 - 1
"""The threshold of neurons that are there to be read: the largest that the register holds."""
STATE_BITS = 24
LARGEST_BYTE = 255
LIF = ("LOIHI", "CUBA")


@dataclass(frozen=True)
class Imported:
    """A netx network as an integer graph.

    Attributes:
        graph: for one time step, without the pipeline's delays.
        steps: between resets.
        scale, zero: of the input: real = scale * (byte - zero).
    """

    graph: Graph
    steps: int
    scale: float = 1.0
    zero: int = 0


def lower_netx(net: NetxFile, steps: int = 0) -> Imported:
    """The integer graph of a network of LIF neurons.

    A stored weight that is even is taken for a half of it with seven fraction digits, which is the same
    number to the chip. netx clips weights of mixed sign to -256..254 and drops their last digit; so
    here. The last layer counts as a sum over time if its neurons never leak and never fire.

    Args:
        net: as read.
        steps: between resets, where the file does not say it.

    Raises:
        InputError: SL0214, a layer, a neuron or a number has no integer meaning here; all are listed.
    """
    steps = steps or net.steps
    if steps < 1:
        raise InputError.of(
            "SL0214", net.name, "does not say how many time steps a sample has", remedy="--steps N"
        )
    if problems := [problem for number, layer in enumerate(net.layers) for problem in _faults(number, layer)]:
        raise InputError(problems)
    return _Reader(net, steps).imported()


def _faults(number: int, layer: NetxLayer) -> list[Problem]:
    known = ("input", "conv", "dense", "flatten")
    where = f"layer {number} ({layer.type})"
    if layer.type not in known:
        return [Problem("SL0214", where, "has no integer meaning here", wanted=" or ".join(known))]
    if layer.type == "flatten":
        return []
    kind = str(layer.neuron.get("type", "none"))
    if kind not in LIF:
        return [Problem("SL0214", where, "its neurons are not known", " or ".join(LIF), kind)]
    problems = []
    if int(layer.neuron.get("refDelay", 1)) != 1:
        got = str(layer.neuron["refDelay"])
        problems.append(Problem("SL0214", where, "its neurons have a refractory time", "1", got))
    for name in ("weight", "bias"):
        values = layer.values.get(name, np.zeros(1))
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            problems.append(Problem("SL0214", where, f"its {name} holds something else than integers"))
    return problems


class _Reader:
    def __init__(self, net: NetxFile, steps: int) -> None:
        self.net = net
        self.steps = steps
        self.builder = GraphBuilder(net.name, Stage.INTEGER, "loihi2")
        self.scale, self.zero = 1.0, 0

    def imported(self) -> Imported:
        first = self.net.layers[0]
        x = self.builder.input("input", Type(_input_shape(first), self._input_kind(first)))
        unit = Unit(np.array(self.scale), np.array(-self.scale * self.zero))
        self.builder.units[x] = unit
        for number, layer in enumerate(self.net.layers):
            try:
                x = self._layer(number, layer, x)
            except (InternalError, KeyError, ValueError) as error:
                what = f"does not fit the layers before it: {error}"
                raise InputError.of("SL0214", f"layer {number} ({layer.type})", what) from error
        self.builder.output(x)
        return Imported(self.builder.build(), self.steps, self.scale, self.zero)

    def _input_kind(self, first: NetxLayer) -> Kind:
        if first.type != "input":
            return SPIKES
        self.scale = 1.0 / float(first.values.get("weight", np.array(1)))
        self.zero = int(first.values.get("bias", np.array(0)))
        return levels(LARGEST_BYTE)

    def _layer(self, number: int, layer: NetxLayer, x: str) -> str:
        name = f"layer{number}"
        if layer.type == "flatten":
            size = int(np.prod(self.builder.types[x].shape))
            return self.builder.add(name, Reshape((size,)), x)[0]
        if layer.type == "input":
            return self._neurons(name, layer, x, fraction_bits=SHIFT)
        weight, fraction_bits = _weights(layer)
        if layer.type == "conv":
            op: Conv2d | Linear = Conv2d(
                weight,
                None,
                layer.pair("stride", 1),
                layer.pair("padding", 0),
                layer.pair("dilation", 1),
                int(layer.values.get("groups", np.array(1))),
            )
        else:
            if len(self.builder.types[x].shape) > 1:
                raise ValueError("a dense layer needs a flatten before it")
            op = Linear(weight.reshape(int(layer.values["outFeatures"]), int(layer.values["inFeatures"])))
        last = number == len(self.net.layers) - 1
        if last and _only_read(layer):
            (y,) = self.builder.add(f"{name}.weights", op, x)
            (y,) = self.builder.add(name, Accumulate(self.steps), y)
            return self._measured(y, float(2 ** (fraction_bits - SHIFT)))
        (y,) = self.builder.add(f"{name}.weights", op, x)
        return self._neurons(name, layer, y, fraction_bits)

    def _neurons(self, name: str, layer: NetxLayer, x: str, fraction_bits: int) -> str:
        neuron = layer.neuron
        shape = self.builder.types[x].shape
        bias = np.zeros(1) if layer.type == "input" else layer.values.get("bias", np.zeros(1))
        current_decay = int(neuron.get("iDecay", DECAY_ONE))
        op = IntegerNeuron(
            theta=np.full((1, *(1,) * len(shape)), int(neuron["vThMant"]) << SHIFT),
            bias=np.rint(bias).astype(np.int64).reshape(-1, *(1,) * (len(shape) - 1)) << SHIFT,
            decay=int(neuron.get("vDecay", 0)),
            fraction_bits=fraction_bits,
            current_decay=None if current_decay == DECAY_ONE else current_decay,
            state_bits=STATE_BITS,
            horizon=self.steps,
        )
        try:
            op.infer(self.builder.types[x])
        except RuleBrokenError as error:
            remedy = "reset more often: --steps with a smaller number"
            raise InputError.of("SL0503", name, str(error), remedy=remedy) from error
        (y,) = self.builder.add(name, op, x)
        y = self._measured(y, 1.0)
        delays = np.rint(layer.values.get("delay", np.zeros(1))).astype(np.int64)
        if not delays.any():
            return y
        delays = delays.reshape(-1, *(1,) * (len(shape) - 1))
        return self._measured(self.builder.add(f"{name}.delay", Delay(delays), y)[0], 1.0)

    def _measured(self, value: str, scale: float) -> str:
        self.builder.units[value] = Unit(np.array(scale), np.zeros(()))
        return value


def _input_shape(first: NetxLayer) -> tuple[int, ...]:
    if first.type == "dense":
        return (int(first.values["inFeatures"]),)
    shape = tuple(int(axis) for axis in first.values["shape"])
    if first.type == "input":
        return shape
    where = f"layer 0 ({first.type})"
    raise InputError.of("SL0214", where, "is not one that a network begins with", wanted="input or dense")


def _weights(layer: NetxLayer) -> tuple[Array, int]:
    """Weights and the fraction digits of the neurons behind them."""
    stored = np.rint(layer.values["weight"]).astype(np.int64)
    if layer.type == "conv":
        stored = stored.reshape(stored.shape[:4])
    if stored.min() < 0 < stored.max():
        stored = np.clip(stored, -256, 255) & ~np.int64(1)
    if (stored & 1).any():
        return stored.astype(np.int16), SHIFT
    half = stored >> 1
    fits = np.abs(half).max(initial=0) < 128
    return half.astype(np.int8 if fits else np.int16), SHIFT + 1


def _only_read(layer: NetxLayer) -> bool:
    neuron = layer.neuron
    return (
        int(neuron["vThMant"]) == SILENT
        and int(neuron.get("vDecay", 0)) == 0
        and int(neuron.get("iDecay", DECAY_ONE)) == DECAY_ONE
        and not np.any(layer.values.get("bias", np.zeros(1)))
    )
