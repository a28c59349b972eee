"""Write docs/mapping.md and its plot from examples/mapping/results.json; `make bench-mapping` does both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spikeloom.atomic import write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "examples/mapping/results.json"
PLOT = "mapping_size.svg"
OURS = "Spikeloom"
WHOLE_PEER = "ASPLOS 2023: in order, all limits; Hilbert + forces"
SAME_TILES = f"{OURS}'s tiles; Hilbert + forces"
FOR_TREES = f"{OURS}, placed for routers that copy"

CORES, MESSAGES, MESSAGES_4_BIT, HOPS = 1.02, 1.3, 1.6, 0.6
SECONDS = ((1.5e6, 10), (8e7, 120), (1e9, 300))
"""Goals: cores and messages over their bounds, hops over those of Hilbert + forces, seconds for so many neurons."""

Row = dict[str, Any]
Document = dict[str, Any]

OPENING = """\
# Mapping

Written by `make bench-mapping` from `examples/mapping/results.json`; do not edit.

A network becomes populations with kernels that are shared, its populations are cut into tiles, tiles share
cores, cores get slots on a mesh. What limits a core is in a file of the chip, each number with its source. The
chip of this page is no product: it has Loihi 2's neurons and memory as Intel's brief gives them, one router a
core, and is the same for all mappers. A core holds at most {limits}.

Firing rates of Spikformers are those that SpikingJelly's Spikformer as trained in `examples/digits` showed over the
test set, by role of the layer (`examples/mapping/rates.json`). Those of other networks, of pools and of heads are
drawn, a population each, from a log-normal distribution (median 10 %, sigma 0.5, clipped to 1 to 60 %); products and
accumulators of attention are assumed to send in 5 % of the steps. Messages and hops are those of a time step: a
spike is one message to each other core that reads it, and hops are routers on its way, first along the row, then
along the column. **No message is shared between two targets**: the chip of this page declares, as those of Loihi
do, that its routers do not copy messages. {copies}

Every mapping below, ours and the peers', is counted anew core by core by a checker that shares no code with the
mapper (`compiler/mapping/check.py`), and up to 6 million neurons it is executed: the spikes of a random step go
through the routing tables, and each reaches every core that needs it exactly once (`compiler/mapping/execute.py`).
A peer whose mapping breaks limits is listed with the cores that do, and not ranked. Times are of one core.
"""


COPIES = (
    "What becomes of the same mappings where they do is [counted beside it](#where-routers-copy-messages)."
)


def page(document: Document) -> str:
    """The page as text."""
    limits = ", ".join(f"{value:,} {_words(name)}" for name, (value, _) in document["chip"].items())
    copies = COPIES if _with_trees(document) else "Where they do, every mapper does better."
    parts = [
        OPENING.format(limits=limits, copies=copies),
        *_goals(document),
        *_bounds(document),
        *_placement(document),
        *_trees(document),
        *_intel(document),
        *_size(document),
        *_binding(document),
        *_peers(document),
        TRIED,
    ]
    return "\n".join(parts)


TRIED = """\
## What was tried

- *Fewer messages: shapes across layers.* Layers that follow each other may share tiles, so that a core holds the same
  positions of all of them and their spikes leave it at the seams only. Which layers do is chosen by dynamic programming
  over the sequence of layers, with the exact messages of every candidate and one price of a core (Lagrange). It cut
  messages of MobileNet and Max-Former by a third and hops by two fifths and more; it does little where the kernels of
  two layers do not fit one core together, as in the wide blocks of Spikformers.
