"""Weights on an integer grid: the step of each channel, and the rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.profile import NumericProfile

CANDIDATES = 17
SMALLEST_RATIOS = {3: 0.4, 4: 0.5, 5: 0.55}
"""How much of the largest weight an error-minimising range may leave, by bits; else 0.6.

With 2 bits smaller ranges have a smaller error too, but the sums of three-valued weights then shrink, and
on the examples' networks more spikes differ.
"""
TOP_STEPS = 24
GRID_TOLERANCE = 1e-5
"""By how much, of itself, a trained weight may be off its grid: float32 products are off by less."""


Method = Literal["error", "minmax", "percentile"]


@dataclass(frozen=True)
class Range:
    """How the range of a channel's weights is chosen; what lies outside is clipped.

    Attributes:
        method: ``error`` searches the range with the smallest error of the layer's sums, inputs weighted as
            the calibration saw them; ``minmax`` clips nothing; ``percentile`` takes that of the magnitudes.
        percentile: of the magnitudes, 0 to 100; for ``percentile`` alone.
    """

    method: Method = "error"
    percentile: float = 99.9

    def ratios(self, magnitudes: Array, bits: int) -> Array:
        """Candidates [candidates, channels]: shares of the largest of the magnitudes [channels, weights].

        >>> Range("minmax").ratios(np.ones((2, 5)), 8).tolist()
        [[1.0, 1.0]]
        >>> Range("percentile", 50).ratios(np.array([[1.0, 2.0, 4.0]]), 8).tolist()
        [[0.5]]
        """
        channels = len(magnitudes)
        if self.method == "minmax":
            return np.ones((1, channels))
        if self.method == "percentile":
            largest = np.maximum(magnitudes.max(1), 1e-300)
            share: Array = np.percentile(magnitudes, self.percentile, axis=1) / largest
            return np.where(share > 0, share, 1.0)[None]
        smallest = SMALLEST_RATIOS.get(bits, 0.6)
        return np.linspace(1.0, smallest, CANDIDATES)[:, None].repeat(channels, 1)


@dataclass(frozen=True)
class GridWeights:
    """Weights rounded to integers.

    Attributes:
        integers: int8 of the weights' shape; real = integer * step of its output channel.
        steps: [output channels], the real value of one integer step.
        error: root mean square of the error of the sums that the layer computes, relative to
            the sums themselves, as far as the calibration's input statistics tell.
    """

    integers: NDArray[np.int8]
    steps: Array
    error: float


@dataclass(frozen=True)
class Fired:
    """The neuron that a layer's sums drive, as far as the grid depends on it.

    Attributes:
        reach: threshold / gain, in units of the layer's sums.
    """

    reach: float


BEST = Range()


def free_steps(
    weight: Array, moment: Array, profile: NumericProfile, coarser: float, within: Range = BEST
) -> Array:
    """A step for each output channel."""
    magnitudes = np.abs(weight.reshape(len(weight), -1))
    largest = magnitudes.max(1)
    ratios = within.ratios(magnitudes, profile.weight_bits)
    candidates = np.maximum(largest, _tiny(largest)) * ratios / profile.largest_weight * coarser
    errors = np.stack([_errors(weight, steps, moment, profile) for steps in candidates])
    best: Array = candidates[errors.argmin(0), np.arange(len(weight))]
    return best


def shared_step(
    weight: Array, moment: Array, profile: NumericProfile, coarser: float, within: Range = BEST
) -> Array:
    """One step for all output channels: sums of a readout must be comparable."""
    largest = np.full(len(weight), max(np.abs(weight).max(), 1e-30))
    ratios = within.ratios(np.abs(weight.reshape(1, -1)), profile.weight_bits)
    candidates = largest * ratios / profile.largest_weight * coarser
    errors = [float(_errors(weight, steps, moment, profile).sum()) for steps in candidates]
    best: Array = candidates[int(np.argmin(errors))]
    return best


def grouped_steps(
    weight: Array,
    moment: Array,
    fired: Fired,
    profile: NumericProfile,
    coarser: float,
    within: Range = BEST,
) -> Array:
    """Steps that are powers of two apart, so that few thresholds serve a whole population.

    The largest step is chosen such that its threshold, fired.reach / step * 2**fraction_bits, is
    a multiple of the chip's threshold step; those of the finer groups then are too, doubled. Where steps
    must be coarser, no channel takes one that is finer than it asks for.
    """
    own = free_steps(weight, moment, profile, coarser, within)
    wanted, least = own.max(), own if coarser > 1 else np.zeros(len(own))
    unit = fired.reach * 2**profile.fraction_bits / profile.threshold_step
    smallest = 0.7 if within.method == "error" and coarser == 1 else 1.0
    coarsest, finest = unit / (2 * wanted), unit / (smallest * wanted)
    last = int(finest) if coarser > 1 else int(np.ceil(finest))
    multiples = np.unique(np.linspace(max(1, int(coarsest)), max(1, last), TOP_STEPS).round().astype(int))
    options = [_best_powers(weight, moment, unit / m, least, profile) for m in multiples]
    totals = [float(_errors(weight, steps, moment, profile).sum()) for steps in options]
    return options[int(np.argmin(totals))]


def trained_grid(weight: Array, profile: NumericProfile) -> GridWeights | None:
    """Weights that were trained on a grid of the profile's width, taken over as they are.

    Learned step size quantization (LSQ) gives every output channel whole numbers times its own step, and
    factors per channel that are folded into the weights leave that so. None if any channel is on no such
    grid.

    >>> trained_grid(np.array([[0.3, -2.4], [0.5, 0.25]]), NumericProfile("p", 4)).integers.tolist()
    [[1, -8], [2, 1]]
    """
    rows = weight.reshape(len(weight), -1)
    steps = np.array([_step_of(np.unique(np.abs(row)), profile.weight_bits) for row in rows])
    if not steps.all():
        return None
    integers = np.rint(rows / steps[:, None]).reshape(weight.shape)
    if integers.max() > profile.largest_weight or integers.min() < -profile.largest_weight - 1:
        return None
    return GridWeights(integers.astype(np.int8), steps, 0.0)


def _step_of(magnitudes: Array, bits: int) -> float:
    """The largest step of which all magnitudes [rising] are whole multiples of that width; 0 if none."""
    largest = 2 ** (bits - 1)
    present = magnitudes[magnitudes > magnitudes[-1] * GRID_TOLERANCE]
    if len(present) == 0:
        return 1.0
    if len(present) > largest:
        return 0.0
    for divisor in range(1, largest + 1):
        step = float(present[0]) / divisor
        multiples = present / step
        if multiples[-1] > largest + 0.5:
            return 0.0
        if bool((np.abs(multiples - np.rint(multiples)) <= GRID_TOLERANCE * multiples).all()):
            return step
    return 0.0


def round_weights(weight: Array, steps: Array, moment: Array, profile: NumericProfile) -> GridWeights:
    """Round to the nearest integer, clipped to the profile's range."""
    integers = _rounded(weight, steps, profile)
    return GridWeights(integers.astype(np.int8), steps, relative_error(weight, integers, steps, moment))


