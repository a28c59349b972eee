"""The contract of a pass, and that the runner holds passes to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest

from spikeloom.compiler.graph.graph import Graph, Stage
from spikeloom.compiler.graph.kinds import SPIKES, Type
from spikeloom.compiler.graph.passes import Pass, PassResult, run_passes
from spikeloom.errors import InternalError


@dataclass(frozen=True)
class Given(Pass):
    """A pass that returns what it was made with."""

    name: ClassVar[str] = "given"
    needs: ClassVar[Stage] = Stage.CANONICAL
    gives: ClassVar[Stage] = Stage.INTEGER

    result: Graph = field(compare=False)
    changed: bool = True

    def apply(self, graph: Graph) -> PassResult:
        return PassResult(self.result, self.changed)


@dataclass(frozen=True)
class Idle(Pass):
    """A pass that changes nothing."""

    name: ClassVar[str] = "idle"
    needs: ClassVar[Stage] = Stage.INTEGER
    gives: ClassVar[Stage] = Stage.INTEGER

    def apply(self, graph: Graph) -> PassResult:
        return PassResult(graph, False)


def test_passes_run_in_order_and_are_seen(network: Graph) -> None:
    seen = []
    before = network.replace(stage=Stage.CANONICAL)
    passes = (Given(network), Idle(), Idle())
    result = run_passes(before, passes, after=lambda name, graph: seen.append((name, graph.stage)))
    assert result is network
    assert seen == [("given", Stage.INTEGER), ("idle", Stage.INTEGER), ("idle", Stage.INTEGER)]


def test_a_graph_of_another_stage_is_not_taken(network: Graph) -> None:
    with pytest.raises(InternalError, match=r"SL0402 given: cannot take .*wanted canonical, got integer"):
        run_passes(network, [Given(network)])


def test_a_pass_that_gives_another_stage_is_refused(network: Graph) -> None:
    before = network.replace(stage=Stage.CANONICAL)
    with pytest.raises(InternalError, match="SL0402 given: did not give"):
        run_passes(before, [Given(before)])


def test_a_pass_that_hides_its_change_is_refused(network: Graph) -> None:
    before = network.replace(stage=Stage.CANONICAL)
    with pytest.raises(InternalError, match="SL0402 given: did not give"):
        run_passes(before, [Given(network, changed=False)])


def test_a_pass_that_breaks_the_graph_is_refused(network: Graph) -> None:
    before = network.replace(stage=Stage.CANONICAL)
    lies = network.replace(types={**network.types, "lif1": Type((1,), SPIKES)})
    with pytest.raises(InternalError, match="SL0401 lif1 at"):
        run_passes(before, [Given(lies)])


def test_a_graph_that_is_broken_before_is_not_blamed_on_the_pass(network: Graph) -> None:
    conv, *rest = network.nodes
    broken = network.replace(nodes=(*rest, replace(conv, outputs=("conv",))))
    seen: list[str] = []
    with pytest.raises(InternalError, match="SL0401"):
        run_passes(broken, [Idle()], after=lambda name, graph: seen.append(name))
    assert not seen