- *The bound on messages.* Until November 2026 it took one spike at a time: a source, its readers and all weights
  that end in any of them fill so many cores, of which one can be the spike's own. Now it is the best of three,
  each proved in its file and tried against all mappings of small networks. *Twins*
  (`compiler/mapping/bounds/twins.py`): neurons with the same readers are taken together, and those that find no
  room beside their readers are not on a core that hears them. That raised it by up to a third (QSD). *Seams* (`compiler/mapping/bounds/seams.py`): prices of neurons such that no core is worth more than what
  arrives there, with the fewest positions that any tile reads through a window, and with tiles of one channel for
  depthwise layers against tiles of all channels for what feeds them. That raised it by 7 to 21 % more where images
  are large (MobileNet, SDT-V2, QSD). *Sharing* (`compiler/mapping/bounds/sharing.py`): what neurons on one core can hear
  together where there is no geometry. That doubled it for the random network.
- *What these bounds still do not see.* A tile counts as if it lay in a corner of the image, where it has two
  seams in place of four. Each layer, or pair of layers, has the best cores for itself, so that chains of pointwise
  and depthwise layers (MobileNet, the first stages of SDT-V2) are bound by little. In random networks every
  neuron has the best neighbours for itself: tiles of 2 by 2 blocks of the torus, if a core had room for four blocks
  in place of three and a half, would send 6 messages a spike, our mapping sends 6.4, and the bound allows 4.1.
- *What they say of our mappings.* Where kernels fill the cores, several layers that read the same spikes (the
  queries, keys and values of a block and the first layer of its perceptron) take a fraction of a core each, and
  each is rounded up to whole cores: the Spikformer of 4 bit has 26 cores where 21 would hold the kernels. In
  QSD's blocks the second layer of a perceptron fills the memory of one core to the last byte, and the weight of
  the residual is two bits more: its 1,024 inputs go to two cores, where a core of its own for almost all of these
  inputs, with one output of the second layer, would halve their messages. Our tiles do not mix layers in such ways.
- *Cores against messages.* The last two to five per cent of the cores cost most messages: the Spikformer of 1.44 M
  neurons was mapped onto 185 cores with 0.93 M messages a step by a version before, and is onto 180 with 1.19 M; that of
  15.9 M onto 2,072 with 20.8 M, and is onto 1,982 with 22.9 M. `map_network(slack=)` chooses.
- *Fewer cores.* Where packing takes more cores than 1.02 of the bound, the cores that hold least are given up if what
  they hold, cut, finds room elsewhere for at most 2 % more messages each. Without that price VGG-11 came to 220 cores
  of a bound of 215, with a third more messages.
- *Fewer hops on the same tiles.* Starts along Hilbert curves and from the graph's spectrum, over the whole mesh and
  chip by chip; swaps towards the median; annealing by hops alone with moves that reach far at first; annealing by hops
  and strained links. On the tiles of a Spikformer of 10 M neurons (1,237 cores) the annealing ended between 0.826 and
  0.830 of the peer's hops from temperatures of 0.1, 0.3, 1 and 3 hops of a core and with 2 to 8 million moves, so that
  what is left there is hardly a matter of the search. Swaps by hops after the strained links put back the load that
  these had lost, and were left out. The bound on hops of these tiles (above) says how much any placement could still
  gain at most.
- *Placement where routers copy messages.* Weights of pairs of cores divided by a power of how many cores a spike goes
  to, in the same placement, changed the hops of trees by -6 to +8 % on four networks. Annealing on the trees themselves,
  from the slots that are best with one message a target, took 20 % of AlexNet's, 17 % of VGG-11's, 32 % of
  Spikformer-4-384's and 10 % of MobileNet's, with the busiest link at 0.64 to 0.81, in 3 to 10 s of processor time. A
  move looks at all targets of all trees that it touches, so that above some thousand cores few moves are affordable:
  of the trees of 17,185 cores it took 4 % in 118 s, and with ten times the moves that see strained links 8 % in 205 s.
- *Networks without shared weights.* There what a core needs is a sum over its tiles, and so is the traffic: tiles
  trade places under annealing. It cut messages of the random network by an eighth.
