"""Weights on an integer grid: the step of each channel, and the rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.profile import NumericProfile

CLIP_RATIOS = np.linspace(1.0, 0.6, 17)
TOP_STEPS = 24
GRID_TOLERANCE = 1e-5
"""By how much, of itself, a trained weight may be off its grid: float32 products are off by less."""


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


def free_steps(weight: Array, moment: Array, profile: NumericProfile, coarser: float) -> Array:
    """A step for each output channel: the clipping that gives the smallest error."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(1)
    candidates = np.maximum(largest, _tiny(largest)) * CLIP_RATIOS[:, None] / profile.largest_weight * coarser
    errors = np.stack([_errors(weight, steps, moment, profile) for steps in candidates])
    best: Array = candidates[errors.argmin(0), np.arange(len(weight))]
    return best


def shared_step(weight: Array, moment: Array, profile: NumericProfile, coarser: float) -> Array:
    """One step for all output channels: sums of a readout must be comparable."""
    largest = np.full(len(weight), max(np.abs(weight).max(), 1e-30))
    candidates = largest * CLIP_RATIOS[:, None] / profile.largest_weight * coarser
    errors = [float(_errors(weight, steps, moment, profile).sum()) for steps in candidates]
    best: Array = candidates[int(np.argmin(errors))]
    return best


def grouped_steps(
    weight: Array, moment: Array, fired: Fired, profile: NumericProfile, coarser: float
) -> Array:
    """Steps that are powers of two apart, so that few thresholds serve a whole population.

    The largest step is chosen such that its threshold, fired.reach / step * 2**fraction_bits, is
    a multiple of the chip's threshold step; those of the finer groups then are too, doubled.
    """
    wanted = free_steps(weight, moment, profile, coarser).max()
    unit = fired.reach * 2**profile.fraction_bits / profile.threshold_step
    coarsest, finest = max(1, int(unit / (2 * wanted))), max(1, int(np.ceil(unit / (0.7 * wanted))))
    multiples = np.unique(np.linspace(coarsest, finest, TOP_STEPS).round().astype(int))
    options = [_best_powers(weight, moment, unit / m, profile) for m in multiples]
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


def _best_powers(weight: Array, moment: Array, top: float, profile: NumericProfile) -> Array:
    groups = profile.threshold_groups or 1
    candidates = np.stack([np.full(len(weight), top / 2**power) for power in range(groups)])
    errors = np.stack([_errors(weight, steps, moment, profile) for steps in candidates])
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
