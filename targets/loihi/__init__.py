"""Intel Loihi and Loihi 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikeloom.targets.loihi.target import Loihi1, Loihi2


def loihi2() -> Loihi2:
    """The target ``loihi2``.

    >>> loihi2().profile(8).fraction_bits
    7
    """
    from spikeloom.targets.loihi.target import Loihi2

    return Loihi2()


def loihi1() -> Loihi1:
    """The target ``loihi1``.

    >>> loihi1().profile(8).rescales
    False
    """
    from spikeloom.targets.loihi.target import Loihi1

    return Loihi1()
