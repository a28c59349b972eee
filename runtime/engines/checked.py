"""An engine of a target, behind the checks that all engines make."""

from __future__ import annotations

from collections.abc import Mapping

from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.frames import check_frames, check_state


class CheckedEngine:
    """Refuses frames and states that do not fit the network, and hands on the rest."""

    def __init__(self, engine: Engine, graph: Graph) -> None:
        self.name = engine.name
        self._engine = engine
        self._graph = graph
        self._batch = 0

    def reset(self, batch: int) -> None:
        """Forget everything and expect ``batch`` samples side by side."""
        self._batch = batch
        self._engine.reset(batch)

    def run(self, frames: Array) -> Trace:
        """Advance by frames [steps, batch, ...].

        Raises:
            InputError: SL0803, the frames do not fit the network.
        """
        check_frames(self._graph, frames, self._batch)
        return self._engine.run(frames)

    def state(self) -> dict[str, Array]:
        """A copy of the state, ``"node/state"`` to int64 [batch, ...]."""
        return self._engine.state()

    def restore(self, state: Mapping[str, Array]) -> None:
        """Put a state back that :meth:`state` gave, here or in another engine.

        Raises:
            InputError: SL0803, the state is not one of this network.
        """
        check_state(self._graph, state)
        self._batch = max((len(array) for array in state.values()), default=self._batch)
        self._engine.restore(state)
