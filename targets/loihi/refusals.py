"""What a chip that has nothing but its own LIF cannot run, by name and with the reason."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.mapping.network import Population
from spikeloom.errors import Problem
from spikeloom.targets.loihi.attention import streamed_chains
from spikeloom.targets.loihi.lower import Lowered
from spikeloom.targets.loihi.lowering.rule import PROGRAM

CODE = "SL0602"


def streams(graph: Graph) -> list[Problem]:
    """A problem for every attention that asks for slots: there every LIF would have to wait."""
    return [
        Problem(
            CODE,
            name,
            f"is streamed in {stream.slots} chip steps a network step, and a LIF cannot wait",
            wanted="one chip step a network step",
            remedy="compile it for loihi2, or with both products at once",
        )
        for name, (_, stream) in streamed_chains(graph).items()
    ]


def programs(lowered: Lowered) -> list[Problem]:
    """A problem for every population that needs a neuron program, and for inputs that are not spikes."""
    problems = []
    for one in lowered.network.populations:
        if one.tag == PROGRAM:
            what, remedy = _reason(one, lowered.made_for[one.name])
            problems.append(Problem(CODE, one.name, what, remedy=f"compile it for loihi2, or {remedy}"))
        elif one.role == "input" and one.bounds[1] > 1:
            what = "sends numbers above 1, and the chip's messages are spikes"
            problems.append(Problem(CODE, one.name, what, remedy="compile it for loihi2, or feed it spikes"))
    return problems


def _reason(one: Population, operation: str) -> tuple[str, str]:
    """Why the chip's LIF does not do, and what would."""
    if one.role == "product":
        return "multiplies numbers, and the chip has a product of spikes alone", "multiply spikes"
    if one.role == "accumulator":
        what = f"sends a sum, which {operation} asks for, and the chip's messages are spikes"
        return what, "put neurons in front of that"
    if one.combine == "max":
        return "takes the largest of what arrives, and the chip's LIF adds up", "pool spikes, not currents"
    return "is more than a LIF of one level and a hard reset, which is all that the chip has", "use these"
