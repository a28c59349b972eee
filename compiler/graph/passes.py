"""What a pass is.

A pass is a frozen dataclass whose fields are its options. It takes a graph and returns a new one
and whether anything changed; it declares the stage that it needs and the stage that it gives, and
the runner holds it to that: the graph is verified before and after.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.graph import Graph, Stage
from spikeloom.compiler.graph.verify import verify
from spikeloom.errors import InternalError


@dataclass(frozen=True)
class PassResult:
    """What a pass gives back: the graph, and whether it differs from the one that went in."""

    graph: Graph
    changed: bool


@dataclass(frozen=True)
class Pass(ABC):
    """One rewriting of a graph that keeps its meaning up to float rounding.

    Attributes:
        name: what it is called on the command line and in the ledger.
        needs, gives: the stage of the graph before and after.
    """

    name: ClassVar[str]
    needs: ClassVar[Stage]
    gives: ClassVar[Stage]

    @abstractmethod
    def apply(self, graph: Graph) -> PassResult:
        """Rewrite the graph."""


Observer = Callable[[str, Graph], None]


def run_passes(graph: Graph, passes: Iterable[Pass], after: Observer | None = None) -> Graph:
    """Apply passes in order, verifying around each; ``after(name, graph)`` sees each result.

    Raises:
        InternalError: SL0402, a pass got or gave a graph of the wrong stage, or claimed that
            nothing changed and returned another graph; SL0401, it broke a rule.
    """
    for one in passes:
        if graph.stage is not one.needs:
            raise InternalError.of(
                "SL0402", one.name, "cannot take this graph", wanted=one.needs.value, got=graph.stage.value
            )
        result = one.apply(graph)
        if result.graph.stage is not one.gives or (not result.changed and result.graph is not graph):
            raise InternalError.of("SL0402", one.name, "did not give the graph that it declares")
        verify(result.graph)
        graph = result.graph
        if after is not None:
            after(one.name, graph)
    return graph
