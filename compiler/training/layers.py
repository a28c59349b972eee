"""The layers that learn: each holds real numbers, and computes with what the target makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.training.products import convolve, multiply
from spikeloom.compiler.training.rounding import on_bias_grid, on_threshold_grid, rounded, straight_through
from spikeloom.compiler.training.surrogate import Surrogate


def _double(array: Array) -> Tensor:
    return torch.from_numpy(np.array(array, np.float64))


class WeightLayer(nn.Module):
    """A convolution or linear map: weight / step, rounded and clipped.

    Attributes:
        weight: real, as trained, with what was folded into it (a batch norm); shape as the operation's.
        bias_change: what training adds to the bias of a layer that answers [output channels], real; no
            other layer has a bias of its own: the neuron behind it has.
    """

    bias_change: nn.Parameter | None
    step: Tensor

    def __init__(self, op: Convolution | Linear, trained: Array, steps: Array, bits: int) -> None:
        """Begin with what the quantizer made of a layer.

        Args:
            op: the integer operation.
            trained: the real weights that it was rounded from.
            steps: real value [output channels] of an integer step.
            bits: width of a weight.
        """
        super().__init__()
        self._op = op
        step = steps.reshape(-1, *(1,) * (trained.ndim - 1))
        self.register_buffer("step", _double(step))
        integers = op.weight.astype(np.float64)
        self._high = 2 ** (bits - 1) - 1
        self._low = min(-self._high, int(integers.min()))
        self.weight = nn.Parameter(torch.from_numpy(self._settled(trained, integers, step)))
        self.bias_change = None
        if op.bias is not None:
            self.bias_change = nn.Parameter(torch.zeros(len(op.bias)))
            self.register_buffer("_bias", _double(op.bias))

    def _settled(self, trained: Array, integers: Array, step: Array) -> Array:
        """The trained weights in float32; where that would round to another integer, the integer's value."""
        single = np.asarray(trained, np.float32)
        again = np.clip(np.rint(single / step), self._low, self._high)
        settled: Array = np.where(again == integers, single, integers * step).astype(np.float32)
        return settled

    def integers(self) -> Tensor:
        """The weights as the target stores them, in float64."""
        smooth = (self.weight / self.step).clamp(self._low, self._high)
        return straight_through(smooth, smooth.detach().round())

    def bias(self) -> Tensor | None:
        """The bias of a layer that answers, in integers."""
        if self.bias_change is None:
            return None
        base: Tensor = self.get_buffer("_bias")
        return rounded(base + self.bias_change / self.step.reshape(-1))

    def forward(self, x: Tensor) -> Tensor:
        """Integers [N, ...] to integer sums."""
        if isinstance(self._op, Convolution):
            y, shape = convolve(self._op, x, self.integers()), (-1, *(1,) * self._op.axes)
        else:
            y, shape = multiply(x, self.integers().T), (-1,)
        bias = self.bias()
        return y if bias is None else y.double() + bias.reshape(shape)

    @torch.no_grad()
    def operation(self) -> Convolution | Linear:
        """The operation of the integer graph as it is now."""
        bias = self.bias()
        whole = None if bias is None else bias.cpu().numpy().astype(np.int32)
        return replace(self._op, weight=self.integers().cpu().numpy().astype(np.int8), bias=whole)


