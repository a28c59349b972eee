"""In which chip steps of a network step a population works, where a network step takes several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.targets.loihi.program import Ints


@dataclass(frozen=True)
class Slots:
    """When neurons take what arrives, and when they send.

    Attributes:
        takes: an axis, of which index n takes in slot n; None: all take in slot 0.
        sends: an axis, of which index n sends in slot n; None: all send in slot ``late``.
        late: slots between taking and sending.
    """

    takes: int | None
    sends: int | None
    late: int = 0

    def of(self, shape: tuple[int, ...]) -> tuple[Ints, Ints]:
        """The slots in which each neuron takes and sends, [neurons] both.

        >>> [slots.tolist() for slots in Slots(None, 1).of((2, 3))]
        [[0, 0, 0, 0, 0, 0], [0, 1, 2, 0, 1, 2]]
        """
        return _index(self.takes, 0, shape), _index(self.sends, self.late, shape)


def _index(axis: int | None, slot: int, shape: tuple[int, ...]) -> Ints:
    if axis is None:
        return np.full(int(np.prod(shape)), slot, np.int64)
    index: Ints = np.indices(shape, np.int64)[axis].ravel()
    return index
