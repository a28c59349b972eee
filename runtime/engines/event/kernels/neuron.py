"""The step of a neuron layer over several time steps, fused with the count of its spikes.

Arrays are [steps, samples, rows, columns]; parameters [1 or rows, columns]. A leak is computed as
trunc(v * share) in a floating type that holds v * (4096 - decay) exactly: dividing by 4096 moves the
exponent, and the conversion to integers drops the fraction, toward zero.
"""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.kernels.jit import compiled


@compiled
def fire_one_level(
    x: Array,
    v: Array,
    theta: Array,
    bias: Array,
    soft: bool,
    share: Array,
    gain: int,
    rested: bool,
    spikes: Array,
    counts: Array,
) -> None:
    """One level, no synaptic current; a spike clears the potential, or subtracts theta + 1 if ``soft``.

    x is uint8 or int32, v int32 [samples, rows, columns] and changed in place; theta and bias are int32.
    ``share`` holds one number, (4096 - decay) / 4096 in float32 or float64, whichever is exact; ``gain`` is
    2**fraction_bits. Where the layer has ``rested``, v holds anything yet and begins at 0. The spikes are
    uint8; ``counts``, int64 [steps, samples], is how many neurons fired.
    """
    steps, samples, rows, columns = x.shape
    unit, part = np.int32(gain), share[0]
    for b in range(samples):
        for t in range(steps):
            counts[t, b] = 0
        for r in range(rows):
            p = r if theta.shape[0] > 1 else 0
            for c in range(columns if rested else 0):
                v[b, r, c] = 0
            for t in range(steps):
                fired = 0
                for c in range(columns):
                    left = np.int32(share.dtype.type(v[b, r, c]) * part)
                    potential = np.int32(left + np.int32(x[t, b, r, c] * unit) + bias[p, c])
                    s = potential > theta[p, c]
                    after = np.int32(potential - theta[p, c] - 1) if soft else np.int32(0)
                    v[b, r, c] = after if s else potential
                    spikes[t, b, r, c] = s
                    fired += s
                counts[t, b] += fired


@compiled
def fire_graded(
    x: Array,
    u: Array,
    v: Array,
    theta: Array,
    bias: Array,
    reset_by: Array,
    soft: bool,
    keeps: Array,
    digits: int,
    spikes: Array,
    counts: Array,
) -> None:
    """Any number of levels, either reset, with or without a synaptic current, in 64 bits.

    As :func:`fire_one_level`, with theta int64 [levels, 1 or rows, columns], and bias and ``reset_by`` int64.
    ``keeps`` are 4096 - decay of u and v, where a u that keeps nothing is the input itself; ``digits`` is
    fraction_bits.
    """
    steps, samples, rows, columns = x.shape
    for b in range(samples):
        for t in range(steps):
            counts[t, b] = 0
        for r in range(rows):
            p = r if theta.shape[1] > 1 else 0
            for t in range(steps):
                for c in range(columns):
                    current = _toward_zero(u[b, r, c] * keeps[0]) + (np.int64(x[t, b, r, c]) << digits)
                    u[b, r, c] = current
                    potential = _toward_zero(v[b, r, c] * keeps[1]) + current + bias[p, c]
                    s = 0
                    for level in range(theta.shape[0]):
                        s += potential > theta[level, p, c]
                    if soft:
                        potential -= s * reset_by[p, c]
                    elif s > 0:
                        potential = 0
                    v[b, r, c] = potential
                    spikes[t, b, r, c] = s
                    counts[t, b] += s > 0


@compiled
def _toward_zero(product: int) -> int:
    """A product divided by 4096, without its fraction."""
    return (product + ((product >> 63) & 4095)) >> 12
