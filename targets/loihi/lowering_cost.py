"""What lowering cost: neurons and synapses by operation, each form of attention, latency and delays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from spikeloom.compiler.mapping.lowering_cost import AttentionCost, LoweringCost, OperationCost
from spikeloom.targets.loihi.attention import STEPS, Chain, chains
from spikeloom.targets.loihi.host import Host
from spikeloom.targets.loihi.lower import Lowered


def lowering_cost(lowered: Lowered, streams: bool) -> LoweringCost:
    """The cost of a lowered network.

    Args:
        lowered: the network.
        streams: whether the chip can take operands of attention in slots.
    """
    network, timing = lowered.network, lowered.timing
    output, host = network.population(network.outputs[0]), Host.of(lowered.graph).nodes
    return LoweringCost(
        tuple(_by_operation(lowered)),
        {tag: share["neurons"] for tag, share in network.shares().items()},
        tuple(_by_form(lowered, streams)),
        network.steps,
        timing.depth[output.name] + output.late,
        timing.cost,
        tuple(node.name for node in lowered.graph.nodes if node.name in host),
    )


def _by_operation(lowered: Lowered) -> Iterator[OperationCost]:
    network = lowered.network
    rows: dict[str, OperationCost] = {}
    for one in network.placed:
        name = lowered.made_for[one.name]
        row = rows.get(name, OperationCost(name, 0, 0, 0))
        synapses = sum(network.synapses(number) for number in network.into(one.name))
        rows[name] = OperationCost(name, row.populations + 1, row.neurons + one.size, row.synapses + synapses)
    yield from rows.values()


def _by_form(lowered: Lowered, streams: bool) -> Iterator[AttentionCost]:
    """The ways to execute each attention; attentions of one size that are executed alike are told once."""
    alike: dict[tuple[AttentionCost, ...], list[str]] = {}
    for chain in chains(lowered.graph):
        alike.setdefault(tuple(_forms(chain, streams)), []).append(chain.outer.name)
    for forms, nodes in alike.items():
        yield from (replace(form, nodes=tuple(nodes)) for form in forms)


def _forms(chain: Chain, streams: bool) -> Iterator[AttentionCost]:
    for order in chain.orders:
        taken = not chain.streamed and order.form == chain.written
        form = f"at once, {order.form}"
        yield AttentionCost((), form, 1, order.neurons, order.synapses, 1 + STEPS, taken)
    for stream in chain.streams if streams else ():
        taken = (stream.kind, stream.order) == (chain.streamed, chain.written)
        form = f"{stream.kind}, {stream.order}"
        yield AttentionCost((), form, stream.slots, stream.neurons, stream.synapses, stream.steps, taken)
