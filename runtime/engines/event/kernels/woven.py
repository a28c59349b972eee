"""How weights lie for gathering: unsigned, and two columns to a word of 16 bits.

Adding signed bytes to sums of 16 bits would take a conversion of each. Unsigned bytes, 128 more than the
weights, need none: a word of two of them is added as it is, see ``vector.py``. The low bytes of a register
are its first 32 columns and the high bytes the other 32, so that sums come out in order.
"""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.kernels.vector import COLUMNS, LANES

EXCESS = 128
_LINE = 64


def woven(matrix: Array) -> Array:
    """Weights of 8 bits [inputs, outputs] as uint8 [inputs, columns], filled up to whole registers.

    Rows begin where a line of the cache does.

    >>> held = woven(np.arange(40, dtype=np.int8)[None])
    >>> held.shape, (held[0, :4].astype(int) - EXCESS).tolist(), held.ctypes.data % 64
    ((1, 64), [0, 32, 1, 33], 0)
    """
    inputs, outputs = matrix.shape
    columns = -(-outputs // COLUMNS) * COLUMNS
    room = np.empty(inputs * columns + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    held = room[start : start + inputs * columns].reshape(inputs, columns // COLUMNS, LANES, 2)
    held.fill(EXCESS)
    for block in range(held.shape[1]):
        for half in range(2):
            first = block * COLUMNS + half * LANES
            part = matrix[:, first : first + LANES]
            np.add(part, EXCESS, out=held[:, block, : part.shape[1], half], dtype=np.int16, casting="unsafe")
    return held.reshape(inputs, columns)
