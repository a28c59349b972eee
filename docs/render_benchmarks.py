"""Write docs/benchmarks.md from the JSON of `spikeloom bench`; `make bench` does both."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from spikeloom.atomic import write_text
from spikeloom.benchmarks.goals import goals

OPENING = """\
# Benchmarks

Written by `make bench` from `docs/benchmarks.json`; do not edit. Networks are generated (random 8-bit weights, thresholds such that
every layer fires at about 15 %, asserted), so nothing here speaks of accuracy. All contenders run in turn in
one process, batch 1 and one thread; times are medians of the processor time of a run of all steps, and ratios
are medians of the ratios of the rounds, with the smallest and the largest. Engines of Spikeloom compute in
8-bit integers and are compared with the reference before they are timed: every spike is equal. **All training
frameworks compute in float32**: part of a ratio is arithmetic, and part is what is not computed at all.

The *bound* is what a dense execution would need on this machine at the rates measured below: products at the
peak (or the weights read once from memory, where that takes longer) and neuron updates in the cache. Work
that is skipped because nothing fired can go below it.
"""

WHY = """\
The *limit of the machine* is the peer's time over the bound. Why goals are missed where they are:

- *Over ONNX Runtime float32 and SpikingJelly.* The goals were set for a processor with tiles (AMX), whose 8-bit
  peak is some thirty times its float32 peak. With VNNI alone it is a few times: where the limit above is below the
  goal, no dense execution can reach it. A profile of the event engine, layer by layer: what fires at 15 % is gathered
  at 550 to 630 G dense products a second, above the dense peak, and takes a fifth of the time. More than half goes to
  products that stay dense, at 340 to 430 G a second: convolutions behind a pool, and maps whose inputs are residuals,
  sums of spikes of which most are not zero. Neuron updates take a tenth, near the limit above; attention, pools and
  calls share the rest.
- *onnx.* Of the time that ONNX Runtime's own profiler sees, over half goes to neurons and a quarter to products: the
  standard has no operator for a neuron, whose step is nine operators, each a pass over memory, within a loop.
- *Step by step.* A step reads all weights again, which do not fit the cache of a core, each product has a
  fourth of the rows, and every call is made four times.
- *One row at 10 %.* A row of weights that is not in the cache of a core comes from the next one; the events of
  the frames of a run touch different rows. Ten times as fast as a dense product on a tenth of the rows means reading
  scattered rows at the speed at which ONNX Runtime reads all of them in order.
- *Two workers* depend on an idle second core: at a load above 1 the figure says nothing. Their processor time was that
  of one within 2 % where both were measured, so that the work itself does not grow.
- *Peak memory of compiling.* Python, PyTorch and the model in float32 take three times the weights before
  anything is compiled. The canonical graph holds them in 64-bit floats, since batch norms are folded into them, and
  the peak is where PyTorch runs once more beside them, for the spikes that a bundle keeps.
