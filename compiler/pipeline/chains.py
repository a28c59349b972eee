"""RepConv: which chains of convolutions become one, by their costs and by whether a trained grid is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.passes.merge_chains import Chain, find_chains, merge_chain
from spikeloom.compiler.quantize.weights import trained_grid

FORMS = ("auto", "dense", "chain")


@dataclass(frozen=True)
class ChainChoice:
    """What was made of a chain.

    Attributes:
        layer: the last of its layers, by which the one convolution is called.
        form: ``dense``, one convolution, or ``chain``.
        reason: ``cost``, ``trained grid`` or ``asked``.
        density: share of the chain's input that is not zero, measured on the compared recordings.
        chain, dense: multiplications and additions of a time step in either form.
    """

    layer: str
    form: str
    reason: str
    density: float
    chain: float
    dense: float


def settle_chains(
    graph: Graph, wanted: str, profile: NumericProfile, frames: Array
) -> tuple[Graph, tuple[ChainChoice, ...]]:
    """Merge the chains of a canonical graph that are cheaper as one convolution.

    A chain of which any weights lie on a grid that they were trained on keeps it: what is multiplied
    together lies on no grid.

    Args:
        graph: canonical.
        wanted: one of :data:`FORMS`.
        profile: of the target, whose grid trained weights may lie on.
        frames: [steps, samples, ...], on which the density of inputs is measured.
    """
    chains = find_chains(graph)
    if not chains:
        return graph, ()
    densities = _densities(graph, [chain.first.inputs[0] for chain in chains], frames)
    choices = tuple(_choice(chain, wanted, profile, densities[chain.first.inputs[0]]) for chain in chains)
    for choice in choices:
        if choice.form == "dense":
            (chain,) = (one for one in find_chains(graph) if one.last.name == choice.layer)
            graph = merge_chain(graph, chain)
    return graph, choices


def _choice(chain: Chain, wanted: str, profile: NumericProfile, density: float) -> ChainChoice:
    costs = chain.operations(density)
    form, reason = wanted, "asked"
    if wanted == "auto":
        kept = any(trained_grid(weight, profile) is not None for weight in chain.weights)
        reason = "trained grid" if kept else "cost"
        form = "dense" if not kept and costs[1] < costs[0] else "chain"
    return ChainChoice(chain.last.name, form, reason, density, *costs)


def _densities(graph: Graph, names: Sequence[str], frames: Array) -> Mapping[str, float]:
    """The share of each value that is not zero."""
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    found = dict.fromkeys(names, 0.0)
    for frame in frames:
        values = run.step(frame, keep=names)
        for name in found:
            found[name] += float((values[name] != 0).mean()) / len(frames)
    return found
