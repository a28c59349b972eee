"""Maps every network of the catalogue with our mapper and with the peers, checks and executes each mapping.

python -m examples.mapping.bench                     # all networks, all peers
python -m examples.mapping.bench --only 'lenet;vgg11'
python -m examples.mapping.bench --scale 1e8         # one Spikformer of so many neurons, no peers
python -m examples.mapping.bench --intel TABLES.csv  # beside the core tables of Intel's compiler
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.mapping.intel import compare
from examples.mapping.networks import CATALOGUE, HUGE, Workload, large_spikformer
from examples.mapping.peers import partitions, placements
from examples.mapping.peers.grains import Grain, grains
from spikeloom.atomic import write_text
from spikeloom.compiler.mapping.bounds.cores import least_cores
from spikeloom.compiler.mapping.bounds.messages import least_messages
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.chip import Chip, read_description
from spikeloom.compiler.mapping.demand import Demand
from spikeloom.compiler.mapping.execute import deliver, walk
from spikeloom.compiler.mapping.explain import explain
from spikeloom.compiler.mapping.partition import assemble, flow_pairs, for_trees, map_network, places
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.compiler.mapping.placement import Tile
from spikeloom.compiler.mapping.placing.graph import Talk, talk_of
from spikeloom.compiler.mapping.routing.flows import all_flows, demands, readers
from spikeloom.compiler.mapping.routing.make_tables import routing_tables
from spikeloom.compiler.mapping.routing.trees import Trees, trees
from spikeloom.compiler.mapping.tiling.cut import SLACK

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
CHIP = HERE / "manycore.toml"
CHECKED = 20_000
"""Mappings of larger Spikformers on at most so many cores are checked core by core."""

EXECUTED = 6_000_000
"""Networks of at most so many neurons are executed spike by spike."""

OURS = "Spikeloom"
FOR_TREES = f"{OURS}, placed for routers that copy"
GRAINS, LEAST_GRAIN = 1500, 96
"""How many blocks the peers' partitioners move about, and how small they get."""

NETWORKS = {**CATALOGUE, **HUGE}
"""All of the table."""

Placer = Callable[[Talk, Chip], np.ndarray[tuple[int], np.dtype[np.int64]]]
Cutter = Callable[[Workload, Chip], partitions.Clusters | None]


@dataclass(frozen=True)
class Row:
    """One mapper on one network.

    Attributes:
        network, mapper: their names.
        neurons: on cores.
        cores, least_cores: used, and the bound.
        messages, least_messages: a step between cores, and the bound.
        hops, busiest_link: a step, unicast along XY routes.
        seconds: of processor time, from the network to the placed mapping.
        violations: cores that exceed a limit, by limit.
        executed: whether every spike of a random step was delivered exactly once, from core to core and along
            the routing tables of routers that copy messages, whose links carried what was counted; None if
            not run.
        measured: share of the neurons whose firing rate comes from a run of a trained network.
        sent: a step by cores, if routers copied messages where XY routes part. None in results of before.
        tree_hops, tree_link: hops and the busiest link then, of the same placement.
        least_tree_hops: that no placement of these tiles can do without then.
    """

    network: str
    mapper: str
    neurons: int
    cores: int
    least_cores: int
    messages: float
    least_messages: float
    hops: float
    busiest_link: float
    seconds: float
    violations: Mapping[str, int]
    executed: bool | None
    measured: float
    sent: float | None = None
    tree_hops: float | None = None
    tree_link: float | None = None
    least_tree_hops: float | None = None


def chip_for(load: Workload, extra: float = 1.3) -> Chip:
    """As many chips of the benchmark as the network needs on the smallest board."""
    chip = read_description(CHIP).chip
    cores = extra * least_cores(load.network, chip).cores
    board = next(board for board in chip.boards if board.chips * chip.mesh.usable_cores >= cores)
    return chip.with_chips(board.chips)


def _grains(load: Workload, chip: Chip) -> list[Grain]:
    return grains(load.network, chip, LEAST_GRAIN, GRAINS)


