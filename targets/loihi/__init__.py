"""Intel Loihi 2."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spikeloom.targets.loihi.target import Loihi2


def loihi2() -> Loihi2:
    """The target ``loihi2``.

    >>> loihi2().profile(8).fraction_bits
    7
    """
    from spikeloom.targets.loihi.target import Loihi2

    return Loihi2()
