"""Firing rates of a trained Spikformer, by role of the layer, from a run of the digits example.

`make demo` compiles SpikingJelly's Spikformer as trained for the digits and runs it over the test set of 360
recordings; the summary of the run holds how often each layer fired. This writes them as rates of roles:

python -m examples.mapping.measured out/run.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spikeloom.atomic import write_text

RATES = Path(__file__).parent / "rates.json"

ROLES = {
    "attn.qkv_lif": ("q", "k", "v"),
    "attn.attn_lif": ("attn",),
    "attn.proj_lif": ("proj",),
    "mlp.neuron1": ("fc1",),
    "mlp.neuron2": ("fc2",),
}
"""Layers of a block of SpikingJelly's Spikformer, and the benchmark's populations that play their part."""


def by_role(summary: Mapping[str, Any]) -> dict[str, float]:
    """Spikes a neuron and step of each role: stems and position by themselves, blocks on average.

    >>> layers = [{"name": f"blocks.{n}.attn.proj_lif", "rate": rate} for n, rate in ((0, 0.1), (1, 0.2))]
    >>> by_role({"layers": layers})
    {'proj': 0.15}
    """
    found: dict[str, list[float]] = {}
    for layer in summary["layers"]:
        _, part, rest = layer["name"].split(".", 2)
        if layer["name"].startswith("blocks."):
            roles = ROLES[rest]
        else:
            roles = (f"stem{rest.split('.')[0]}",) if part == "stages" else ("rpe",)
        for role in roles:
            found.setdefault(role, []).append(layer["rate"])
    return {role: round(sum(rates) / len(rates), 6) for role, rates in found.items()}


def read() -> dict[str, float]:
    """The rates of roles as they were measured last."""
    rates: dict[str, float] = json.loads(RATES.read_text(encoding="utf-8"))["rates"]
    return rates


def main() -> None:
    """Write the rates of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("summary", type=Path, help="JSON that `spikeloom run` wrote")
    summary = json.loads(parser.parse_args().summary.read_text(encoding="utf-8"))
    document = {
        "model": "SpikingJelly's Spikformer as trained in examples/digits",
        "recordings": summary["samples"],
        "right": summary["right"],
        "rates": by_role(summary),
    }
    write_text(RATES, json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
