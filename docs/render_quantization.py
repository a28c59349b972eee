"""Write docs/quantization.md from docs/quantization.json; `-` prints it instead.

    python docs/render_quantization.py                                            # the page anew
    python docs/render_quantization.py digits.json nmnist.json spike_driven.json  # new figures first

New figures come from `python -m examples.quantization_table`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spikeloom.atomic import write_text
from spikeloom.runtime.score import paired_interval, wilson_interval

FIGURES = Path(__file__).with_name("quantization.json")
COLUMNS = {"rounded": "rounded", "corrected": "corrected", "fine_tuned": "fine-tuned"}
NETWORKS = {
    "digits": "The Spikformer of `examples/digits` (129,546 parameters)",
    "nmnist": "The Spikformer of `examples/nmnist` (95,882 parameters)",
    "spike_driven": "The Spike-driven Transformer of `examples/nmnist` (130,178 parameters)",
}
FOLDS = (
    "A seed is one of five folds over the 1,060 recordings: a network trained from scratch on the "
    "other four, calibrated and fine-tuned on these, and tested on the fold. No recording is tested twice; "
    "the 95 % interval is Wilson's for all of them together."
)
SAMPLING = {
    "digits": "One network, `digits.pt`; a seed changes the 64 recordings that calibrate, and the order and "
    "shifts of fine-tuning. Each of the 360 recordings held out is answered once a seed; the 95 % interval is "
    "Wilson's for the mean over the seeds on 360 recordings.",
    "nmnist": FOLDS,
    "spike_driven": FOLDS,
}
OPENING = """\
# Quantization

Written by `make docs` from `docs/quantization.json`; do not edit.

Weights are rounded to 2 to 8 bits for a target's grid, and what that does is measured for each layer:

    spikeloom quantize model.py:build --weights model.pt --recipe recipe.toml --calibrate train --bits 4

prints bits, the range in use, the decisions that differ from equal inputs and membranes (*forced*), the decisions
that differ when both networks run alone (*cumulative*), the firing rates before and after, and an alarm for
layers that died, fade (below a quarter of their rate), saturate (above 95 % of all steps) or soar (above four
times their rate). `compile` prints the same table.

| option | what it does |
|---|---|
| `--range error` | the clipping with the smallest error of the layer's sums, inputs weighted as calibration saw them; the default |
| `--range minmax` | nothing is clipped |
| `--range percentile --percentile P` | the range ends at that percentile of a channel's magnitudes, and of the values of a step where values are rescaled |
| `--correct`, `--no-correct` | after rounding, layer by layer: each weight becomes the integer above or below it such that the error of the layer's sums is small (GPTQ, then each weight in turn), in all layers or none, whichever leaves fewer decisions that differ; the mean of its currents goes back into the biases; each threshold becomes the nearby one with the fewest flips, unless thresholds are shared. By default below 6 bits |
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

*Rounded*: each weight to the nearest integer, ranges by the smallest error, no correction. *Corrected*: weights rounded
anew, biases and thresholds too, on 64 recordings; the new weights were always taken, while `--correct` takes them since
only where fewer decisions of these recordings differ. *Fine-tuned*: the corrected network after {epochs} epochs towards
the answers of the trained one on the recordings that this was trained on, at a peak learning rate of 0.002 with 2 bits
and half of it with each further bit. The smallest ranges that the search tries below 6 bits were chosen with recordings of
the table in sight; all else on two folds of N-MNIST that the table does not hold, see [below](#what-was-tried).
"""

TRIED = """\
## What was tried

On the two folds of N-MNIST that the table does not hold, 424 recordings, with networks that have not seen them: how many
get the answer of the trained network, and the mean divergence of the answers' shares from its own (Kullback and Leibler,
in nats). `onnx` and `loihi2`:

| | 8 bits | 4 bits | 3 bits | 2 bits |
|---|---|---|---|---|
| the nearest integers | 417, 0.014; 416, 0.015 | 414, 0.045; 412, 0.052 | 396, 0.151; 396, 0.176 | 122, 2.18; 70, 4.00 |
| biases and thresholds corrected | 420, 0.009; 418, 0.013 | 417, 0.040; 413, 0.040 | 408, 0.068; 405, 0.117 | 394, 0.440; 390, 0.974 |
| weights rounded anew as well | 422, 0.010; 419, 0.012 | 411, 0.039; 418, 0.033 | 415, 0.042; 411, 0.038 | 406, 0.103; 398, 0.273 |

The last is what `--correct` does. What gave nothing that so few recordings would show: 256 recordings in the place of 64;
integers further away than the next one; products of the inputs as they are in the place of those about their means; a
tenth of the damping, or ten times as much; a correction of the readout's bias by the mean of its sums, which is why it
has none. At 8 bits the correction helps as well, and costs the time of a run of the network over the recordings; it is
left to `--correct` there.