"""


def main() -> None:
    """Read the figures and write the page."""
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    write_text(Path(__file__).with_name("benchmarks.md"), page(document))


def page(document: dict[str, Any]) -> str:
    """The page as text."""
    parts = [OPENING, _machine(document), _goals(document)]
    parts += [_network(entry) for entry in document["networks"]]
    parts.append(_layers(document["layers"]))
    if document.get("lava"):
        parts.append(_lava(document["lava"]))
    return "\n".join(parts)


def _machine(document: dict[str, Any]) -> str:
    limits, found = document["limits"], document["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    others = ", ".join(document["left_out"]) or "none"
    absent = ", ".join(document["missing"]) or "none"
    return (
        f"- Machine: {found['processor']}, {found['system']}.\n"
        f"- Versions: {versions}. Peers that were not installed: {absent}; left out, since their neurons are others: {others}.\n"
        f"- Limits of one core, measured: {limits['products'] / 1e9:.0f} G 8-bit products a second, "
        f"{limits['bandwidth'] / 1e9:.1f} GB/s read from memory, "
        f"{limits['update'] * 1e9:.2f} ns a neuron update.\n"
        f"- {document['rounds']} rounds. Load of the machine (five minutes), before and after: "
        f"{' and '.join(f'{load:.1f}' for load in document['load'])}.\n"
    )


def _goals(document: dict[str, Any]) -> str:
    lines = [
        "## Goals\n",
        "| what | wanted | found | limit of the machine | reached |",
        "|---|---|---|---|---|",
    ]
    for goal in goals(document):
        found = "not measured" if goal.found is None else f"{goal.found:.3g}"
        bound = "" if goal.bound is None else f"{goal.bound:.3g}"
        sign = "at least" if goal.least else "at most"
        reached = {True: "yes", False: "**no**", None: ""}[goal.reached]
        lines.append(f"| {goal.what} | {sign} {goal.wanted:g} | {found} | {bound} | {reached} |")
    return "\n".join([*lines, "", WHY])


def _network(entry: dict[str, Any]) -> str:
    rates, second = entry["firing_rates"], entry["second_core"]
    lines = [
        f"## {entry['network']}, {entry['steps']} step{'s' * (entry['steps'] > 1)}\n",
        f"{entry['products'] / 1e9:.2f} G products and {entry['updates'] / 1e6:.2f} M neuron updates a run, "
        f"{entry['weights'] / 1e6:.1f} M weights; layers fire at {rates['min']:.1%} to {rates['max']:.1%}. "
        f"Bound: {entry['bound_seconds'] * 1e3:.2f} ms. Two workers on eight samples, by the clock: "
        f"{second['median']:.2f} times one ({second['min']:.2f} to {second['max']:.2f}).\n",
        *_table(entry, ["SpikingJelly, float32", "ONNX Runtime, float32", "torch.compile, float32"]),
    ]
    if entry["throughput"]:
        lines += _throughput(entry["throughput"])
    return "\n".join(lines) + "\n"


def _throughput(found: dict[str, Any]) -> list[str]:
    """Contenders by samples a second, best first."""
    rows = sorted(found["contenders"].items(), key=lambda row: -row[1]["samples_a_second"])
    lines = [
        f"\nWith {found['threads']} threads, each at the batch that suits it best (1, 8 or 32; ONNX Runtime's "
        "float graph has batch 1), samples a second by the clock:\n",
        "| contender | samples a second | batch |",
        "|---|---|---|",
    ]
    return [*lines, *(f"| {name} | {row['samples_a_second']:.1f} | {row['batch']} |" for name, row in rows)]


def _layers(entries: list[dict[str, Any]]) -> str:
    lines = ["## Single layers, one frame a call\n"]
    for entry in entries:
        lines += [
            f"{entry['network']}, {entry['input_rate']:.1%} of the inputs active, {entry['frames']} frames; "
            "the bound is the weights of active inputs, read from memory (a cache can be faster):\n",
            *_table(entry, ["ONNX Runtime, int8"]),
            "",
        ]
    return "\n".join(lines)


def _lava(entries: list[dict[str, Any]]) -> str:
    loads = ", ".join(f"{entry['load']:.1f}" for entry in entries)
    lines = [
        "## Layers under Lava\n",
        "A source, the layer, its LIF neurons and a sink of Lava's own, with its fixed-point models, against the "
        "`event` engine: both get all frames in one call, and every spike is equal. By the clock, since Lava runs "
        "each process as one of the system's: most of its time for small layers is their talking to each other. "
        "The last column is a step where the engine gets one frame a call: of small layers, the cost of the call. "
        f"Load of the machine (five minutes) before each layer: {loads}.\n",
        "| layer | fires | Lava, µs a step | event, µs a step | times as fast | event, one frame a call, µs |",
        "|---|---|---|---|---|---|",
    ]
    for entry in entries:
        ratio, stepped = entry["times_as_fast"], entry["event_step_seconds"]
        lines.append(
            f"| {entry['network']} | {entry['rate']:.1%} | {entry['lava_seconds'] * 1e6:.0f} | "
            f"{entry['event_seconds'] * 1e6:.3g} | "
            f"{ratio['median']:.0f} ({ratio['min']:.0f} to {ratio['max']:.0f}) | {stepped * 1e6:.3g} |"
        )
    return "\n".join(lines) + "\n"


def _table(entry: dict[str, Any], peers: list[str]) -> list[str]:
    peers = [peer for peer in peers if any(peer == row["name"] for row in entry["contenders"])]
    heads = ["contender", "ms", "smallest to largest", "share of bound", *(f"times {peer}" for peer in peers)]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in entry["contenders"]:
        times = row["seconds"]
        cells = [
            row["name"],
            f"{times['median'] * 1e3:.3g}",
            f"{times['min'] * 1e3:.3g} to {times['max'] * 1e3:.3g}",
            f"{row['share_of_bound']:.0%}",
            *(_ratio(row, peer) for peer in peers),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _ratio(row: dict[str, Any], peer: str) -> str:
    found = row["times_as_fast_as"].get(peer)
    return "1" if found is None else f"{found['median']:.2f} ({found['min']:.2f} to {found['max']:.2f})"


if __name__ == "__main__":
    main()
