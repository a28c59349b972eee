"""Normalisation of each row by its own mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class LayerNorm(Op):
    """y = (x - mean(x)) / sqrt(mean((x - mean(x))**2) + epsilon) * gain + bias over the last axis.

    Without centring this is the RMS norm: nothing is subtracted. Float only: an integer graph has
    :class:`IntegerNorm`.

    Attributes:
        gain, bias: [n]; the bias may be absent.
        epsilon: added to the mean square.
        centred: whether the mean is subtracted.
    """

    name: ClassVar[str] = "layer_norm"
    work: ClassVar[Work] = "host"

    gain: Array
    bias: Array | None
    epsilon: float
    centred: bool = True

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[..., n] to real values of the same shape."""
        (x,) = inputs
        arrays = [self.gain] if self.bias is None else [self.gain, self.bias]
        if not x.shape or any(array.shape != x.shape[-1:] for array in arrays) or self.epsilon < 0:
            raise RuleBrokenError(f"gains {self.gain.shape} do not fit the last axis of {x}")
        return (Type(x.shape, REAL),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Normalise in float64."""
        x = inputs[0].astype(np.float64)
        apart = x - x.mean(-1, keepdims=True) if self.centred else x
        y = apart / np.sqrt(np.square(apart).mean(-1, keepdims=True) + self.epsilon) * self.gain
        return (y if self.bias is None else y + self.bias,)

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
