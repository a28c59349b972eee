"""Delay."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.frontends.nir.walk import NotExpressibleError, Walk, fitted, numbers
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.delay import Delay

ROUNDED = 1e-3
"""By how much of a time step a delay in seconds may be off: they are stored in float32."""


def delay(walk: Walk, name: str, node: NirNode, x: str) -> str:
    """y(t) = x(t - delay), for delays of whole time steps."""
    return later(walk, name, x, fitted(whole_steps(node, walk.semantics.dt), walk.shape(x)))


def whole_steps(node: NirNode, dt: float) -> Array:
    """The delays of a node in time steps of ``dt`` seconds."""
    exact = numbers(node, "delay") / dt
    steps: Array = np.rint(exact)
    if (np.abs(exact - steps) > ROUNDED).any() or (steps < 0).any():
        raise NotExpressibleError(f"its delays are not whole time steps of {dt} s")
    return steps.astype(np.int64)


def later(walk: Walk, name: str, x: str, steps: np.ndarray) -> str:
    """A value so many steps later; ``x`` itself if that is none."""
    return walk.add(name, Delay(steps), x) if steps.any() else x
