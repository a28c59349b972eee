"""Rounding by the error of the sums: what one weight's rounding does, the others of its channel make up for.

Inputs of a layer fire together, so that the nearest integer of every weight is not the rounding with the
smallest error of their sum. Weights are rounded one after the other, up or down, and the error of each is
spread over those that are still to be rounded (GPTQ: Frantar et al., 2022, arXiv 2210.17323); then each in
turn takes the better of its two integers while the others stay, until none changes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.linear import Linear

DAMPING = 0.01
"""Of the mean square of the inputs: how far correlations are trusted that few recordings show."""
MOST_INPUTS = 1024
"""Of a channel; above it the matrix of their products is not worth its time."""
MOST_ROWS = 65_536
SWEEPS = 8


def products_of_inputs(op: Convolution | Linear, x: Array, centred: bool) -> list[Array]:
    """Mean products [inputs, inputs] of what a channel of each group adds up; none where they are too many.

    Args:
        op: the layer.
        x: its inputs [samples, ...].
        centred: whether the means are subtracted first, as a bias makes up for them.
    """
    if np.prod(op.weight.shape[1:]) > MOST_INPUTS:
        return []
    channels = x.shape[-1] if isinstance(op, Linear) else x.shape[1]
    every = max(1, x.size // channels // MOST_ROWS)
    found = []
    for rows in _rows(op, x[::every]):
        chosen = rows.astype(np.float64)
        if centred:
            chosen -= chosen.mean(0)
        found.append(chosen.T @ chosen / len(chosen))
    return found


def round_together(weight: Array, products: Array, limit: int) -> NDArray[np.int8]:
    """One of the two integers next to each weight, within a limit, with a small error of the channels' sums.

    Never a larger one, as far as ``products`` tells, than that of the nearest integers.

    Args:
        weight: real [channels, inputs], in steps.
        products: mean products [inputs, inputs] of the inputs.
        limit: the largest magnitude of an integer.

    >>> together = np.array([[1.0, 0.9], [0.9, 1.0]])  # two inputs that mostly fire at once
    >>> round_together(np.array([[0.4, 0.3]]), together, 7).tolist()
    [[1, 0]]
    """
    damping = max(DAMPING * float(np.trace(products)) / len(products), 1e-12)
    damped = products + np.eye(len(products)) * damping
    held = np.clip(weight, -limit, limit)
    ends = np.floor(held), np.ceil(held)
    starts = np.rint(held), _spread(weight, damped, ends)
    nearest, spread = (_settle(weight, start, damped, ends) for start in starts)
    worse = _errors(weight, spread, damped) >= _errors(weight, nearest, damped)
    return np.where(worse[:, None], nearest, spread).astype(np.int8)


def relative_error(weight: Array, whole: Array, products: Array) -> float:
    """Root mean square error of the sums of rounded weights, relative to the sums themselves."""
    error, size = _errors(weight, whole, products).sum(), _errors(weight, 0 * weight, products).sum()
    return float(np.sqrt(error / max(size, 1e-300)))


def _spread(weight: Array, products: Array, ends: tuple[Array, Array]) -> Array:
    """Weights with the largest inputs first, each error spread over what is left."""
    from scipy import linalg

    order = np.argsort(-np.diag(products), kind="stable")
    inverse = linalg.inv(products[np.ix_(order, order)], check_finite=False)
    factor = linalg.cholesky((inverse + inverse.T) / 2, check_finite=False)
    left, whole = weight[:, order].copy(), np.empty_like(weight)
    low, high = (end[:, order] for end in ends)
    for i in range(len(order)):
        whole[:, i] = np.clip(np.rint(left[:, i]), low[:, i], high[:, i])
        error = (left[:, i] - whole[:, i]) / factor[i, i]
        left[:, i + 1 :] -= np.outer(error, factor[i, i + 1 :])
    result = np.empty_like(weight)
    result[:, order] = whole
    return result


def _settle(weight: Array, start: Array, products: Array, ends: tuple[Array, Array]) -> Array:
    """Each weight in turn at its best, the others as they are, until none changes."""
    (low, high), whole, scale = ends, start.copy(), np.diag(products)
    pull = (weight - whole) @ products
    for _ in range(SWEEPS):
        before = whole.copy()
        for i in range(weight.shape[1]):
            better = np.clip(np.rint(whole[:, i] + pull[:, i] / scale[i]), low[:, i], high[:, i])
            (moved,) = np.nonzero(better != whole[:, i])
            pull[moved] -= np.outer(better[moved] - whole[moved, i], products[i])
            whole[:, i] = better
        if (whole == before).all():
            break
    return whole


def _errors(weight: Array, whole: Array, products: Array) -> Array:
    """Mean square error [channels] of the sums."""
    apart = weight - whole
    total: Array = ((apart @ products) * apart).sum(1)
    return total


def _rows(op: Convolution | Linear, x: Array) -> list[Array]:
    """What the weights of a channel multiply, [rows, inputs], for each group of channels."""
    if isinstance(op, Linear):
        return [x.reshape(-1, x.shape[-1])]
    return list(op.columns(x))
