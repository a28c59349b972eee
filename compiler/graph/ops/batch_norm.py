"""Batch normalisation as it stands in a trained model, before it is folded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, register


@register
@dataclass(frozen=True, eq=False)
class BatchNorm(Op):
    """y[c] = (x[c] - mean[c]) / sqrt(variance[c] + epsilon) * gain[c] + bias[c] over axis 0.

    The inference form of Ioffe and Szegedy, 2015 (arXiv 1502.03167). Float only.

    Attributes:
        gain, bias, mean, variance: [channels].
        epsilon: keeps the root away from zero.
    """

    name: ClassVar[str] = "batch_norm"

    gain: Array
    bias: Array
    mean: Array
    variance: Array
    epsilon: float

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """[channels, ...] to a real value of that shape."""
        (x,) = inputs
        if not x.shape or x.shape[0] != len(self.gain):
            raise RuleBrokenError(f"needs {len(self.gain)} channels on axis 0, not {x}")
        return (Type(x.shape, REAL),)

    def affine(self, rank: int) -> tuple[Array, Array]:
        """The same map as (scale, offset) in float64, shaped to broadcast against ``rank`` axes."""
        deviation = np.sqrt(self.variance.astype(np.float64) + self.epsilon)
        scale = self.gain.astype(np.float64) / deviation
        offset = self.bias.astype(np.float64) - self.mean.astype(np.float64) * scale
        shape = (-1, *(1,) * (rank - 1))
        return scale.reshape(shape), offset.reshape(shape)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Normalise with the stored statistics."""
        scale, offset = self.affine(inputs[0].ndim - 1)
        return (inputs[0] * scale + offset,)
