"""What fits the chip's registers: weights and biases."""

from __future__ import annotations

import numpy as np

from spikeloom.targets.loihi.program import Ints

BIAS_MANTISSA = 2**12
BIAS_EXPONENTS = 8
LARGEST_WEIGHT = 255


def bias_registers(bias: Ints) -> tuple[Ints, Ints]:
    """Mantissas of 13 bits with sign and exponents of 3 bits: bias = mantissa << exponent, exactly.

    Raises:
        ValueError: a bias has no such form.

    >>> bias_registers(np.array([0, -4096, 4097, 10240]))
    Traceback (most recent call last):
    ValueError: 4097
    >>> [part.tolist() for part in bias_registers(np.array([0, -4096, 4095, 10240]))]
    [[0, -4096, 4095, 2560], [0, 0, 0, 2]]
    """
    exponent = np.zeros_like(bias)
    for _ in range(BIAS_EXPONENTS):
        mantissa = bias >> exponent
        large = (mantissa < -BIAS_MANTISSA) | (mantissa >= BIAS_MANTISSA)
        if not large.any():
            break
        exponent += large
    mantissa = bias >> exponent
    wrong = (exponent >= BIAS_EXPONENTS) | ((mantissa << exponent) != bias)
    if wrong.any():
        raise ValueError(str(bias[wrong][0]))
    return mantissa, exponent


def weight_fault(weights: Ints) -> str:
    """What keeps weights of one projection from being stored; empty if nothing does.

    Lava 0.10.0 (``utils/weightutils.py``) clips weights of one sign to 255, those of both to -256..255,
    and drops the last digit of the latter.

    >>> weight_fault(np.array([-254, 2])), weight_fault(np.array([255, 1])), weight_fault(np.array([-1, 1]))
    ('', '', 'signs are mixed, and a weight is odd')
    """
    if not weights.size:
        return ""
    mixed = weights.min() < 0 < weights.max()
    if weights.max() > LARGEST_WEIGHT or weights.min() < -LARGEST_WEIGHT - int(mixed):
        return f"a weight is {weights[np.abs(weights).argmax()]}"
    return "signs are mixed, and a weight is odd" if mixed and (weights & 1).any() else ""