PEERS: Mapping[str, tuple[Cutter, Placer]] = {
    "layer tiles (NxTF), row-major (Lava)": (
        lambda load, chip: partitions.layer_tiles(load.network, chip, load.rates),
        placements.row_major,
    ),
    "block split (nengo-loihi), in order": (
        lambda load, chip: partitions.block_split(load.network, chip),
        placements.row_major,
    ),
    "SpiNeMap: exchange, swarm": (
        lambda load, chip: partitions.exchange(load.network, chip, _grains(load, chip), load.rates),
        placements.particle_swarm,
    ),
    "EdgeMap streaming, neurons only; Hilbert + forces": (
        lambda load, chip: partitions.streaming(load.network, chip, _grains(load, chip), load.rates, False),
        placements.hilbert_forces,
    ),
    "EdgeMap streaming, all limits; Hilbert + forces": (
        lambda load, chip: partitions.streaming(load.network, chip, _grains(load, chip), load.rates, True),
        placements.hilbert_forces,
    ),
    "ASPLOS 2023: in order, neurons only; Hilbert + forces": (
        lambda load, chip: partitions.sequential(load.network, chip, _grains(load, chip), False),
        placements.hilbert_forces,
    ),
    "ASPLOS 2023: in order, all limits; Hilbert + forces": (
        lambda load, chip: partitions.sequential(load.network, chip, _grains(load, chip), True),
        placements.hilbert_forces,
    ),
    "layer tiles (NxTF); Hilbert + forces": (
        lambda load, chip: partitions.layer_tiles(load.network, chip, load.rates),
        placements.hilbert_forces,
    ),
    "Mt-KaHyPar connectivity; Hilbert + forces": (
        lambda load, chip: partitions.hypergraph(load.network, chip, _grains(load, chip), load.rates),
        placements.hilbert_forces,
    ),
}


SCALABLE = (
    "layer tiles (NxTF), row-major (Lava)",
    "layer tiles (NxTF); Hilbert + forces",
    "block split (nengo-loihi), in order",
    "ASPLOS 2023: in order, neurons only; Hilbert + forces",
    "ASPLOS 2023: in order, all limits; Hilbert + forces",
)
"""Peers that can run on the huge networks: the others look at blocks and clusters again and again."""


def ours(name: str, load: Workload, chip: Chip, cores: int = 0) -> tuple[Row, ChipMapping]:
    """Our mapper on a network, on few cores, or on at most so many where that saves messages."""
    start = time.process_time()
    bound = least_cores(load.network, chip).cores
    slack = (cores + 0.5) / bound if cores else SLACK
    mapping = map_network(load.network, chip, load.rates, slack=slack)
    seconds = time.process_time() - start
    mapper = f"{OURS}, at most {cores:,} cores" if cores else OURS
    return _row(name, mapper, load, mapping, seconds), mapping


def our_tiles_placed(name: str, load: Workload, mapping: ChipMapping) -> Row:
    """The placement of the closest peer on our tiles: what placement alone does."""
    start = time.process_time()
    placed = _assembled(load, mapping.chip, mapping.tiles, len(mapping.cores), placements.hilbert_forces)
    return _row(name, f"{OURS}'s tiles; Hilbert + forces", load, placed, time.process_time() - start)


def placed_for_trees(name: str, load: Workload, mapping: ChipMapping) -> Row:
    """Our tiles, placed for routers that copy messages: what the mapper does for such a chip."""
    start = time.process_time()
    again = _for_trees(load, mapping)
    return _row(name, FOR_TREES, load, again, time.process_time() - start)


def _for_trees(load: Workload, mapping: ChipMapping) -> ChipMapping:
    held = demands(load.network, mapping.tiles, len(mapping.cores))
    flows = all_flows(load.network, held)
    slots = np.array([core.slot for core in mapping.cores], np.int64)
    slots = for_trees(load.network, mapping.chip, load.rates, held, slots, flows, seed=0)
    return assemble(load.network, mapping.chip, load.rates, mapping.tiles, held, slots, flows, seed=0)


