"""Write docs/quantization.md from docs/quantization.json; `-` prints it instead.

    python docs/render_quantization.py                          # the page anew
    python docs/render_quantization.py digits.json nmnist.json  # new figures first

New figures come from `python -m examples.quantization_table`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeloom.atomic import write_text
from spikeloom.runtime.score import wilson_interval

FIGURES = Path(__file__).with_name("quantization.json")
COLUMNS = {"rounded": "rounded", "corrected": "corrected", "fine_tuned": "fine-tuned"}
NETWORKS = {
    "digits": "The Spikformer of `examples/digits` (129,546 parameters)",
    "nmnist": "The Spikformer of `examples/nmnist` (95,882 parameters)",
}
SAMPLING = {
    "digits": "One network, `digits.pt`; a seed changes the 64 recordings that calibrate, and the order and "
    "shifts of fine-tuning. Each of the 360 recordings held out is answered once a seed; the 95 % interval is "
    "Wilson's for the mean over the seeds on 360 recordings.",
    "nmnist": "A seed is one of five folds over the 1,060 recordings: a network trained from scratch on the "
    "other four, calibrated and fine-tuned on these, and tested on the fold. No recording is tested twice; "
    "the 95 % interval is Wilson's for all of them together.",
}
OPENING = """\
# Quantization

Written by `make docs` from `docs/quantization.json`; do not edit.

Weights are rounded to 2 to 8 bits for a target's grid, and what that does is measured for each layer:

    spikeloom quantize model.py:build --weights model.pt --recipe recipe.toml --calibrate train --bits 4

prints bits, the range in use, the decisions that differ from equal inputs and membranes (*forced*), the spikes
that differ when both networks run alone (*cumulative*), the firing rates before and after, and an alarm for
layers that died, fade (below a quarter of their rate), saturate (above 95 % of all steps) or soar (above four
times their rate). `compile` prints the same table.

| option | what it does |
|---|---|
| `--range error` | the clipping with the smallest error of the layer's sums, inputs weighted as calibration saw them; the default |
| `--range minmax` | nothing is clipped |
| `--range percentile --percentile P` | the range ends at that percentile of a channel's magnitudes, and of the values of a step where values are rescaled |
| `--correct`, `--no-correct` | after rounding, the mean of each layer's currents goes back into the biases, and each threshold becomes the nearby one with the fewest flips; where thresholds are shared, biases alone. By default below 6 bits |
| `--bits auto --max-flips S` | each layer gets the fewest bits with which the flips that rounding it alone causes, summed over layers, stay below a share S |
| `--bits auto --max-bytes N` | the same, for weights that must fit N bytes |
| `--repconv auto`, `dense`, `chain` | whether convolutions without a neuron between them (RepConv) become one: by default where that costs fewer operations at the measured density of the input, and no trained grid is lost |

Weights whose channels lie on a grid of the width already (LSQ checkpoints) are taken over, not rounded. Ranges of
values that are rescaled have 18 bits for twice the largest magnitude seen, so that their error is far below
that of weights; an error-minimising search is made for weights alone.

## Fine-tuning

    prepared = spikeloom.prepare(model, "T,B,2,34,34", frames, target="loihi2", bits=4, recipe=recipe)

is an `nn.Module` for any training loop. Its forward pass is the integer graph, rounding passes gradients
straight through, spikes have the surrogate gradient of the model's own neurons; in training and in evaluation
its spikes are those of the graph that `spikeloom.compile_model(prepared, ...)` compiles, without a mismatch.
`examples/fine_tune.py` is a complete script:

    python -m examples.fine_tune digits out/digits -o tuned.loom --target loihi2 --bits 4

Batch norms are folded first and do not learn; weights, biases, and where a target has one for each neuron
thresholds, do. Steps of weights and factors between units stay as calibration left them.

## Accuracy

