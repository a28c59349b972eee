"""CubaLI, I and LI: membranes that never fire."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.frontends.nir.rules.delay import later
from spikeloom.compiler.frontends.nir.rules.spiking import synaptic_current
from spikeloom.compiler.frontends.nir.walk import (
    NotExpressibleError,
    Walk,
    fitted,
    numbers,
    time_constant,
)
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.leaky_sum import LeakySum


def integrator(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """V' = r x."""
    if not walk.steps:
        raise NotExpressibleError("sums without end: the number of time steps must be known")
    rule = walk.semantics
    x = later(walk, f"{name}.delay", x, np.asarray(rule.delay))
    gain = numbers(node, "r") * (1.0 if rule.pulses else rule.dt)
    return walk.add(name, Accumulate(walk.steps), walk.scaled(f"{name}.drive", x, gain, np.zeros(())))


def leaky_integrator(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """Tau v' = (v_leak - v) + r x."""
    rule, tau = walk.semantics, time_constant(node, "tau")
    x = later(walk, f"{name}.delay", x, np.asarray(rule.delay))
    drive = walk.scaled(f"{name}.drive", x, rule.gain(tau) * numbers(node, "r"), np.zeros(()))
    return _membrane(walk, name, node, drive, tau)


def current_based_integrator(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """tau_syn I' = -I + w_in x ;  tau_mem v' = (v_leak - v) + r I."""
    rule, tau = walk.semantics, time_constant(node, "tau_mem")
    x = later(walk, f"{name}.delay", x, np.asarray(rule.delay))
    drive = synaptic_current(walk, name, node, x, rule.gain(tau) * numbers(node, "r"))
    return _membrane(walk, name, node, drive, tau)


def _membrane(walk: Walk, name: str, node: NirNode, drive: str, tau: float) -> str:
    left = walk.semantics.left(tau)
    if not 0 <= left < 1:
        raise NotExpressibleError(
            "its time constant is shorter than a time step: explicit Euler is not stable"
        )
    rest: Array = (1.0 - left) * numbers(node, "v_leak")
    bias = fitted(rest, walk.shape(drive)) if rest.any() else None
    return walk.add(name, LeakySum(left, bias), drive)