Fine-tuning from the corrected network gains where that still loses several points, with 2 bits; from 4 bits on it is as
likely to lose, with 4 bits on `loihi2` more than a point. A loss towards the answers of the trained network in the place
of the labels, and a rate that rises and then falls, are in all figures; other rates changed nothing.
"""


def page(figures: Mapping[str, Any]) -> str:
    """The whole page in Markdown."""
    epochs = {document["epochs"] for document in figures.values()}
    parts = [OPENING.replace("{epochs}", " or ".join(map(str, sorted(epochs))))]
    for network, document in figures.items():
        parts += [f"### {NETWORKS[network]}\n", f"{SAMPLING[network]}\n", _trained(network, document)]
        for target in dict.fromkeys(row["target"] for row in document["rows"]):
            rows = [row for row in document["rows"] if row["target"] == target]
            parts += [_heading(target, rows), _table(network, rows)]
        parts.append(f"The run took {document['minutes']:.0f} minutes of one core, shared with others.\n")
    parts += [_aims(figures), TRIED]
    return "\n".join(parts)


def _trained(network: str, document: Mapping[str, Any]) -> str:
    seeds = {row["seed"]: row["trained"] for row in document["rows"]}
    return f"In float: {_cell(network, list(seeds.values()))}.\n"


def _heading(target: str, rows: Sequence[Mapping[str, Any]]) -> str:
    if any("refused" in row for row in rows):
        return f"Target `{target}`, refused at every width:\n"
    seeds = len({row["seed"] for row in rows})
    return f"Target `{target}`, {seeds} seed{'s' * (seeds > 1)}:\n"


def _table(network: str, rows: Sequence[Mapping[str, Any]]) -> str:
    if refused := dict.fromkeys(problem for row in rows for problem in row.get("refused", ())):
        return "\n".join(["```", *refused, "```\n"])
    lines = [f"| bits | {' | '.join(COLUMNS.values())} | fine-tuned, by seed |", "|---|---|---|---|---|"]
    for bits in dict.fromkeys(row["bits"] for row in rows):
        own = [row for row in rows if row["bits"] == bits]
        cells = [_cell(network, [row[column] for row in own]) for column in COLUMNS]
        seeds = ", ".join(f"{row['fine_tuned']['right']} of {row['fine_tuned']['n']}" for row in own)
        lines.append(f"| {bits} | {' | '.join(cells)} | {seeds} |")
    return "\n".join(lines) + "\n"


def _cell(network: str, answers: Sequence[Mapping[str, Any]]) -> str:
    """Mean accuracy over the seeds, and its interval."""
    right, n = (sum(one[key] for one in answers) for key in ("right", "n"))
    again = _times_asked(network, answers)
    low, high = wilson_interval(round(right / again), n // again)
    return f"{right / n:.1%} ({low:.1%} to {high:.1%})".replace("%", " %")


def _times_asked(network: str, answers: Sequence[Mapping[str, Any]]) -> int:
    """How often each recording is among the answers: all seeds of the digits are tested on the same."""
    return len(answers) if network == "digits" else 1


def _aims(figures: Mapping[str, Any]) -> str:
    lines = [
        "## Against the aims\n",
        "The aims: with 8 bits within half a point of float without fine-tuning, with 4 bits within a point after "
        "it. The mean over the seeds lost, in points (a negative number is a gain), with the 95 % interval of the "
        "difference (Agresti and Min, 2005), which counts the recordings whose answers differ:\n",
        "| network | target | 8 bits, rounded | 8 bits, corrected | 4 bits, corrected | 4 bits, fine-tuned |",
        "|---|---|---|---|---|---|",
    ]
    for network, document in figures.items():
        measured = [row for row in document["rows"] if "refused" not in row]
        for target in dict.fromkeys(row["target"] for row in measured):
            own = [row for row in measured if row["target"] == target]
            wanted = ((8, "rounded"), (8, "corrected"), (4, "corrected"), (4, "fine_tuned"))
            cells = [
                _lost(network, [row[column] for row in own if row["bits"] == bits]) for bits, column in wanted
            ]
            lines.append(f"| {network} | `{target}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _lost(network: str, answers: Sequence[Mapping[str, Any]]) -> str:
    again = _times_asked(network, answers)
    lost, gained, n = (sum(one[key] for one in answers) / again for key in ("lost", "gained", "n"))
    low, high = paired_interval(lost, gained, n)
    return f"{100 * (lost - gained) / n:+.2f} ({100 * low:+.1f} to {100 * high:+.1f})"


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
