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
        stream_bits: width with sign of a value in the common unit of an addition, where it may be.
        hosts: whether it computes what no spike drives: norms, gates, softmax, declared equations.

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
    stream_bits: int = 18
    hosts: bool = False

    @property
    def stream_limit(self) -> int:
        """The largest magnitude of a value in the common unit of an addition."""
        return 1 << (self.stream_bits - 1)

    @property
    def largest_sum(self) -> int:
        """No sum of weighted values reaches this: half of what an accumulator, as wide as a state, holds."""
        return 1 << (self.state_bits - 2)

    @property
    def largest_current(self) -> int:
        """A neuron with a leak of one half that receives so much stays within half of its state."""
        return 1 << max(0, self.state_bits - self.fraction_bits - 3)

    @property
    def short_of_overflow(self) -> int:
        """Sums behind which a neuron with a leak of one half or less keeps within its state."""
        return 1 << max(0, self.state_bits - self.fraction_bits - 4)

    @property
    def largest_weight(self) -> int:
        """The largest magnitude of a weight."""
        return (1 << (self.weight_bits - 1)) - 1

    def to_json(self) -> dict[str, Any]:
        """The profile as a JSON object with the attributes as keys."""
        return asdict(self)
