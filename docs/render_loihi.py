"""Write the table of full-size networks into docs/loihi.md, between its two marks: python -m docs.render_loihi.

The networks are lowered, retimed and, up to :data:`MOST_NEURONS` neurons, mapped; larger ones get the least
cores that each limit asks for. Seconds are of one processor.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time

from docs.full_size import meta_spikeformer, spikformer
from spikeloom.atomic import write_text
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.mapping.bounds.cores import cores_by_limit
from spikeloom.compiler.mapping.network import Network
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.targets.loihi.attention import Form
from spikeloom.targets.loihi.lowering.rule import EXISTING
from spikeloom.targets.loihi.target import Loihi2

PAGE = Path(__file__).with_name("loihi.md")
BEGIN, END = "<!-- full size: begin -->\n", "<!-- full size: end -->\n"
MOST_NEURONS = 60_000_000
MOST_CHIPS = 1152
RATE = 0.2
NETWORKS: dict[str, Callable[[], Graph]] = {
    "Spikformer-4-384, 32 x 32": spikformer,
    "SDT-V2 8-512, 224 x 224": meta_spikeformer,
}
FORMS: dict[str, Form] = {"at once": "at once", "by rows": "rows"}
HEAD = (
    "| network | attention | K | neurons | of them LIF | synapses | cores | chips | what binds "
    "| latency, chip steps | delay slots | s to lower and retime | s to map |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Cores:
    """Cores and chips, as printed, and the limits that bind."""

    cores: str
    chips: str
    binding: str
    seconds: str


def table() -> str:
    """The table as Markdown."""
    return HEAD + "".join(
        _row(f"{name} | {called}", build(), form)
        for name, build in NETWORKS.items()
        for called, form in FORMS.items()
    )


def _row(name: str, graph: Graph, form: Form) -> str:
    target, start = Loihi2(form), process_time()
    network, timing = target.lowered(target.arrange(graph))
    lowered = process_time() - start
    neurons = sum(one.size for one in network.placed)
    synapses = sum(network.synapses(number) for number in range(len(network.projections)))
    own = network.shares().get(EXISTING, {"neurons": 0})["neurons"] / neurons
    found = _mapped(target, network) if neurons <= MOST_NEURONS else _bounded(target, network)
    return (
        f"| {name} | {network.steps} | {neurons:,} | {own:.0%} | {synapses:,} | {found.cores} | {found.chips} | {found.binding} "
        f"| {timing.latency} | {timing.cost:,} | {lowered:.1f} | {found.seconds} |\n"
    )


def _mapped(target: Loihi2, network: Network) -> Cores:
    start = process_time()
    rates = dict.fromkeys((one.name for one in network.populations), RATE)
    mapping = map_network(network, target.chip().with_chips(MOST_CHIPS), rates)
    binding = Counter(mapping.binding_limit(core)[0] for core in range(len(mapping.cores)))
    named = ", ".join(f"{limit} on {count:,}" for limit, count in binding.most_common())
    seconds = f"{process_time() - start:.0f}"
    return Cores(f"{len(mapping.cores):,}", str(_chips(target, len(mapping.cores))), named, seconds)


def _bounded(target: Loihi2, network: Network) -> Cores:
    least = cores_by_limit(network, target.chip())
    cores = max(least.values())
    named = ", ".join(f"{limit} asks for {count:,}" for limit, count in Counter(least).most_common(3))
    return Cores(f"at least {cores:,}", f"at least {_chips(target, cores)}", named, "not mapped")


def _chips(target: Loihi2, cores: int) -> int:
    return -(-cores // target.chip().mesh.usable_cores)


def page() -> str:
    """The page with a new table."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    if "-" in sys.argv:
        sys.stdout.write(table())
    else:
        write_text(PAGE, page())
