"""The networks of published size, of which docs/loihi.md has a table: their shapes are the published ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from docs.full_size import meta_spikeformer, spikformer
from docs.render_loihi import FORMS
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.targets.loihi.attention import Form
from spikeloom.targets.loihi.program import LONGEST_DELAY
from spikeloom.targets.loihi.target import Loihi2

PAGE = Path(__file__).resolve().parents[3] / "docs" / "loihi.md"


@pytest.mark.parametrize(
    ("build", "parameters", "layers"), [(spikformer, 9_330_874, 33), (meta_spikeformer, 55_350_248, 77)]
)
def test_it_has_the_published_parameters_but_for_norms(
    build: Callable[[], Graph], parameters: int, layers: int
) -> None:
    graph = build()
    weights = sum(node.op.weight.size for node in graph.nodes if isinstance(node.op, Convolution | Linear))
    assert weights == pytest.approx(parameters, rel=0.01)
    assert len(list(graph.neurons())) == layers


@pytest.mark.parametrize("form", FORMS.values())
@pytest.mark.parametrize("build", [spikformer, meta_spikeformer])
def test_the_page_says_its_size_and_latency(build: Callable[[], Graph], form: Form) -> None:
    graph, target = build(), Loihi2(form)
    network, timing = target.lowered(target.arrange(graph))
    neurons = sum(one.size for one in network.placed)
    assert any(
        f"| {network.steps} | {neurons:,} |" in row and f"| {timing.latency} |" in row
        for row in PAGE.read_text().splitlines()
    )
    assert max(timing.delays.values()) <= LONGEST_DELAY