def peer(name: str, mapper: str, load: Workload, chip: Chip) -> Row | None:
    """A peer on a network; None if it is not installed, or needs more cores than there are."""
    cutter, placer = PEERS[mapper]
    start = time.process_time()
    clusters = cutter(load, chip)
    if clusters is None:
        return None
    tiles = tuple(Tile(g.population, g.box, core) for core, cluster in enumerate(clusters) for g in cluster)
    board = next((b for b in chip.boards if b.chips * chip.mesh.usable_cores >= len(clusters)), None)
    if board is None:
        return None
    chip = chip.with_chips(max(board.chips, chip.chips))
    mapping = _assembled(load, chip, tiles, len(clusters), placer)
    return _row(name, mapper, load, mapping, time.process_time() - start)


def _assembled(
    load: Workload, chip: Chip, tiles: tuple[Tile, ...], cores: int, placer: Placer
) -> ChipMapping:
    held = demands(load.network, tiles, cores)
    flows = all_flows(load.network, held)
    pairs, messages = flow_pairs(load.network, load.rates, flows)
    slots = placer(talk_of(pairs, messages, cores), chip)
    return assemble(load.network, chip, load.rates, tiles, held, slots, flows, seed=0)


def _row(name: str, mapper: str, load: Workload, mapping: ChipMapping, seconds: float) -> Row:
    problems = check_mapping(mapping)
    held = demands(load.network, mapping.tiles, len(mapping.cores))
    found = trees(load.network, held, load.rates, places(mapping.cores), mapping.chip)
    per_neuron = np.array([load.rates[one.name] for one in load.network.populations])
    exceeded: dict[str, int] = {}
    for problem in problems:
        limit = problem.what.removeprefix("exceeds the limit of ").split(" ")[0]
        exceeded[limit] = exceeded.get(limit, 0) + 1
    return Row(
        name,
        mapper,
        load.neurons,
        len(mapping.cores),
        mapping.bound.cores,
        mapping.load.messages,
        least_messages(load.network, mapping.chip, load.rates),
        mapping.load.hops,
        mapping.load.busiest_link,
        seconds,
        exceeded,
        _executed(load, mapping, held, found) if load.neurons <= EXECUTED else None,
        load.measured,
        float(found.sent_by.sum()),
        float(found.hops @ per_neuron),
        float(found.links.max()),
        float(found.least_hops @ per_neuron),
    )


def _executed(load: Workload, mapping: ChipMapping, held: list[Demand], found: Trees) -> bool:
    """A random step from core to core and from link to link; every neuron once, to compare the links."""
    random = np.random.default_rng(1)
    network = load.network
    spikes = {one.name: random.random(one.shape) < load.rates[one.name] for one in network.populations}
    tables = {one.name: readers(network, mapping.tiles, one.name) for one in network.populations}
    routes = routing_tables(network, held, mapping.cores)
    everyone = {one.name: np.ones(one.shape, bool) for one in network.populations}
    all_links = walk(mapping, routes, everyone).links
    carried = sum(load.rates[name] * links for name, links in all_links.items())
    return (
        deliver(mapping, tables, spikes).exact
        and walk(mapping, routes, spikes).exact
        and np.allclose(carried, found.links, rtol=1e-9, atol=0.0)
        and sum(int(links.sum()) for links in all_links.values()) == int(found.hops.sum())
    )


def scale(neurons: float) -> dict[str, Any]:
    """Time and memory of our mapper on the Spikformer of about so many neurons, in this process.

    Up to 20,000 cores the same tiles are also placed along a Hilbert curve with forces, and every core is
    checked against every limit.
    """
    load = large_spikformer(neurons)
    chip = chip_for(load, 1.1 if neurons > 5e7 else 1.3)
    start, clock = time.process_time(), time.perf_counter()
    mapping = map_network(load.network, chip, load.rates)
    seconds, wall = time.process_time() - start, time.perf_counter() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found: dict[str, Any] = {
        "network": load.network.name,
        "neurons": load.neurons,
        "cores": len(mapping.cores),
        "least_cores": mapping.bound.cores,
        "messages": mapping.load.messages,
        "least_messages": least_messages(load.network, chip, load.rates),
        "hops": mapping.load.hops,
        "busiest_link": mapping.load.busiest_link,
        "seconds": seconds,
        "wall": wall,
        "gib": peak,
    } | _on_trees(load, mapping, "tree")
    if len(mapping.cores) <= CHECKED:
        found["violations"] = len(check_mapping(mapping))
        placed = _assembled(load, mapping.chip, mapping.tiles, len(mapping.cores), placements.hilbert_forces)
        found |= {"hilbert_hops": placed.load.hops, "hilbert_busiest_link": placed.load.busiest_link}
        found |= _on_trees(load, placed, "hilbert_tree")
        found |= _on_trees(load, _for_trees(load, mapping), "placed_tree")
    return found


