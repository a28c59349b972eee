"""Intel Loihi 2."""

from __future__ import annotations

from spikeloom.compiler.mapping.target import ChipTarget


def loihi2() -> ChipTarget:
    """The target ``loihi2``.

    >>> loihi2().profile(8).fraction_bits
    7
    """
    from spikeloom.targets.loihi.target import Loihi2

    return Loihi2()
