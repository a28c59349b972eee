"""Neurons of declared equations in fixed point, with gradients: one more arithmetic of their walk."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.compiler.graph.equations.expression import Operator
from spikeloom.compiler.graph.equations.fixed_point import FixedPoint
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.compiler.training.rounding import rounded, straight_through
from spikeloom.compiler.training.surrogate import Surrogate


@dataclass(frozen=True)
class Tensors:
    """Whole numbers in float64 tensors, which holds every number of a walk exactly.

    Attributes:
        one: what stands for one.
        surrogate: of comparisons.
        device: of the constants.
    """

    one: float
    surrogate: Surrogate
    device: torch.device

    def constant(self, value: Array) -> Tensor:
        """As float64."""
        return torch.from_numpy(np.array(value, np.float64)).to(self.device)

    def binary(self, operator: Operator, a: Tensor, b: Tensor) -> Tensor:
        """PyTorch's own; a comparison has the gradient of the surrogate."""
        if operator == "add":
            return a + b
        if operator == "subtract":
            return a - b
        if operator == "multiply":
            return a * b
        if operator in ("minimum", "maximum"):
            return torch.minimum(a, b) if operator == "minimum" else torch.maximum(a, b)
        above = {">=": a >= b, ">": a > b, "<=": a <= b, "<": a < b}[operator]
        distance = a - b if operator in (">=", ">") else b - a
        return straight_through(self.surrogate(distance / self.one), above.to(a.dtype))

    def shifted(self, a: Tensor, bits: int) -> Tensor:
        """Rounded down."""
        smooth = a / 2**bits
        return straight_through(smooth, smooth.detach().floor())

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """A mixture whose share is 0 or 1."""
        share = straight_through(condition.clamp(0, 1), (condition.detach() > 0).to(condition.dtype))
        return share * a + (1 - share) * b


class EquationLayer(nn.Module):
    """A layer of such neurons.

    Attributes:
        bias_change: what training adds to its input, real.
    """

    def __init__(self, op: EquationNeuron, surrogate: Surrogate) -> None:
        """Begin with what the quantizer made of a layer."""
        super().__init__()
        assert op.gain is not None
        assert op.bias is not None
        self._op, self._surrogate = op, surrogate
        self.register_buffer("_gain", torch.from_numpy(op.gain.astype(np.float64)))
        self.register_buffer("_bias", torch.from_numpy(op.bias.astype(np.float64)))
        self.bias_change = nn.Parameter(torch.zeros(op.bias.shape))

    def bias(self) -> Tensor:
        """What is added to the input, before its shift."""
        one = 2.0 ** (self._op.fraction_bits + self._op.shift)
        return rounded(self.get_buffer("_bias") + self.bias_change * one)

    def forward(self, x: Tensor) -> Tensor:
        """Currents [T, B, ...] to spikes [T, B, ...], from the declared start."""
        op, gain = self._op, self.get_buffer("_gain")
        arithmetic = Tensors(2.0**op.fraction_bits, self._surrogate, gain.device)
        walk = FixedPoint(arithmetic, op.fraction_bits, op.limit)
        starts = {name: round(start * arithmetic.one) for name, start in op.program.states.items()}
        state = {name: torch.full_like(x[0], start, dtype=torch.float64) for name, start in starts.items()}
        spikes = []
        for drive in arithmetic.shifted(x.double() * gain + self.bias() + op.half, op.shift):
            sent, state = walk.step(op.program, drive, state, op.constants)
            spikes.append(sent.expand(drive.shape).float())
        return torch.stack(spikes)

    @torch.no_grad()
    def operation(self) -> EquationNeuron:
        """The operation of the integer graph as it is now."""
        return replace(self._op, bias=self.bias().cpu().numpy().astype(np.int64))