- *Cores against hops.* Packing to within 1.02 of the bound puts tiles of distant layers on one core, which costs
  hops. With as many cores as a peer takes, the same mapper needs fewer of both.
- *Tiles and places together.* Once cores have places, tiles move to, or trade with up to four tiles on, a core near
  one that they talk to, where every limit still holds, by annealing of messages and hops, each over what it was before;
  cores are placed anew after each of two rounds. The changes are exact: neurons that the same tiles read count as one,
  as do rows of kernels that the same tiles store. On the same number of cores it cut hops of SDT-V2 by 18 %, of
  QSD by 22 %, of MobileNet by 8 %, of the Spikformer of 1.44 M neurons by 24 % and its messages by 16 %; it takes
  a fifth (1.44 M neurons) to seven tenths (QSD) of the time that all the rest takes. The Spikformer of 15.9 M, each of
  whose spikes reaches many cores, gained 1 %, and 5 % with forty times the moves, that of 5.4 M nothing; where fewer
  than 50 moves a tile can be paid for, nothing is moved now. Mappings onto more than 6,000 cores are left as
  packed, since their time is spent. With five times the moves SDT-V2 came to 0.72 of its hops; to 0.80 where tiles were
  traded one for one only, since they seldom have one size; to 0.70 with tiles cut to 400 neurons along the axis where
  that costs no messages, in twice the time again.
  Moves without regard to links raised the busiest one by up to a fifth; annealing by strained links at the end starts
  three times as hot for that, with four times the moves.
- *A billion neurons.* Memory is no question, since layers are boxes and never lists of neurons. Above 20,000 cores gaps
  are filled in order of width only, by parts that are all cut along one axis, and above 40,000 cores placement has one
  start, few passes of swaps and no annealing. A version before, with more rounds of packing and cuts along every axis,
  took 131,850 cores and 339 s.
- *134 million neurons.* On about 17,000 cores the benchmark was cut off after our mapper, Hilbert + forces on its
  tiles, and tiles of one layer in rows, which need 3 % fewer messages on 135 cores more, and 4.8 times the hops; of
  that mapping there is no explanation and no bound on hops, and our mapper was not run with as many cores.
- *Constants.* Those of tiles and packing were chosen on VGG-11, the random network and a Spikformer of this table,
  those of the annealing on a Spikformer of 10 M neurons, each with one seed.
- *Rates of one network for others.* The Spikformer that was run has 16 tokens and 64 channels; its rates stand for
  layers of the same role in larger ones, which were not run. The goal against the peer's whole mapping was added after
  the results were seen, beside the stricter one on the same tiles.
- *Attention over very many tokens.* An accumulator of `k^T v` hears all tokens; beyond 8,000 no core holds its
  axons. The large networks of the table of sizes therefore attend within squares of 8 by 8 tokens.
