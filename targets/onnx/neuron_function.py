"""One time step of an integer neuron as a local function, so that a viewer shows it as one node.

The decay is computed as ``Cast(Cast(v) * fraction)``: the product is exact because the floating
type is chosen so that v * (4096 - decay) fits its mantissa, dividing by 4096 only moves the
exponent, and a cast to integers drops the fraction, toward zero. (An integer division gives the
same numbers and is slower in ONNX Runtime, in 64 bits by a factor of three.)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import onnx

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.targets.onnx.function import Body
from spikeloom.targets.onnx.product import EXACT_FLOAT32
from spikeloom.targets.onnx.writer import DataType


def largest_carried(op: IntegerNeuron, x: Type) -> int:
    """The largest magnitude of a state that the next step starts from, for inputs of type ``x``."""
    low, high = op.potential_bounds(x)
    if op.reset_by is None and op.current_decay is None:
        high = min(high, int(op.theta[0].max()))  # what is over the threshold is cleared
    return max(-low, high)


@dataclass(frozen=True)
class Variation:
    """What makes the function of one neuron differ from that of another; the rest are attributes.

    Attributes:
        current: whether a synaptic current with a decay of its own is kept.
        soft: whether a spike subtracts ``reset_by`` instead of clearing the potential.
        levels: the largest spike.
        precision: floating type in which a decay is exact.
    """

    current: bool
    soft: bool
    levels: int
    precision: DataType

    @staticmethod
    def of(op: IntegerNeuron, x: Type) -> Variation:
        """The variation that a neuron with inputs of type ``x`` needs."""
        keeps = [DECAY_ONE - decay for decay in (op.decay, op.current_decay) if decay is not None]
        widest = max(keep // gcd(keep, DECAY_ONE) for keep in keeps)
        exact = largest_carried(op, x) * widest <= EXACT_FLOAT32
        soft = op.reset_by is not None
        return Variation(op.current_decay is not None, soft, op.levels, "float32" if exact else "float64")

    @property
    def name(self) -> str:
        """Name of the function, such as ``LIF`` or ``CubaLIF_soft_levels4``."""
        parts = ["CubaLIF" if self.current else "LIF"]
        parts += ["soft"] * self.soft + [f"levels{self.levels}"] * (self.levels > 1)
        return "_".join(parts + ["float64"] * (self.precision == "float64"))

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states."""
        return ("u", "v") if self.current else ("v",)

    @property
    def inputs(self) -> tuple[str, ...]:
        """x, the states, one theta per level, bias, and what a soft reset subtracts."""
        thetas = (f"theta{level}" for level in range(1, self.levels + 1))
        return ("x", *self.states, *thetas, "bias", *(("reset_by",) if self.soft else ()))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Spikes, then the new states."""
        return ("s", *(f"{state}'" for state in self.states))

    def attributes(self, op: IntegerNeuron) -> dict[str, int]:
        """Attributes of a call, as the fields of :class:`IntegerNeuron`."""
        own = {"decay": op.decay, "fraction_bits": op.fraction_bits}
        return own if op.current_decay is None else {**own, "current_decay": op.current_decay}

    def function(self) -> onnx.FunctionProto:
        """The definition."""
        body = _Body()
        u = body.node("Mul", "x", body.scale())
        if self.current:
            u = body.node("Add", body.leak("u", "current_decay", self.precision), u, output="u'")
        drive = body.node("Add", u, "bias")
        v = body.node("Add", body.leak("v", "decay", self.precision), drive)
        body.fire(v, self.levels, self.soft)
        attributes = ["decay", "fraction_bits"] + ["current_decay"] * self.current
        return body.function(
            self.name,
            self.inputs,
            self.outputs,
            "u = trunc(u (4096 - current_decay) / 4096) + x 2^fraction_bits ; "
            "v = trunc(v (4096 - decay) / 4096) + u + bias ; s = number of thetas below v ; "
            "then v is cleared where s > 0, or reduced by s reset_by.",
            attributes,
        )


class _Body(Body):
    """Knows the parts of a neuron's step."""

    def attribute(self, name: str) -> str:
        value = self.node("Constant")
        reference = onnx.AttributeProto(name="value_int", ref_attr_name=name, type=onnx.AttributeProto.INT)
        self.nodes[-1].attribute.append(reference)
        return value

    def scale(self) -> str:
        bits = self.cast(self.attribute("fraction_bits"), "uint64")
        return self.cast(self.node("BitShift", self.number(1, "uint64"), bits, direction="LEFT"), "int32")

    def leak(self, state: str, decay: str, precision: DataType) -> str:
        kept = self.node("Sub", self.number(DECAY_ONE, "int64"), self.attribute(decay))
        share = self.node("Div", self.cast(kept, precision), self.number(DECAY_ONE, precision))
        return self.cast(self.node("Mul", self.cast(state, precision), share), "int32")

    def fire(self, v: str, levels: int, soft: bool) -> None:
        fired = [self.node("Greater", v, f"theta{level}") for level in range(1, levels + 1)]
        spikes = self.cast(fired[0], "uint8", output="s" if levels == 1 else "")
        for level, above in enumerate(fired[1:], 2):
            more = self.cast(above, "uint8")
            spikes = self.node("Add", spikes, more, output="s" if level == levels else "")
        if soft:
            loss = self.node("Mul", self.cast(spikes, "int32"), "reset_by")
            self.node("Sub", v, loss, output="v'")
        else:
            self.node("Where", fired[0], self.number(0, "int32"), v, output="v'")