def relative_error(weight: Array, integers: Array, steps: Array, moment: Array) -> float:
    """Root mean square error of the sums of rounded weights, relative to the sums themselves."""
    spread = _spread(moment, weight)
    error = (np.square(weight - integers * _per_output(steps, weight)) * spread).sum()
    return float(np.sqrt(error / max((np.square(weight) * spread).sum(), 1e-300)))


def _best_powers(weight: Array, moment: Array, top: float, least: Array, profile: NumericProfile) -> Array:
    """Of each channel the power of two below ``top`` with the smallest error, but none below ``least``."""
    groups = profile.threshold_groups or 1
    candidates = np.stack([np.full(len(weight), top / 2**power) for power in range(groups)])
    errors = np.stack([_errors(weight, steps, moment, profile) for steps in candidates])
    errors[1:][candidates[1:] < least] = np.inf
    best: Array = candidates[errors.argmin(0), np.arange(len(weight))]
    return best


def _rounded(weight: Array, steps: Array, profile: NumericProfile) -> Array:
    limit = profile.largest_weight
    return np.clip(np.rint(weight / _per_output(steps, weight)), -limit, limit)


def _errors(weight: Array, steps: Array, moment: Array, profile: NumericProfile) -> Array:
    """Expected square error [output channels] of the sums, inputs taken as independent."""
    error = weight - _rounded(weight, steps, profile) * _per_output(steps, weight)
    total: Array = (np.square(error) * _spread(moment, weight)).reshape(len(weight), -1).sum(1)
    return total


def _per_output(steps: Array, weight: Array) -> Array:
    return steps.reshape(-1, *(1,) * (weight.ndim - 1))


def _spread(moment: Array, weight: Array) -> Array:
    """Mean squares [input channels] shaped against the weights, groups included."""
    channels = weight.shape[1]
    per_group = moment.reshape(-1, channels)
    per_output = np.repeat(per_group, len(weight) // len(per_group), 0)
    return per_output.reshape(len(weight), channels, *(1,) * (weight.ndim - 2))


def _tiny(largest: Array) -> float:
    """A step for channels without weights; any would do."""
    return float(max(largest.max(), 1e-30)) * 1e-3
