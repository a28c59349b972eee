"""What lowering cost, as ``spikeloom compile`` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from spikeloom.cli.console import counted, printable, table
from spikeloom.compiler.mapping.lowering_cost import AttentionCost, LoweringCost


def lowering_tables(cost: LoweringCost) -> Iterator[RenderableType]:
    """Neurons and synapses by operation, time, and the forms of attention."""
    operations = table("Lowered", "operation", "populations", "neurons", "synapses")
    for one in cost.operations:
        operations.add_row(one.operation, f"{one.populations:,}", f"{one.neurons:,}", f"{one.synapses:,}")
    yield operations
    total = sum(cost.neurons.values())
    for tag, neurons in cost.neurons.items():
        yield Text(f"{neurons:,} of {counted(total, 'neuron')}: {tag}")
    step, latency = counted(cost.chip_steps, "chip step"), counted(cost.latency, "chip step")
    yield Text(f"{step} a time step, {latency} from input to output")
    yield Text(f"{counted(cost.delay_slots, 'slot')} for what arrives later")
    if cost.host:
        yield Text(printable(f"computed by the host: {', '.join(cost.host)}"))
    for nodes, forms in groupby(cost.attention, lambda one: one.nodes):
        yield _attention(nodes, tuple(forms))
    yield ""


def _attention(nodes: tuple[str, ...], forms: tuple[AttentionCost, ...]) -> Table:
    others = f" and {counted(len(nodes) - 1, 'other')} alike" if nodes[1:] else ""
    title = printable(f"Attention, {nodes[0]}{others}")
    shown = table(f"\n{title}", "form", "steps", "neurons", "synapses", "latency")
    for one in forms:
        numbers = (one.chip_steps, one.neurons, one.synapses, one.latency)
        name = f"{one.form} (taken)" if one.taken else one.form
        shown.add_row(name, *(f"{number:,}" for number in numbers))
    return shown