"""


def _goals(document: Document) -> list[str]:
    ours = [row for row in document["rows"] if row["mapper"] == OURS]
    wide, narrow = ([r for r in ours if r["network"].endswith("4 bit") == bits4] for bits4 in (False, True))
    lines = ["## Goals\n", "| goal | reached | best and worst |", "|---|---|---|"]
    whole = [row for row in ours if not row["violations"] and row["executed"] is not False]
    executed = sum(row["executed"] is True for row in ours)
    lines.append(
        f"| every core within every limit, every spike delivered exactly once | {_share(whole, ours)} networks | "
        f"{executed} executed spike by spike, the others checked core by core |"
    )
    for what, rows, least, goal in (
        (f"cores at most {CORES} of the bound", ours, "cores", CORES),
        (f"messages at most {MESSAGES} of the bound, 8 bit", wide, "messages", MESSAGES),
        (f"messages at most {MESSAGES_4_BIT} of the bound, 4 bit", narrow, "messages", MESSAGES_4_BIT),
    ):
        known = [(row[least] / row[f"least_{least}"], row) for row in rows if row[f"least_{least}"] >= 1]
        known.sort(key=lambda one: one[0])
        ends = "; ".join(f"{ratio:.3f} ({row['network']})" for ratio, row in (known[0], known[-1]))
        lines.append(f"| {what} | {_share([r for r, _ in known if r <= goal], known)} networks | {ends} |")
    lines += [_hops_goal(document), _whole_goal(document["rows"]), *_tree_goals(document)]
    lines.append(_peers_goal(document["rows"]))
    theirs, mine = (sum(one[who] for one in document["intel"]) for who in ("theirs", "ours"))
    lines.append(
        f"| no more cores than Intel's compiler | {_yes(mine <= theirs)} | {mine} against {theirs} |"
    )
    for neurons, seconds in SECONDS:
        near = min(document["scale"], key=lambda one: abs(one["neurons"] / neurons - 1), default=None)
        if near is None or not 0.5 < near["neurons"] / neurons < 2:
            lines.append(f"| {_large(neurons)} neurons within {seconds} s | not run | |")
            continue
        got = (
            f"{near['seconds']:.0f} s of processor time for {_large(near['neurons'])}, {near['gib']:.1f} GiB"
        )
        lines.append(
            f"| {_large(neurons)} neurons within {seconds} s | {_yes(near['seconds'] <= seconds)} | {got} |"
        )
    return [*lines, ""]


def _hops_goal(document: Document) -> str:
    found = [(_hops(one), one) for one in _placed(document) if one["cores"] >= 600]
    good = [one for ratio, one in found if ratio <= HOPS and _link(one) <= 1]
    found.sort(key=lambda one: one[0])
    ends = "; ".join(
        f"{ratio:.2f}, link {_link(one):.2f} ({one['network']}, {one['cores']:,} cores)"
        for ratio, one in ((found[0], found[-1]) if found else ())
    )
    return (
        f"| hops at most {HOPS} of Hilbert + forces on the same tiles, busiest link no higher | "
        f"{_share(good, found)} mappings of 600 cores or more | {ends} |"
    )


def _tree_goals(document: Document) -> list[str]:
    """The goals on hops, if routers copied messages, of our tiles placed for that; none without such results."""
    of = {row["network"]: row for row in document["rows"] if row["mapper"] == FOR_TREES}
    whole = [
        {**of[row["network"]], "theirs": row["tree_hops"], "their_link": row["tree_link"]}
        for row in document["rows"]
        if row["mapper"] == WHOLE_PEER
        and not row["violations"]
        and row.get("tree_hops")
        and row["network"] in of
    ]
    lines = []
    for what, rows in (
        ("of Hilbert + forces on the same tiles", _with_trees(document)),
        ("of that peer's whole mapping", whole),
    ):
        found = [
            (one["tree_hops"] / one["theirs"], one["tree_link"] / one["their_link"], one)
            for one in rows
            if one["cores"] >= 600
        ]
        found.sort(key=lambda one: one[0])
        if not found:
            continue
        good = [one for one in found if one[0] <= HOPS and one[1] <= 1]
        ends = "; ".join(
            f"{hops:.2f}, link {link:.2f} ({one['network']})" for hops, link, one in (found[0], found[-1])
        )
        lines.append(
            f"| the same where routers copy messages: hops at most {HOPS} {what}, busiest link no higher | "
            f"{_share(good, found)} mappings | {ends} |"
        )
    return lines


def _whole_goal(rows: list[Row]) -> str:
    """Hops of our mapping over those of the peer's own tiles in its own places, where these keep the limits."""
    ours = {row["network"]: row for row in rows if row["mapper"] == OURS}
    found = [
        (
            ours[row["network"]]["hops"] / row["hops"],
            ours[row["network"]]["busiest_link"] / row["busiest_link"],
            row,
        )
        for row in rows
        if row["mapper"] == WHOLE_PEER and not row["violations"] and row["cores"] >= 600
    ]
    found.sort(key=lambda one: one[0])
    good = [one for one in found if one[0] <= HOPS and one[1] <= 1]
    ends = "; ".join(
        f"{hops:.2f}, link {link:.2f} ({row['network']}, {row['cores']:,} cores)" for hops, link, row in found
    )
    return (
        f"| hops at most {HOPS} of that peer's whole mapping (its tiles in order, within all limits), busiest link no "
        f"higher | {_share(good, found)} lawful mappings of 600 cores or more | {ends} |"
    )


