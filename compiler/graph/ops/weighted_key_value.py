"""The recurrence of RWKV: a mean of values, weighted by keys, that fades."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

EMPTY = -1e38
"""The logarithm of no weight at all, as the authors' kernel starts."""


@register
@dataclass(frozen=True, eq=False)
class WeightedKeyValue(StatefulOp):
    """o = (A + exp(bonus + k) v) / (B + exp(bonus + k)) ;  A <- exp(decay) A + exp(k) v ;  B likewise.

    A = exp(p) aa and B = exp(p) bb, with the largest exponent so far in p, so that nothing overflows
    (Peng et al., RWKV, 2023, appendix D; SpikeGPT). Float only: an integer graph has
    :class:`~spikeloom.compiler.graph.ops.integer_key_value.IntegerKeyValue`.

    Attributes:
        decay: [n], below 0: the logarithm of what is left of a weight after a step.
        bonus: [n], what the present key has more.
    """

    name: ClassVar[str] = "weighted_key_value"
    work: ClassVar[Work] = "host"

    decay: Array
    bonus: Array

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Keys and values [..., n] to real values of the same shape."""
        k, v = inputs
        if k.shape != v.shape or self.decay.shape != k.shape[-1:] or self.bonus.shape != k.shape[-1:]:
            raise RuleBrokenError(f"keys {k} and values {v} do not fit decays {self.decay.shape}")
        return (Type(k.shape, REAL),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """Both sums, and their common exponent."""
        return {name: Type(inputs[0].shape, REAL) for name in ("aa", "bb", "p")}

    def initial(self, *inputs: Type) -> dict[str, Array]:
        """Nothing, with no weight."""
        nothing = np.zeros(inputs[0].shape)
        return {"aa": nothing, "bb": nothing, "p": nothing + EMPTY}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The mean with the present key, then the sums for the next step."""
        (k, v), (aa, bb, p) = inputs, (state[name] for name in ("aa", "bb", "p"))
        old, new, _ = _shares(p, k + self.bonus)
        mean = (old * aa + new * v) / (old * bb + new)
        old, new, top = _shares(p + self.decay, k)
        return (mean,), {"aa": old * aa + new * v, "bb": old * bb + new, "p": top}

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)


def _shares(p: Array, q: Array) -> tuple[Array, Array, Array]:
    """exp(p) and exp(q) divided by the larger, and its exponent."""
    top = np.maximum(p, q)
    return np.exp(p - top), np.exp(q - top), top
