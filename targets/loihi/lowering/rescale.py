"""Another unit, or a clip: a relay, which sends a graded spike in every step."""

from __future__ import annotations

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.ops.rescale import Rescale
from spikeloom.targets.loihi.lowering.rule import Lowering, register


@register(Rescale)
def lower(state: Lowering, node: Node) -> None:
    """One relay an element: it adds up what arrives, multiplies, shifts, clips, and sends the result.

    Neurons of the chip have a multiplication with a shift, and the relay needs a program. A sum of
    membranes and the relay behind it are one population, since addends meet at its port.
    """
    assert isinstance(node.op, Rescale)
    (x,) = node.inputs
    relay = state.materialise_as(node.output, x)
    state.origins[relay.name] = node
