"""CubaLIF, IF, LIF and Threshold: what fires."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.frontends.nir.rules.delay import later
from spikeloom.compiler.frontends.nir.walk import NotExpressibleError, Walk, numbers, time_constant
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.feedback_neuron import FeedbackNeuron
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum
from spikeloom.compiler.graph.ops.neuron import Neuron

NOTHING = np.zeros(())


def integrate_and_fire(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """V' = r x, and a spike above the threshold."""
    rule = walk.semantics
    gain = numbers(node, "r") * (1.0 if rule.pulses else rule.dt)
    unit, threshold = _threshold(node)
    x = _arriving(walk, name, x)
    drive = walk.scaled(f"{name}.drive", x, gain / unit, NOTHING)
    return _fire(walk, name, _Plain(1.0, threshold, gain / unit), drive)


def leaky_integrate_and_fire(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """Tau v' = (v_leak - v) + r x, and a spike above the threshold."""
    rule, tau = walk.semantics, time_constant(node, "tau")
    gain, left = rule.gain(tau), rule.left(tau)
    unit, threshold = _threshold(node)
    x = _arriving(walk, name, x)
    scale, rest = gain * numbers(node, "r") / unit, (1.0 - left) * numbers(node, "v_leak") / unit
    drive = walk.scaled(f"{name}.drive", x, scale, rest)
    return _fire(walk, name, _Plain(left, threshold, scale), drive)


def current_based(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """tau_syn I' = -I + w_in x ;  tau_mem v' = (v_leak - v) + r I, and a spike above the threshold.

    The gains stand before the current, which is linear, so that they vanish into the weights before.
    """
    rule, tau = walk.semantics, time_constant(node, "tau_mem")
    gain, left = rule.gain(tau), rule.left(tau)
    unit, threshold = _threshold(node)
    x = _arriving(walk, name, x)
    rest = (1.0 - left) * numbers(node, "v_leak") / unit
    if (rest == rest.flat[0]).all():
        return _current_within(walk, name, node, x, gain / unit, float(rest.flat[0]), _Plain(left, threshold))
    if name in walk.back:
        raise NotExpressibleError("v_leak differs from neuron to neuron, and its spikes come back")
    current = synaptic_current(walk, name, node, x, gain * numbers(node, "r") / unit)
    drive = walk.scaled(f"{name}.rest", current, np.ones(()), rest)
    return _fire(walk, name, _Plain(left, threshold), drive)


def synaptic_current(walk: Walk, name: str, node: NirNode, x: str, gain: Array) -> str:
    """The synaptic current times a gain, as the potential of this step takes it."""
    rule, tau = walk.semantics, time_constant(node, "tau_syn")
    weighted = np.asarray(rule.gain(tau) * numbers(node, "w_in") * gain)
    drive = walk.scaled(f"{name}.weighted", x, weighted, NOTHING)
    current = walk.add(f"{name}.current", LeakySum(_leaky(rule.left(tau), "tau_syn")), drive)
    return later(walk, f"{name}.before", current, np.asarray(0 if rule.fresh else 1))


def threshold_(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """S = x > threshold, without a memory."""
    level = numbers(node, "threshold")
    if (level == level.flat[0]).all() and level.flat[0] > 0:
        return walk.add(name, Neuron(0.0, 1.0, float(level.flat[0]), strict=walk.semantics.strict), x)
    raised = walk.scaled(f"{name}.raised", x, np.ones(()), 1.0 - level)
    return walk.add(name, Neuron(0.0, 1.0, 1.0, strict=walk.semantics.strict), raised)


def _threshold(node: NirNode) -> tuple[Array, float]:
    """What potentials are counted in, and the threshold in that unit.

    The unit is 1 where all neurons have one threshold, so that ties stay ties; else each neuron's own.
    """
    level = numbers(node, "v_threshold")
    if (level <= 0).any():
        raise NotExpressibleError("a threshold of zero or below has no counterpart")
    if np.any(np.asarray(node.parameters.get("v_reset", 0)) != 0):
        raise NotExpressibleError("a reset to another potential than zero has no counterpart")
    if (level == level.flat[0]).all():
        return np.ones(()), float(level.flat[0])
    return level, 1.0


def _leaky(left: float, name: str) -> float:
    if not 0 <= left < 1:
        raise NotExpressibleError(f"{name} is shorter than a time step: explicit Euler is not stable")
    return left


@dataclass(frozen=True)
class _Plain:
    """Neurons of one unit: what is left of a potential, the threshold, and what an input adds.

    ``gain`` is that of what comes back; what arrives is scaled already.
    """

    left: float
    threshold: float
    gain: Array = field(default_factory=lambda: np.ones(()))
    drift: float = 0.0
    current: float | None = None


def _arriving(walk: Walk, name: str, x: str) -> str:
    """What arrives at neurons, with the offset of what comes back, after the delay of the layer."""
    if name in walk.back:
        x = walk.scaled(f"{name}.offset", x, np.ones(()), walk.back[name].bias)
    return later(walk, f"{name}.delay", x, np.asarray(walk.semantics.delay))


def _current_within(
    walk: Walk, name: str, node: NirNode, x: str, gain: Array, rest: float, plain: _Plain
) -> str:
    """Neurons with their synaptic current: one operation.

    A potential that takes the current of the step before takes that of inputs and spikes a step later.
    """
    rule, tau = walk.semantics, time_constant(node, "tau_syn")
    weighted = np.asarray(rule.gain(tau) * numbers(node, "w_in") * gain * numbers(node, "r"))
    before = later(walk, f"{name}.before", x, np.asarray(0 if rule.fresh else 1))
    drive = walk.scaled(f"{name}.weighted", before, weighted, NOTHING)
    current = _leaky(rule.left(tau), "tau_syn")
    return _fire(walk, name, replace(plain, gain=weighted, drift=rest, current=current), drive)


def _looped(walk: Walk, name: str, neuron: Neuron, gain: Array) -> Neuron | FeedbackNeuron:
    """The neurons, with the way back that they have."""
    if name not in walk.back:
        return neuron
    back = walk.back[name]
    late = neuron.current_decay is not None and not walk.semantics.fresh
    factor = gain[:, None] if gain.ndim == 1 and back.dense else gain
    try:
        weight = np.asarray(factor * back.weight)
    except ValueError as error:
        raise NotExpressibleError(f"what comes back does not fit its neurons: {error}") from error
    return FeedbackNeuron.of(neuron, weight, wait=back.wait + late)


def _fire(walk: Walk, name: str, plain: _Plain, drive: str) -> str:
    rule, left, threshold = walk.semantics, plain.left, plain.threshold
    if not 0 <= left <= 1:
        raise NotExpressibleError(
            "its time constant is shorter than a time step: explicit Euler is not stable"
        )
    if rule.late and left == 0:
        raise NotExpressibleError("a memory of one step cannot be reset one step later")
    subtracted = threshold / left if rule.late else None
    neuron = Neuron(
        left,
        1.0,
        threshold,
        plain.drift,
        reset=rule.reset,
        strict=rule.strict,
        current_decay=plain.current,
        reset_by=subtracted,
    )
    op = _looped(walk, name, neuron, plain.gain)
    fired = walk.add(f"{name}.fired" if rule.late else name, op, drive)
    return later(walk, name, fired, np.asarray(1 if rule.late else 0))
