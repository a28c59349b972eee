"""What a region computes: found by its answers, and held to them on sequences drawn by chance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spikeloom.compiler.frontends.onnx.regions import NoNeuronError, Region
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.neuron import Neuron

SMALL = 2.0**-20
"""A potential and a current that make nothing fire."""
SAME = 1e-9
"""By how much two ways to compute one number in float64 may differ, relatively."""
EPSILON = 2.0**-48
"""By how much a number may be off after a few operations in float64, relatively."""
PROBES, LENGTH, SEED = 64, 60, 0
LARGEST = 2.0**60


@dataclass(frozen=True)
class Recognised:
    """What a region is.

    Attributes:
        op: a neuron, a leaky sum, or None for a sum without a leak.
        gain: what the input is multiplied by before it.
        offset: what is added then.
    """

    op: Neuron | LeakySum | None
    gain: float = 1.0
    offset: float = 0.0


def recognise(region: Region) -> Recognised:
    """The operation of a region.

    Raises:
        NoNeuronError: it is none of those that we have, or answers otherwise.
    """
    rest, of_v, of_x = (float(value) for value in _near_rest(region))
    lost = EPSILON * (1.0 + abs(rest) / SMALL)
    decay, gain = (_neat(region, (value - rest) / SMALL, lost) for value in (of_v, of_x))
    fires = bool(region.fired) and region.fired != region.after and _fires(region, gain)
    if not fires:
        return _membrane(region, decay, gain, rest)
    neuron = _neuron(region, decay, gain, rest)
    _probe(region, neuron)
    return Recognised(neuron)


def _check_sum(region: Region, gain: float, offset: float, keep: float) -> None:
    """Hold a membrane that never fires to its equation.

    Raises:
        NoNeuronError: it answers otherwise.
    """
    rng = np.random.default_rng(SEED)
    v = np.zeros(PROBES)
    for x in rng.normal(0, 2, (LENGTH, PROBES)):
        out, after = region.run(v, x)
        wanted = keep * v + gain * x + offset
        if not (np.allclose(after, wanted, rtol=SAME, atol=SAME) and np.allclose(out, after)):
            raise NoNeuronError("a membrane that never fires answers otherwise than its equation")
        v = wanted


def _near_rest(region: Region) -> Array:
    """States after a step: at rest, from a small potential, and for a small current."""
    return region.run(np.array([0.0, SMALL, 0.0]), np.array([0.0, 0.0, SMALL]))[1]


def _fires(region: Region, gain: float) -> bool:
    """Whether a strong current makes it give 1, where no current makes it give 0."""
    strong = np.array([0.0, LARGEST if gain >= 0 else -LARGEST])
    fired, _ = region.run(np.zeros(2), strong)
    return bool((fired == np.array([0.0, 1.0])).all())


def _membrane(region: Region, keep: float, gain: float, offset: float) -> Recognised:
    if not 0 <= keep <= 1:
        raise NoNeuronError(f"a state that keeps {keep:g} of itself and never fires")
    _check_sum(region, gain, offset, keep)
    return Recognised(None if keep == 1 else LeakySum(keep), gain, offset)


def _neuron(region: Region, decay: float, gain: float, drift: float) -> Neuron:
    if not 0 <= decay <= 1 or gain <= 0:
        raise NoNeuronError(f"a neuron that keeps {decay:g} of its potential and adds {gain:g} of its input")
    current = _weakest(region)
    threshold = _neat(region, gain * current + drift, EPSILON)
    after = region.run(np.zeros(2), np.array([2.0, 4.0]) * current)[1]
    if after[0] == after[1]:
        neuron = Neuron(decay, gain, threshold, drift, "hard", float(after[0]))
    else:
        subtracted = _neat(region, float(gain * 2.0 * current + drift - after[0]), EPSILON)
        same = abs(subtracted - threshold) <= SAME * threshold
        neuron = Neuron(decay, gain, threshold, drift, "soft", reset_by=None if same else subtracted)
    if threshold <= neuron.v_reset:
        raise NoNeuronError(f"a threshold of {threshold:g} that is not above the reset to {neuron.v_reset:g}")
    tie = np.array([(threshold - drift) / gain])
    strict = float(region.run(np.zeros(1), tie)[0][0]) == 0.0
    met = gain * tie[0] + drift == threshold
    return replace(neuron, strict=strict and met)


def _weakest(region: Region) -> float:
    """The weakest current that makes a neuron at rest fire: bisection down to neighbouring numbers."""
    silent, loud = 0.0, LARGEST
    while True:
        middle = (silent + loud) / 2
        if middle in (silent, loud):
            return loud
        if region.run(np.zeros(1), np.array([middle]))[0][0] > 0:
            loud = middle
        else:
            silent = middle


def _probe(region: Region, neuron: Neuron) -> None:
    """Sequences of currents through both: spikes and potentials, but where rounding may decide."""
    rng = np.random.default_rng(SEED)
    kind = Type((PROBES,), REAL)
    state = {name: value[None] for name, value in neuron.initial(kind).items()}
    reach = (neuron.threshold - min(neuron.v_reset, 0.0)) / neuron.gain
    fired = 0.0
    for x in rng.normal(0.4, 0.8, (LENGTH, PROBES)) * reach:
        before = state["v"][0]
        s, after = region.run(before, x)
        (wanted,), state = neuron.step((x[None],), state)
        h = neuron.decay * before + neuron.gain * x + neuron.drift
        clear = np.abs(h - neuron.threshold) > SAME * max(abs(neuron.threshold), 1.0)
        if (s != wanted[0])[clear].any() or not np.allclose(
            after[clear], state["v"][0][clear], rtol=1e-7, atol=SAME * reach * neuron.gain
        ):
            raise NoNeuronError("it fires, but answers otherwise than a neuron of ours")
        fired += float(s.mean())
    if not 0.02 < fired / LENGTH < 0.98:
        raise NoNeuronError("it could not be made to fire and to be silent")


def _neat(region: Region, value: float, lost: float) -> float:
    """The constant of the region, or the number of few digits, that a value is but for rounding."""
    candidates = (*region.numbers(), float(f"{value:.7g}"))
    nearest = min(candidates, key=lambda number: abs(number - value))
    return nearest if abs(nearest - value) <= lost * max(abs(value), 1.0) else value
