"""A trained neuron in state units, on the grid of a target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.compiler.graph.graph import Unit
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import DECAY_ONE, IntegerNeuron
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.errors import Problem, UnsupportedError

ALIGNED = 1e-6


@dataclass(frozen=True)
class RoundingBound:
    """How far an integer neuron may be from its threshold when it decides otherwise than trained.

    From the same membrane potential v and the same input, the float64 neuron and the integer one
    reach potentials that are ``potential + leak * |v|`` apart at most, and decide alike unless that
    potential is within ``decision + leak * |v|`` of the threshold; all in state units.

    Attributes:
        unit: real value of a state unit, broadcasts against the layer.
        threshold: what the first potential that fires is above the trained threshold.
        potential: |bias error|, and 1 for the truncation of the leak.
        decision: |threshold error - bias error|, and 1 for the truncation of the leak.
        reset: |error of what a soft reset subtracts|; 0 for a hard one.
        leak: error of the decay, a fraction.
    """

    unit: Array
    threshold: Array
    potential: Array
    decision: Array
    reset: Array
    leak: float


def quantize_neuron(
    name: str, neuron: Neuron, x: Unit, profile: NumericProfile, horizon: int
) -> tuple[IntegerNeuron, RoundingBound]:
    """Put a neuron whose input has the unit ``x`` on the profile's grid.

    With gain g and input scale q, one state unit is g q / 2**f; the trained ``h >= th`` becomes
    ``v > theta`` with theta + 1 = th / unit rounded up to the grid. The k-th level of a graded neuron
    begins at (k - 1/2) th; where halves go to the even neighbour, odd levels begin just above.

    Args:
        name: for messages.
        neuron: with a resting potential of zero.
        x: what the integers of the input mean; without an offset if the neuron has a synaptic current.
        profile: the grid.
        horizon: steps between resets; 0 if never reset.

    Raises:
        UnsupportedError: SL0504, a threshold or bias does not fit the grid.
    """
    unit = neuron.gain * x.scale / 2**profile.fraction_bits
    first = neuron.threshold if neuron.levels == 1 else neuron.threshold / 2
    threshold = np.asarray(first / unit)
    above = [first + neuron.threshold * level for level in range(neuron.levels)]
    theta = np.stack(
        [
            _on_threshold_grid(np.asarray(level / unit), profile, _is_strict(neuron, k))
            for k, level in enumerate(above, 1)
        ]
    )
    threshold_error = theta[0] + 1 - threshold
    drive = (neuron.gain * x.offset + neuron.drift) / unit
    tie = restores_tie(neuron, threshold_error, profile)
    bias = on_bias_grid(name, drive + (1 if tie else 0), profile)
    _check_threshold(name, theta, profile)
    decay_step = DECAY_ONE >> profile.decay_bits
    decay = round((1 - neuron.decay) * DECAY_ONE / decay_step) * decay_step
    current_decay = None
    if neuron.current_decay is not None:
        current_decay = round((1 - neuron.current_decay) * DECAY_ONE / decay_step) * decay_step
    level = np.asarray(neuron.subtracted / unit)
    soft = np.asarray(np.rint(level).astype(np.int64)) if neuron.reset == "soft" else None
    op = IntegerNeuron(
        theta=theta,
        bias=bias,
        decay=decay,
        fraction_bits=profile.fraction_bits,
        current_decay=current_decay,
        reset=neuron.reset,
        reset_by=soft,
        state_bits=profile.state_bits,
        horizon=horizon if 0 in (decay, current_decay) else 0,
    )
    truncation = 0.0 if decay in (0, DECAY_ONE) else 1.0
    bias_error = bias - drive
    bound = RoundingBound(
        unit=unit,
        threshold=threshold_error,
        potential=np.abs(bias_error) + truncation,
        decision=np.abs(threshold_error - bias_error) + truncation,
        reset=np.abs(soft - level) if soft is not None else np.zeros(()),
        leak=abs(neuron.decay - (DECAY_ONE - decay) / DECAY_ONE),
    )
    return op, bound


def restores_tie(neuron: Neuron, threshold_error: Array, profile: NumericProfile) -> bool:
    """Whether a bias of one state unit lets potentials fire that are exactly at their coarse threshold."""
    aligned = bool((np.abs(threshold_error - 1) < ALIGNED).all())
    return profile.threshold_step > 1 and not neuron.strict and aligned


def _is_strict(neuron: Neuron, level: int) -> bool:
    """Whether a potential of exactly the threshold stays below, as a half that goes to the even neighbour."""
    if neuron.levels == 1:
        return neuron.strict
    return neuron.rounding == "half_even" and level % 2 == 1


def _on_threshold_grid(threshold: Array, profile: NumericProfile, strict: bool) -> Array:
    """The largest potential that does not fire, on the grid."""
    step = profile.threshold_step
    if step == 1 and strict:
        below: Array = np.floor(threshold + ALIGNED).astype(np.int64)
        return below
    if step == 1:
        theta: Array = np.ceil(threshold - ALIGNED).astype(np.int64) - 1
        return theta
    coarse: Array = np.rint(threshold / step).astype(np.int64) * step
    return coarse


def on_bias_grid(name: str, bias: Array, profile: NumericProfile) -> Array:
    """Biases in state units as the profile holds them: mantissas of one shift, the finest that fits.

    Raises:
        UnsupportedError: SL0504, none fits.
    """
    limit = 2 ** (profile.bias_mantissa_bits - 1) - 1
    exponent = next((e for e in range(2**profile.bias_exponent_bits) if _fits(bias, e, limit)), None)
    if exponent is None:
        raise UnsupportedError.of(
            "SL0504",
            name,
            "a bias does not fit the target",
            wanted=f"a mantissa within {limit} and an exponent below {2**profile.bias_exponent_bits}",
            got=f"{np.abs(bias).max():.0f} state units",
            remedy="use a target with wider biases",
        )
    integers: Array = np.asarray(np.rint(bias / 2**exponent).astype(np.int64) << exponent)
    return integers


def _fits(bias: Array, exponent: int, limit: int) -> bool:
    return bool((np.abs(np.rint(bias / 2**exponent)) <= limit).all())


def _check_threshold(name: str, theta: Array, profile: NumericProfile) -> None:
    problems = []
    largest = (2**profile.threshold_bits - 1) * profile.threshold_step
    if theta.min() < 0 or theta.max() > largest:
        problems.append(
            Problem(
                "SL0504",
                name,
                "a threshold does not fit the target",
                f"0..{largest}",
                f"{theta.min()}..{theta.max()}",
                "check the weights, which are minute beside the threshold, or use fewer --bits"
                if theta.max() > largest
                else "give the neuron a threshold above its potential at rest",
            )
        )
    groups = len(np.unique(theta))
    if profile.threshold_groups is not None and groups > profile.threshold_groups:
        problems.append(
            Problem(
                "SL0504",
                name,
                "needs more thresholds than a population has",
                str(profile.threshold_groups),
                str(groups),
                "give the layer one threshold, or compile for a target with more",
            )
        )
    if problems:
        raise UnsupportedError(problems)