def _peers_goal(rows: list[Row]) -> str:
    """How many lawful peers are beaten in messages and in hops by a mapping of ours with no more cores."""
    lawful = [row for row in rows if _is_peer(row) and not row["violations"]]
    beaten = [row for row in lawful if _better(rows, row)]
    lost = ", ".join(f"{row['network']}: {row['mapper']}" for row in lawful if row not in beaten)
    return (
        "| fewer messages and hops than each peer under the same limits, with no more cores | "
        f"{_share(beaten, lawful)} mappings of peers | {'not: ' + lost if lost else 'all'} |"
    )


def _better(rows: list[Row], peer: Row) -> Row | None:
    """Our mapping with at most the peer's cores that beats it in messages and hops, if there is one."""
    mine = [
        row
        for row in rows
        if row["network"] == peer["network"]
        and row["mapper"].startswith(OURS)
        and row["mapper"] not in (SAME_TILES, FOR_TREES)
        and row["cores"] <= peer["cores"]
        and row["messages"] <= peer["messages"]
        and row["hops"] <= peer["hops"]
    ]
    return min(mine, key=lambda row: (row["hops"], row["cores"]), default=None)


def _bounds(document: Document) -> list[str]:
    lines = [
        "## Against the provable bounds\n",
        "Cores: the limit that alone asks for most. Messages: over all mappings, on any number of cores; the best "
        "of three proofs a layer (`compiler/mapping/bounds/messages.py` and the files it names); one below a single message "
        "says nothing. Hops: of these tiles, over "
        "all placements (`compiler/mapping/bounds/hops.py`). Rates: the share of the neurons whose rate comes from a "
        "run; the others are drawn or assumed.\n",
        "| network | neurons | rates from a run | cores | bound | ratio | messages | ratio | hops | ratio | seconds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in document["rows"]:
        if row["mapper"] != OURS:
            continue
        why = document["explanations"].get(row["network"], {})
        cells = (
            row["network"],
            _large(row["neurons"]),
            f"{100 * row['measured']:.0f} %" if row["measured"] else "–",
            f"{row['cores']:,}",
            f"{row['least_cores']:,}",
            _ratio(row["cores"], row["least_cores"]),
            _large(row["messages"]),
            _ratio(row["messages"], row["least_messages"] if row["least_messages"] >= 1 else 0),
            _large(row["hops"]),
            _ratio(row["hops"], why.get("least_hops", 0)),
            f"{row['seconds']:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _placed(document: Document) -> list[Row]:
    """Every mapping of ours whose tiles were also placed along a Hilbert curve with forces."""
    same = {row["network"]: row for row in document["rows"] if row["mapper"] == SAME_TILES}
    ours = [row for row in document["rows"] if row["mapper"] == OURS and row["network"] in same]
    both = [
        {
            **row,
            "hilbert_hops": same[row["network"]]["hops"],
            "hilbert_busiest_link": same[row["network"]]["busiest_link"],
        }
        for row in ours
    ]
    return [*both, *(one for one in document["scale"] if "hilbert_hops" in one)]


def _hops(one: Row) -> float:
    return float(one["hops"] / one["hilbert_hops"])


def _link(one: Row) -> float:
    return float(one["busiest_link"] / one["hilbert_busiest_link"])


def _placement(document: Document) -> list[str]:
    lines = [
        "## Placement alone\n",
        "The same tiles, placed by us and as Jin et al. (ASPLOS 2023) place them: along a Hilbert curve in the order of "
        "the data flow, then swaps of neighbours by force, with the exact gain of each swap in place of the published "
        "one, which does not see swaps of neighbours that talk. Below 1 is better.\n",
        "| network | cores | hops over Hilbert + forces | busiest link over theirs |",
        "|---|--:|--:|--:|",
    ]
    for one in sorted(_placed(document), key=lambda one: one["cores"]):
        if one["cores"] > 2:
            lines.append(f"| {one['network']} | {one['cores']:,} | {_hops(one):.2f} | {_link(one):.2f} |")
    return [*lines, ""]


def _with_trees(document: Document) -> list[Row]:
    """Our tiles placed for routers that copy messages, with what the closest peer's placement of them needs."""
    rows = [row for row in document["rows"] if row.get("tree_hops")]
    same = {row["network"]: row for row in rows if row["mapper"] == SAME_TILES}
    before = {row["network"]: row for row in rows if row["mapper"] == OURS}
    both = [
        {
            **row,
            "theirs": same[row["network"]]["tree_hops"],
            "their_link": same[row["network"]]["tree_link"],
            "before": before[row["network"]],
        }
        for row in rows
        if row["mapper"] == FOR_TREES and row["network"] in same and row["network"] in before
    ]
    large = [
        {
            **one,
            "tree_hops": one["placed_tree_hops"],
            "tree_link": one["placed_tree_link"],
            "theirs": one["hilbert_tree_hops"],
            "their_link": one["hilbert_tree_link"],
            "before": one,
        }
        for one in document["scale"]
        if "placed_tree_hops" in one
    ]
    return [*both, *large]


def _trees(document: Document) -> list[str]:
    """What the same mappings need if routers copied messages; nothing without such results."""
    rows = sorted((one for one in _with_trees(document) if one["cores"] > 2), key=lambda one: one["cores"])
    if not rows:
        return []
    lines = [
        "## Where routers copy messages\n",
        "A spike's routes to all cores that read it, first along the row, then along the column, are a tree. A router "
        "that copies messages where routes part carries the spike once on each link of it, and a core sends it once. "
        "Counted exactly, by classes of neurons that the same cores read (`compiler/mapping/routing/trees.py`); up to 6 million "
        "neurons the routing tables are followed from router to router, and each link carries what was counted. *Hops* "
        "and *link* are over those of the same mapping with one message a target. *Placed for it*: our tiles, placed "
        "again by annealing on trees, which is what `map_network` does for a chip whose file says `[mesh.multicast] "
        "value = 1`. *At least*: each link of a tree reaches one more router, so that these tiles cannot do with "
        "fewer.\n",
        "| network | cores | sent | hops | link | placed for it: hops | link | over the least | hops over Hilbert + forces | "
        "link over theirs |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in rows:
        apart = one["before"]
        cells = (
            one["network"],
            f"{one['cores']:,}",
            _ratio(one["sent"], apart["messages"]) if one.get("sent") else "–",
            _ratio(apart["tree_hops"], apart["hops"]),
            _ratio(apart["tree_link"], apart["busiest_link"]),
            _ratio(one["tree_hops"], apart["hops"]),
            _ratio(one["tree_link"], apart["busiest_link"]),
            _ratio(one["tree_hops"], one.get("least_tree_hops", 0)),
            _ratio(one["tree_hops"], one["theirs"]),
            _ratio(one["tree_link"], one["their_link"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _is_peer(row: Row) -> bool:
    return not row["mapper"].startswith(OURS)


def _peers(document: Document) -> list[str]:
    lines = [
        "## Peers\n",
        "Each is our re-implementation of what was published; `examples/mapping/peers` names the variant. Messages, hops "
        "and busiest link are over those of our mapping on the fewest cores (the first row): above 1 is worse than ours. "
        "Rows of ours with more cores were made with at most as many as a lawful peer took."
        + (PEERS_TREES if _with_trees(document) else "")
        + "\n",
    ]
    for name in dict.fromkeys(row["network"] for row in document["rows"]):
        rows = [row for row in document["rows"] if row["network"] == name]
        base = next(row for row in rows if row["mapper"] == OURS)
        columns = [*COMPARED, *(COMPARED_TREES if base.get("tree_hops") else ())]
        lines += [
            f"### {name}\n",
            f"| mapper | cores | {' | '.join(title for title, _ in columns)} | seconds | cores that break a limit |",
            f"|---|--:|{'--:|' * len(columns)}--:|---|",
        ]
        lawful = sorted((row for row in rows if not row["violations"]), key=lambda row: row["hops"])
        for row in (base, *(row for row in lawful if row is not base)):
            lines.append(_peer_line(row, base, columns, "none"))
        for row in (row for row in rows if row["violations"] and row is not base):
            broken = ", ".join(f"{count} {_words(limit)}" for limit, count in row["violations"].items())
            lines.append(_peer_line(row, base, columns, f"{broken} (not ranked)"))
        lines.append("")
    return lines


COMPARED = (("messages", "messages"), ("hops", "hops"), ("busiest link", "busiest_link"))
COMPARED_TREES = (("hops, copied", "tree_hops"), ("busiest link, copied", "tree_link"))
"""Columns: their titles, and what of a row over that of our mapping."""

PEERS_TREES = " *Copied*: the same mappings, if routers copied messages where routes part."


def _peer_line(row: Row, base: Row, columns: list[tuple[str, str]], broken: str) -> str:
    ratios = " | ".join("–" if row.get(key) is None else _ratio(row[key], base[key]) for _, key in columns)
    return f"| {row['mapper']} | {row['cores']:,} | {ratios} | {row['seconds']:.1f} | {broken} |"


def _intel(document: Document) -> list[str]:
    lines = [
        "## Beside Intel's compiler\n",
        "lava-dl's notebooks print what Intel's own compiler did with some networks on Loihi 2. Ours maps the same layers "
        "under the limits and the encoding that were read from these tables (`targets/loihi/loihi2.toml`), on one chip. "
        "*Worth* is how many cores a layer fills by itself, by the limit that it uses most; our layers share cores, so "
        "that more cores may hold some of it. *Neurons* and *words* are those of a core of theirs, and of our largest "
        "tile.\n",
    ]
    for one in document["intel"]:
        within = "every core within the limits" if one["keeps_limits"] else "**limits are broken**"
        lines += [
            f"### {one['network']}: {one['ours']} cores, Intel {one['theirs']}, bound {one['least']}; {within}\n",
            "| layer | Intel: cores | neurons | words | ours: worth | held by | neurons | words | most used | why |",
            "|---|--:|--:|--:|--:|--:|--:|--:|---|---|",
            *(_intel_line(layer) for layer in one["layers"]),
            "",
        ]
    return lines


def _intel_line(layer: Row) -> str:
    cells = (
        layer["name"],
        f"{layer['theirs']}",
        f"{layer['their_neurons']:,}",
        f"{layer['their_words']:,}",
        f"{layer['worth']:.2f}",
        f"{layer['ours']}",
        f"{layer['our_neurons']:,}",
        f"{layer['our_words']:,}",
        f"{_words(layer['limit'])} {100 * layer['full']:.0f} %",
        _difference(layer),
    )
    return f"| {' | '.join(cells)} |"


def _difference(layer: Row) -> str:
    """Why the cores differ, from what both put on a core."""
    if layer["worth"] > layer["theirs"] - 0.5:
        return "as many cores' worth"
    larger = layer["our_neurons"] / layer["their_neurons"]
    if larger > 1.05:
        return f"{larger:.2f} times as many neurons on a core"
    return "the rest of its cores holds other layers"


def _size(document: Document) -> list[str]:
    lines = [
        "## Cost against size\n",
        "Spikformers from graph to placed and routed, each in a process of its own, one core of a machine that others "
        "used at the same time. Seconds are of the processor; the wall clock is beside them.\n",
        f"![Processor seconds and memory against neurons]({PLOT})\n",
        "| network | neurons | cores | over the bound | messages over the bound | seconds | wall | GiB | violations |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in document["scale"]:
        cells = (
            one["network"],
            _large(one["neurons"]),
            f"{one['cores']:,}",
            _ratio(one["cores"], one["least_cores"]),
            _ratio(one["messages"], one["least_messages"]),
            f"{one['seconds']:.1f}",
            f"{one['wall']:.1f}",
            f"{one['gib']:.2f}",
            f"{one['violations']}" if "violations" in one else "not checked",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _binding(document: Document) -> list[str]:
    lines = [
        "## What binds, and what would change it\n",
        "Which limit each core of our mapping uses most, and what our mapper needs after a change; *at least* is the bound "
        "after it. `spikeloom compile --map-only` and the report say the same of every network.\n",
        "| network | cores, by what binds them | change | cores | at least | messages, of now | at least, of now |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for name, why in document["explanations"].items():
        binds = ", ".join(f"{count:,} {_words(limit)}" for limit, count in why["binding"].items())
        for number, one in enumerate(why["what_if"]):
            cells = (
                name if not number else "",
                binds if not number else "",
                one["change"],
                "–" if one["cores"] is None else f"{one['cores']:,}",
                f"{one['least_cores']:,}",
                "–" if one["messages"] is None else _ratio(one["messages"], why["messages"]),
                _ratio(one["least_messages"], why["messages"]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def plot(document: Document) -> str:
    """Seconds and memory against neurons, as an SVG document."""
    import io

    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    style: Any = {"svg.hashsalt": "spikeloom", "svg.fonttype": "none", "font.size": 9}
    with mpl.rc_context(style):
        figure = Figure(figsize=(7.2, 2.9), layout="constrained")
        for axes, key, label in zip(
            figure.subplots(1, 2), ("seconds", "gib"), ("processor seconds", "peak memory, GiB"), strict=True
        ):
            neurons = [one["neurons"] for one in document["scale"]]
            axes.loglog(neurons, [one[key] for one in document["scale"]], "o-", color="#1b8a8f")
            axes.set(xlabel="neurons", ylabel=label)
            axes.grid(alpha=0.3)
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        for goal in SECONDS:
            figure.axes[0].plot(*goal, "v", color="#d1622b")
        figure.axes[0].set_title("triangles: goals", fontsize=9, loc="left")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _words(name: str) -> str:
    return name.replace("_", " ")


def _ratio(value: float, bound: float) -> str:
    return f"{value / bound:.2f}" if bound else "–"


def _share(some: list[Any], everything: list[Any]) -> str:
    return f"{len(some)} of {len(everything)}"


def _yes(reached: bool) -> str:
    return "yes" if reached else "**no**"


def _large(value: float) -> str:
    """A number with three digits and its power of a thousand."""
    for power, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= power:
            return f"{value / power:.3g}{letter}"
    return f"{value:.3g}"


def read() -> Document:
    """The results, from small networks to large ones."""
    document: Document = json.loads(RESULTS.read_text(encoding="utf-8"))
    document["rows"].sort(key=lambda row: row["neurons"])
    names = {row["network"]: document["explanations"].get(row["network"]) for row in document["rows"]}
    document["explanations"] = {name: why for name, why in names.items() if why is not None}
    return document


def main() -> None:
    """Read the results, and write the page and the plot."""
    document = read()
    write_text(ROOT / "docs/mapping.md", page(document))
    write_text(ROOT / "docs" / PLOT, plot(document))


if __name__ == "__main__":
    main()
