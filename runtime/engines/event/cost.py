"""What a product costs, gathered or dense; measured, and used for nothing but the choice between them.

Figures of one core of a processor with VNNI (AMD EPYC, family 26, one thread, ONNX Runtime 1.31, numba
0.68): dense 480 G products/s for many rows and 90 G/s for one, plus 5 us a call; gathering a row of weights
0.3 ns (2.2 ns in the window of a convolution, whose runs are short) and 100 G additions/s, plus 0.11 ns for
each input that is looked at.
"""

from __future__ import annotations

DENSE = 480e9
DENSE_ONE_ROW = 90e9
GATHER = 100e9
GATHER_ROW = 0.3e-9
WINDOW_ROW = 2.2e-9
LOOK = 0.11e-9
COPY = 0.03e-9
CALL = 5e-6
_FEW = 16


def busiest(rows: int, inputs: int, outputs: int, looks: int | None = None) -> float:
    """The share of inputs that are not zero up to which gathering is the faster.

    The inputs of a convolution are seen by several windows, which are copied for a dense product and looked
    at once for a gathered one, ``looks`` of them; but then the places of a window are put together.

    >>> round(busiest(1, 1024, 1024), 1), 0.1 < busiest(256, 384, 384) < 0.2
    (1.0, True)
    """
    products = rows * inputs * outputs
    fast = min(1.0, rows / _FEW)
    dense = CALL + products / (DENSE_ONE_ROW + fast * (DENSE - DENSE_ONE_ROW))
    seen = rows * inputs if looks is None else looks
    if looks is not None:
        dense += rows * inputs * COPY
    row = (GATHER_ROW if looks is None else WINDOW_ROW) + outputs / GATHER
    share = (dense - seen * LOOK) / (rows * inputs * row)
    return max(0.0, min(1.0, share))