def _on_trees(load: Workload, mapping: ChipMapping, prefix: str) -> dict[str, float]:
    """What is sent, hops and the busiest link, if routers copied messages."""
    held = demands(load.network, mapping.tiles, len(mapping.cores))
    found = trees(load.network, held, load.rates, places(mapping.cores), mapping.chip)
    per_neuron = np.array([load.rates[one.name] for one in load.network.populations])
    return {
        f"{prefix}_hops": float(found.hops @ per_neuron),
        f"{prefix}_link": float(found.links.max()),
        "sent": float(found.sent_by.sum()),
        "least_tree_hops": float(found.least_hops @ per_neuron),
    }


def main() -> None:
    """Run what is asked for and write the results; docs/render_mapping.py makes the page of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=";".join(NETWORKS), help="names of networks, with ';' between")
    parser.add_argument(
        "--peers",
        default="yes",
        choices=("yes", "keep"),
        help="keep: our mapper anew, peers as the results have them",
    )
    parser.add_argument("--scale", type=float, help="map one Spikformer of so many neurons instead")
    parser.add_argument("--intel", type=Path, help="compare with the core tables in this file instead")
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON to write; what it holds is kept")
    arguments = parser.parse_args()
    path: Path = arguments.output
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part in ("rows", "scale", "intel"):
        results.setdefault(part, [])
    results.setdefault("explanations", {})
    results["chip"] = {one.name: [one.value, one.unit] for one in read_description(CHIP).chip.limits}
    if arguments.scale:
        found = scale(arguments.scale)
        kept = [one for one in results["scale"] if one["network"] != found["network"]]
        results["scale"] = sorted([*kept, found], key=lambda one: one["neurons"])
        print(json.dumps(found), flush=True)
    elif arguments.intel:
        results["intel"] = [asdict(one) for one in compare(arguments.intel)]
    else:
        for name in arguments.only.split(";"):
            _run(name, arguments.peers == "yes", results)
            write_text(path, json.dumps(results, indent=1) + "\n")
    write_text(path, json.dumps(results, indent=1) + "\n")


def _run(name: str, with_peers: bool, results: dict[str, Any]) -> None:
    """All rows of a network, and the explanation of our mapping, in place of those before."""
    load = NETWORKS[name]()
    chip = chip_for(load, 1.1 if name in HUGE else 1.3)
    row, mapping = ours(name, load, chip)
    rows = [row, our_tiles_placed(name, load, mapping), placed_for_trees(name, load, mapping)]
    if with_peers:
        found = (peer(name, mapper, load, chip) for mapper in (SCALABLE if name in HUGE else PEERS))
        rows += [one for one in found if one is not None]
    else:
        rows += [Row(**one) for one in results["rows"] if one["network"] == name and one["mapper"] in PEERS]
    lawful = [one for one in rows if one.mapper in PEERS and not one.violations]
    for cores in sorted({one.cores for one in lawful if one.cores > row.cores}):
        mine = [one for one in rows if one.mapper.startswith(OURS) and one not in rows[1:3]]
        if any(one.cores == cores and not _beaten(one, mine) for one in lawful):
            rows.append(ours(name, load, chip_for(load, 1.05 * cores / row.least_cores), cores)[0])
    for one in rows:
        print(json.dumps(asdict(one)), flush=True)
    results["rows"] = [r for r in results["rows"] if r["network"] != name] + [asdict(one) for one in rows]
    results["explanations"][name] = explain(mapping, load.rates).to_json()


def _beaten(peer: Row, mine: list[Row]) -> bool:
    """Whether a mapping of ours on no more cores needs fewer messages and hops."""
    return any(
        one.cores <= peer.cores and one.messages < peer.messages and one.hops < peer.hops for one in mine
    )


if __name__ == "__main__":
    main()