*Rounded*: ranges by the smallest error, no correction. *Corrected*: biases and thresholds too. *Fine-tuned*: the
corrected network after {epochs} epochs towards the answers of the trained one on the recordings that this was trained
on, at a peak learning rate of 0.002. That rate was chosen among three on a fold of N-MNIST that the table does not
hold. On two such folds of 212 recordings, a half or a quarter of it gave at 4 bits 403 to 405 right where the corrected
network had 405 and 406: from 4 bits on there is nothing left to gain that so few recordings would show. The smallest
ranges that the search tries below 6 bits were chosen with the recordings of the table in sight.
"""


def page(figures: Mapping[str, Any]) -> str:
    """The whole page in Markdown."""
    epochs = {document["epochs"] for document in figures.values()}
    parts = [OPENING.replace("{epochs}", " or ".join(map(str, sorted(epochs))))]
    for network, document in figures.items():
        parts += [f"### {NETWORKS[network]}\n", f"{SAMPLING[network]}\n", _trained(network, document)]
        for target in dict.fromkeys(row["target"] for row in document["rows"]):
            rows = [row for row in document["rows"] if row["target"] == target]
            parts += [f"Target `{target}`:\n", _table(network, rows)]
        parts.append(f"The run took {document['minutes']:.0f} minutes of one core, shared with others.\n")
    parts.append(_aims(figures))
    return "\n".join(parts)


def _trained(network: str, document: Mapping[str, Any]) -> str:
    seeds = {row["seed"]: row["trained"] for row in document["rows"]}
    return f"In float: {_cell(network, list(seeds.values()))}.\n"


def _table(network: str, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"| bits | {' | '.join(COLUMNS.values())} | fine-tuned, by seed |", "|---|---|---|---|---|"]
    for bits in dict.fromkeys(row["bits"] for row in rows):
        own = [row for row in rows if row["bits"] == bits]
        cells = [_cell(network, [row[column] for row in own]) for column in COLUMNS]
        seeds = ", ".join(f"{row['fine_tuned']['right']} of {row['fine_tuned']['n']}" for row in own)
        lines.append(f"| {bits} | {' | '.join(cells)} | {seeds} |")
    return "\n".join(lines) + "\n"


def _cell(network: str, answers: Sequence[Mapping[str, Any]]) -> str:
    """Mean accuracy over the seeds, and its interval."""
    right, n = sum(one["right"] for one in answers), sum(one["n"] for one in answers)
    independent = 1 if network == "nmnist" else len(answers)  # the digits' recordings are the same each time
    low, high = wilson_interval(round(right / independent), n // independent)
    return f"{right / n:.1%} ({low:.1%} to {high:.1%})".replace("%", " %")


def _aims(figures: Mapping[str, Any]) -> str:
    lines = [
        "## Against the aims\n",
        "The aims: with 8 bits within half a point of float without fine-tuning, with 4 bits within a point after "
        "it. The mean over the seeds lost, in points (a negative number is a gain):\n",
        "| network | target | 8 bits, rounded | 4 bits, corrected | 4 bits, fine-tuned |",
        "|---|---|---|---|---|",
    ]
    for network, document in figures.items():
        for target in dict.fromkeys(row["target"] for row in document["rows"]):
            lost = [
                _lost(document, target, bits, column)
                for bits, column in ((8, "rounded"), (4, "corrected"), (4, "fine_tuned"))
            ]
            lines.append(f"| {network} | `{target}` | {' | '.join(f'{points:+.2f}' for points in lost)} |")
    return "\n".join(lines) + "\n"


def _lost(document: Mapping[str, Any], target: str, bits: int, column: str) -> float:
    rows = [row for row in document["rows"] if (row["target"], row["bits"]) == (target, bits)]
    shares: list[float] = [row["trained"]["accuracy"] - row[column]["accuracy"] for row in rows]
    return 100 * sum(shares) / len(shares)


def main(arguments: Sequence[str]) -> None:
    """Take in new figures, and write or print the page."""
    figures = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    for path in arguments:
        if path != "-":
            document = json.loads(Path(path).read_text("utf-8"))
            figures[document["network"]] = document
    figures = dict(sorted(figures.items()))
    if "-" in arguments:
        sys.stdout.write(page(figures))
        return
    write_text(FIGURES, json.dumps(figures, indent=1) + "\n")
    write_text(FIGURES.with_suffix(".md"), page(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
