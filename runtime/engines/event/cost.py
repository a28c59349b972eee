"""What a product costs, gathered or dense; measured, and used for nothing but the choice between them.

Figures of one core of a processor with VNNI (AMD EPYC, family 26, one thread, ONNX Runtime 1.31, numba
0.68): dense 480 G products/s for many rows and 90 G/s for one, plus 5 us a call; gathering a row of weights
0.5 ns and 170 G additions/s, plus 20 ns and 0.05 ns an output for each result row, and 0.02 ns for each input
that is looked at, 0.25 ns where places are listed pixel by pixel.
"""

from __future__ import annotations

DENSE = 480e9
DENSE_ONE_ROW = 90e9
GATHER = 170e9
GATHER_ROW = 0.5e-9
BEGIN = 20e-9
STORE = 0.05e-9
LOOK = 0.02e-9
LOOK_BY_PIXEL = 0.25e-9
COPY = 0.03e-9
CALL = 5e-6
_FEW = 16


def busiest(rows: int, inputs: int, outputs: int, looks: int | None = None) -> float:
    """The share of rows of weights up to which adding those is faster than a dense product.

    The inputs of a convolution are seen by several windows, which are copied for a dense product and looked
    at once for a gathered one, ``looks`` of them.

    >>> round(busiest(1, 1024, 1024), 1), 0.2 < busiest(256, 384, 384) < 0.3
    (1.0, True)
    """
    products = rows * inputs * outputs
    fast = min(1.0, rows / _FEW)
    dense = CALL + products / (DENSE_ONE_ROW + fast * (DENSE - DENSE_ONE_ROW))
    gather = rows * (BEGIN + outputs * STORE)
    if looks is None:
        gather += rows * inputs * LOOK
    else:
        gather += looks * LOOK_BY_PIXEL
        dense += rows * inputs * COPY
    share = (dense - gather) / (rows * inputs * (GATHER_ROW + outputs / GATHER))
    return max(0.0, min(1.0, share))
