"""From a netx file to an integer graph: nothing is trained, calibrated or rounded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.compiler.frontends.netx.file import NetxFile, NetxLayer
from spikeloom.compiler.frontends.netx.registers import (
    LARGEST,
    LEAST,
    LIF,
    MESSAGE_BITS,
    SDNN,
    SHIFT,
    SPIKE_SHIFT,
    STATE_BITS,
    ZERO_BYTE,
    biases,
    delays,
    halved,
    is_complex,
    is_resonator,
    kind_of,
    narrow,
    only_read,
    stored_weights,
    turn,
)
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage, Unit
from spikeloom.compiler.graph.kinds import SPIKES, Kind, Type, levels
from spikeloom.compiler.graph.op import Array, RuleBrokenError
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.conv2d import Conv2d
from spikeloom.compiler.graph.ops.delay import Delay
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.resonator import Resonator
from spikeloom.compiler.graph.ops.sigma_delta import SigmaDelta
from spikeloom.errors import InputError, InternalError, Problem

LARGEST_BYTE = 255
LARGEST_WEIGHT = 127
"""Of a chip's weight as it is counted here; an even one of a sigma-delta layer that is larger is halved."""
INPUT_WEIGHT = 64
"""Of an input layer that does not say it, as in netx."""
KNOWN = ("input", "conv", "dense", "dense_rec", "dense_comp", "flatten", "average")
WITHOUT_NEURONS = ("flatten", "average")
NOT_LOADED = dict.fromkeys(
    ("pool", "convT", "unpool", "concat"), "lava-dl's own netx does not load it either"
)


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
    """The integer graph of a network of LIF or sigma-delta neurons, as netx would run it.

    A stored weight in front of a LIF that is even is taken for a half of it with seven fraction digits,
    which is the same number to the chip. The last layer counts as a sum over time if its neurons never
    leak and never fire, or only sum (``sigma_output``).

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
    where = f"layer {number} ({layer.type})"
    if layer.type not in KNOWN:
        what = NOT_LOADED.get(layer.type, "is no layer of netx that is known here")
        return [Problem("SL0214", where, f"has no integer meaning here: {what}", wanted=" or ".join(KNOWN))]
    if layer.type in WITHOUT_NEURONS or (layer.type == "input" and not layer.neuron):
        return []
    kind = kind_of(layer)
    if is_complex(layer) and not is_resonator(layer):
        return [Problem("SL0214", where, "only resonators take complex weights", "RF", kind)]
    if kind not in ("LIF", SDNN) and not is_resonator(layer):
        return [Problem("SL0214", where, "its neurons are not known", ", ".join((*LIF, SDNN, "RF")), kind)]
    problems = _combination_faults(where, layer, kind)
    if kind == "LIF" and int(layer.neuron.get("refDelay", 1)) != 1:
        got = str(layer.neuron["refDelay"])
        problems.append(Problem("SL0214", where, "its neurons have a refractory time", "1", got))
    if (activation := str(layer.neuron.get("activation", "relu"))) != "relu":
        problems.append(Problem("SL0214", where, "netx rectifies whatever is said", "relu", activation))
    for name in ("weight", "weight_rec", "weight/real", "weight/imag", "bias"):
        values = layer.values.get(name, np.zeros(1))
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            problems.append(Problem("SL0214", where, f"its {name} holds something else than integers"))
    return problems


def _combination_faults(where: str, layer: NetxLayer, kind: str) -> list[Problem]:
    """What lava-dl has no process for."""
    found = []
    if is_resonator(layer) and not is_complex(layer):
        found.append("netx gives resonators no input but through complex weights")
    if layer.type == "dense_rec" and kind != "LIF":
        found.append("only LIF neurons are read whose spikes come back")
    if layer.type == "dense_rec" and np.any(layer.values.get("delay", 0)):
        found.append("netx gives what comes back the delays of what arrives: which is meant is not known")
    if is_resonator(layer) and any(np.any(layer.values.get(name, 0)) for name in ("bias", "delay")):
        found.append("netx drops the biases and delays of resonators")
    return [Problem("SL0214", where, what) for what in found]


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
        """Bytes where the input has neurons of its own; negative numbers are shifted to bytes."""
        if first.type != "input" or not first.neuron:
            return SPIKES
        self.scale = 1.0 / float(first.values.get("weight", np.array(INPUT_WEIGHT)))
        self.zero = int(first.values.get("bias", np.array(0)))
        if kind_of(first) == SDNN:
            self.zero += ZERO_BYTE
        return levels(LARGEST_BYTE)

    def _layer(self, number: int, layer: NetxLayer, x: str) -> str:
        name = f"layer{number}"
        if layer.type == "flatten":
            size = int(np.prod(self.builder.types[x].shape))
            return self.builder.add(name, Reshape((size,)), x)[0]
        if layer.type == "average":
            return self._average(name, layer, x)
        if layer.type == "input":
            return self._input(name, layer, x)
        if is_complex(layer):
            return self._resonator(name, layer, x)
        if layer.type == "dense_rec":
            return self._recurrent(name, layer, x)
        stored = stored_weights(layer)
        large = np.abs(stored).max(initial=0) > LARGEST_WEIGHT
        weight, digits = halved(stored) if large or kind_of(layer) == "LIF" else (narrow(stored), SHIFT)
        y = self._weighted(name, layer, weight, x)
        if only_read(layer):
            if number < len(self.net.layers) - 1:
                raise ValueError("only the last layer may be a sum that is read")
            return self._read(name, layer, y, digits)
        neurons = (self._lif if kind_of(layer) == "LIF" else self._sdnn)(name, layer, y, digits)
        return self._late(name, layer, neurons) if layer.type == "conv" else neurons

    def _average(self, name: str, layer: NetxLayer, x: str) -> str:
        """Sums of neurons in a row, one for each output; slayer (``block/base.py``) takes their mean."""
        outputs, neurons = int(layer.values["shape"].reshape(-1)[0]), self.builder.types[x].size
        if neurons % outputs:
            raise ValueError(f"{neurons} neurons are no equal groups for {outputs} outputs")
        (y,) = self.builder.add(f"{name}.groups", Reshape((outputs, neurons // outputs)), x)
        (y,) = self.builder.add(name, ReduceSum((1,)), y)
        unit = self.builder.units.get(x)
        return self._measured(y, (1.0 if unit is None else float(unit.scale)) * outputs / neurons)

    def _input(self, name: str, layer: NetxLayer, x: str) -> str:
        if not layer.neuron:
            return x
        if kind_of(layer) == "LIF":
            return self._lif(name, layer, x, SHIFT)
        threshold, shift = int(layer.neuron["vThMant"]), SHIFT + SPIKE_SHIFT
        delta = SigmaDelta(
            threshold=threshold << shift,
            bias=np.array(-ZERO_BYTE << shift),
            output_shift=SHIFT,
            input_shift=shift,
            integrates=False,
            rectifies=False,
            limit=_largest_message(layer),
        )
        return self._measured(self.builder.add(name, delta, x)[0], 2.0**-SPIKE_SHIFT)

    def _weighted(self, name: str, layer: NetxLayer, weight: Array, x: str) -> str:
        """What arrives at the neurons of a layer."""
        if layer.type == "conv":
            op = Conv2d(
                weight,
                None,
                layer.pair("stride", 1),
                layer.pair("padding", 0),
                layer.pair("dilation", 1),
                int(layer.values.get("groups", np.array(1))),
            )
            return self.builder.add(f"{name}.weights", op, x)[0]
        if len(self.builder.types[x].shape) > 1:
            raise ValueError("a dense layer needs a flatten before it")
        late = delays(layer, *weight.shape)
        if late is None:
            return self.builder.add(f"{name}.weights", Linear(weight), x)[0]
        return self._dense_late(name, weight, late, x)

    def _dense_late(self, name: str, weight: Array, late: Array, x: str) -> str:
        """Synapses that are late: by output, by input, or each by its own."""
        outputs, inputs = weight.shape
        if late.shape[1] == 1:
            (y,) = self.builder.add(f"{name}.weights", Linear(weight), x)
            return self.builder.add(f"{name}.delay", Delay(np.broadcast_to(late[:, 0], (outputs,))), y)[0]
        if late.shape[0] == 1:
            (x,) = self.builder.add(f"{name}.delay", Delay(late[0]), x)
            return self.builder.add(f"{name}.weights", Linear(weight), x)[0]
        total = ""
        for steps in np.unique(late):
            part = x
            if steps:
                (part,) = self.builder.add(f"{name}.delay{steps}", Delay(np.full(inputs, steps)), x)
            chosen = np.where(late == steps, weight, 0).astype(weight.dtype)
            (part,) = self.builder.add(f"{name}.weights{steps}", Linear(chosen), part)
            total = self.builder.add(f"{name}.sum{steps}", Add(), total, part)[0] if total else part
        return total

    def _read(self, name: str, layer: NetxLayer, x: str, digits: int) -> str:
        """A sum over time, in the units of Lava's potential without its six digits, or of its sigma."""
        if kind_of(layer) == SDNN and biases(layer).any():
            raise ValueError("netx has no bias for a layer that only sums")
        (y,) = self.builder.add(name, Accumulate(self.steps), x)
        return self._measured(y, float(2 ** (digits - SHIFT)))

    def _sdnn(self, name: str, layer: NetxLayer, x: str, digits: int) -> str:
        shift, axes = SHIFT + SPIKE_SHIFT, len(self.builder.types[x].shape)
        op = SigmaDelta(
            threshold=int(layer.neuron["vThMant"]) << shift,
            bias=biases(layer).reshape(-1, *(1,) * (axes - 1)) << shift,
            output_shift=SHIFT,
            input_shift=digits - SHIFT,
            limit=_largest_message(layer),
        )
        return self._measured(self.builder.add(name, op, x)[0], 2.0**-SPIKE_SHIFT)

    def _lif(self, name: str, layer: NetxLayer, x: str, fraction_bits: int) -> str:
        return self._fitting(name, self._neuron(layer, x, fraction_bits), x)

    def _neuron(self, layer: NetxLayer, x: str, fraction_bits: int) -> IntegerNeuron:
        neuron = layer.neuron
        shape = self.builder.types[x].shape
        bias = np.zeros(1, np.int64) if layer.type == "input" else biases(layer)
        current_decay = int(neuron.get("iDecay", DECAY_ONE))
        return IntegerNeuron(
            theta=np.full((1, *(1,) * len(shape)), int(neuron["vThMant"]) << SHIFT),
            bias=bias.reshape(-1, *(1,) * (len(shape) - 1)) << SHIFT,
            decay=int(neuron.get("vDecay", 0)),
            fraction_bits=fraction_bits,
            current_decay=None if current_decay == DECAY_ONE else current_decay,
            state_bits=STATE_BITS,
            horizon=self.steps,
        )

    def _fitting(self, name: str, op: IntegerNeuron | RecurrentNeuron, x: str) -> str:
        try:
            op.infer(self.builder.types[x])
        except RuleBrokenError as error:
            remedy = "reset more often: --steps with a smaller number"
            raise InputError.of("SL0503", name, str(error), remedy=remedy) from error
        return self._measured(self.builder.add(name, op, x)[0], 1.0)

    def _resonator(self, name: str, layer: NetxLayer, x: str) -> str:
        arrived = [
            self.builder.add(f"{name}.{part}", Linear(narrow(stored_weights(layer, f"weight/{part}"))), x)[0]
            for part in ("real", "imag")
        ]
        cosine, sine = turn(layer)
        threshold = int(layer.neuron["vThMant"]) << SHIFT
        op = Resonator(cosine, sine, threshold, SHIFT, "PHASE" in kind_of(layer))
        return self._measured(self.builder.add(name, op, *arrived)[0], 1.0)

    def _recurrent(self, name: str, layer: NetxLayer, x: str) -> str:
        """Weights and those of the way back, which netx clips together."""
        ahead, back = (stored_weights(layer, key) for key in ("weight", "weight_rec"))
        both = np.hstack([ahead, back])
        if both.min() < 0 < both.max():
            both = np.clip(both, LEAST, LARGEST)
        both, digits = halved(both)
        (y,) = self.builder.add(f"{name}.weights", Linear(both[:, : ahead.shape[1]]), x)
        plain = self._neuron(layer, y, digits)
        op = RecurrentNeuron(
            both[:, ahead.shape[1] :],
            plain.theta,
            plain.bias,
            plain.decay,
            digits,
            plain.current_decay,
            plain.state_bits,
            plain.horizon,
        )
        return self._fitting(name, op, y)

    def _late(self, name: str, layer: NetxLayer, x: str) -> str:
        """Spikes of a convolution that are late, as slayer trained them; netx drops these delays."""
        steps = np.rint(layer.values.get("delay", np.zeros(1))).astype(np.int64)
        if not steps.any():
            return x
        axes = len(self.builder.types[x].shape)
        late = Delay(steps.reshape(-1, *(1,) * (axes - 1)))
        unit = self.builder.units[x]
        return self._measured(self.builder.add(f"{name}.delay", late, x)[0], float(unit.scale))

    def _measured(self, value: str, scale: float) -> str:
        self.builder.units[value] = Unit(np.array(scale), np.zeros(()))
        return value


def _largest_message(layer: NetxLayer) -> int:
    bits = int(layer.neuron.get("messageBits", MESSAGE_BITS))
    return int(2 ** (bits - 1) - 1)


def _input_shape(first: NetxLayer) -> tuple[int, ...]:
    if first.type.startswith("dense"):
        return (int(first.values["inFeatures"]),)
    shape = tuple(int(axis) for axis in first.values["shape"])
    if first.type == "input":
        return shape
    where = f"layer 0 ({first.type})"
    raise InputError.of("SL0214", where, "is not one that a network begins with", wanted="input or dense")
