"""The numeric profile: which integers a target can hold. It is an input of the quantizer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class NumericProfile:
    """The grid of weights, thresholds, biases and states of a target.

    Attributes:
        name: of the profile, as printed with the graph.
        weight_bits: width of a weight with sign; weights are symmetric, |w| < 2**(bits-1).
        fraction_bits: binary digits of the state below one unit of a weight.
        threshold_step: thresholds are multiples of this many state units.
        threshold_bits: width of a threshold in steps, without sign.
        threshold_groups: how many different thresholds a population may have; None: one a neuron.
            With groups, the channels of a layer share a scale up to powers of two.
        bias_mantissa_bits, bias_exponent_bits: a bias is a signed mantissa shifted left.
        state_bits: width of membrane potential and current with sign.
        decay_bits: a decay is a fraction of 2**decay_bits; 12 at most.
        rescales: whether values may be brought to another unit between layers.

    >>> NumericProfile("wide").largest_weight
    127
    """

    name: str
    weight_bits: int = 8
    fraction_bits: int = 6
    threshold_step: int = 1
    threshold_bits: int = 31
    threshold_groups: int | None = None
    bias_mantissa_bits: int = 32
    bias_exponent_bits: int = 0
    state_bits: int = 32
    decay_bits: int = 12
    rescales: bool = False

    @property
    def largest_weight(self) -> int:
        """The largest magnitude of a weight."""
        return (1 << (self.weight_bits - 1)) - 1

    def to_json(self) -> dict[str, Any]:
        """The profile as a JSON object with the attributes as keys."""
        return asdict(self)