class NeuronLayer(nn.Module):
    """Spiking neurons in state units, with a surrogate gradient at the threshold.

    Attributes:
        bias_change: what training adds to the bias, real, in units of the membrane potential.
        threshold_change: the same of the threshold; None where thresholds are shared on a coarse grid, or
            spikes are graded.
    """

    threshold_change: nn.Parameter | None
    unit: Tensor
    theta: Tensor

    def __init__(
        self,
        op: IntegerNeuron,
        unit: Array,
        profile: NumericProfile,
        surrogate: Surrogate,
        detach_reset: bool,
    ) -> None:
        """Begin with what the quantizer made of a layer.

        Args:
            op: the integer operation.
            unit: real value of a state unit, broadcasts against the layer.
            profile: the target's grid.
            surrogate: of (potential - threshold), real; its gradient stands for that of a spike.
            detach_reset: whether no gradient passes through the reset.
        """
        super().__init__()
        self._op, self._profile = op, profile
        self._surrogate, self._detach = surrogate, detach_reset
        self.register_buffer("unit", _double(unit))
        self.register_buffer("theta", _double(op.theta))
        self.register_buffer("_bias", _double(op.bias))
        self.bias_change = nn.Parameter(torch.zeros(np.broadcast_shapes(op.bias.shape, unit.shape)))
        self.threshold_change = None
        if profile.threshold_groups is None and op.levels == 1:
            shape = np.broadcast_shapes(op.theta.shape[1:], unit.shape)
            self.threshold_change = nn.Parameter(torch.zeros(shape))
        if op.reset_by is not None:
            self.register_buffer("_reset_by", _double(op.reset_by))

    def bias(self) -> Tensor:
        """The bias in state units."""
        return on_bias_grid(self.get_buffer("_bias") + self.bias_change / self.unit, self._profile)

    def thresholds(self) -> Tensor:
        """[levels, ...]: the largest potential that does not reach each level."""
        if self.threshold_change is None:
            return self.theta
        return on_threshold_grid(self.theta + 1 + self.threshold_change / self.unit, self._profile)

    def reset_by(self) -> Tensor | None:
        """What a soft reset subtracts for each level; None if the reset is hard."""
        if self._op.reset_by is None:
            return None
        base = self.get_buffer("_reset_by")
        if self.threshold_change is None:
            return base
        return rounded((base + self.threshold_change / self.unit).clamp(min=1))

    def forward(self, x: Tensor) -> Tensor:
        """Currents [T, B, ...] to spikes [T, B, ...], from a fresh state."""
        bias, theta, reset_by = self.bias(), self.thresholds(), self.reset_by()
        u = v = torch.zeros_like(x[0], dtype=torch.float64)
        spikes = []
        for current in x.double() * 2**self._op.fraction_bits:
            u = current if self._op.current_decay is None else _leak(u, self._op.current_decay) + current
            v = _leak(v, self._op.decay) + u + bias
            s = self._fired(v, theta)
            spikes.append(s.float())
            cause = s.detach() if self._detach else s
            v = v * (1 - cause.clamp(max=1)) if reset_by is None else v - cause * reset_by
        return torch.stack(spikes)

    def _fired(self, v: Tensor, theta: Tensor) -> Tensor:
        exact = torch.stack([v.detach() > level for level in theta.detach()]).sum(0).to(v.dtype)
        if len(theta) == 1:
            smooth = self._surrogate((v - theta[0] - 1) * self.unit)
        else:
            apart = (theta[1] - theta[0]).clamp(min=1)
            smooth = ((v - theta[0]) / apart + 0.5).clamp(0, len(theta))
        return straight_through(smooth, exact)

    @torch.no_grad()
    def operation(self) -> IntegerNeuron:
        """The operation of the integer graph as it is now."""
        bias, theta, reset_by = (
            None if tensor is None else tensor.cpu().numpy().astype(np.int64)
            for tensor in (self.bias(), self.thresholds(), self.reset_by())
        )
        assert bias is not None
        assert theta is not None
        return replace(self._op, bias=bias, theta=theta, reset_by=reset_by)


def _leak(state: Tensor, decay: int) -> Tensor:
    """What is left after a step, rounded toward zero; exact in float64, as a state has 32 bits at most."""
    left = state * ((DECAY_ONE - decay) / DECAY_ONE)
    return straight_through(left, left.detach().trunc())


class RescaleLayer(nn.Module):
    """Integers brought to another unit; an offset, which holds the biases before it, learns.

    Attributes:
        offset_change: what training adds to the offset, real; None where there is no offset.
    """

    offset_change: nn.Parameter | None
    factor: Tensor

    def __init__(self, op: Rescale, unit: float) -> None:
        """Begin with an operation of the quantizer; ``unit`` is the real value of its result's integers."""
        super().__init__()
        self._op, self._unit = op, unit
        self.register_buffer("factor", _double(op.factor))
        self.offset_change = None
        if op.offset is not None:
            self.offset_change = nn.Parameter(torch.zeros(op.offset.shape))
            self.register_buffer("_offset", _double(op.offset))

    def offset(self) -> Tensor | None:
        """What is added after the shift, in integers."""
        if self.offset_change is None:
            return None
        return rounded(self.get_buffer("_offset") + self.offset_change / self._unit)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply, round, clip; every product is exact in float64."""
        smooth = x.double() * self.factor
        y = straight_through(
            smooth / 2**self._op.shift, ((smooth.detach() + self._op.half) / 2**self._op.shift).floor()
        )
        offset = self.offset()
        return (y if offset is None else y + offset).clamp(self._op.lo, self._op.hi)

    @torch.no_grad()
    def operation(self) -> Rescale:
        """The operation of the integer graph as it is now."""
        offset = self.offset()
        return self._op if offset is None else replace(self._op, offset=offset.cpu().numpy().astype(np.int64))
