"""What an engine is: something that executes a compiled network, exactly as its graph says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.op import Array


@dataclass(frozen=True)
class Trace:
    """What a network did over some time steps.

    Attributes:
        output: [steps, batch, ...], the integers of the network's output.
        spikes: of each neuron layer [steps, batch, ...], 0 and 1, graded, or with a sign.
    """

    output: NDArray[np.int64]
    spikes: Mapping[str, Array]


class Engine(Protocol):
    """Executes a network over any number of calls; the state is kept in between.

    Attributes:
        name: as on the command line.
    """

    name: str

    def reset(self, batch: int) -> None:
        """Forget everything and expect ``batch`` samples side by side."""
        ...

    def run(self, frames: Array) -> Trace:
        """Advance by frames [steps, batch, ...] and return what happened."""
        ...

    def state(self) -> dict[str, Array]:
        """A copy of the state, ``"node/state"`` to array [batch, ...]."""
        ...

    def restore(self, state: Mapping[str, Array]) -> None:
        """Put a state back that :meth:`state` gave."""
        ...
