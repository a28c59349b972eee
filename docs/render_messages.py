"""Write the table of messages into docs/loihi.md: python -m docs.render_messages FOLDER A.loom B.loom ...

FOLDER holds recordings. A row a bundle, with what `spikeloom estimate` says of it; `-` prints the table. The
bundles are those of tests/targets/loihi/test_trained.py, which --basetemp keeps.
"""

from __future__ import annotations

import sys
from pathlib import Path

from spikeloom.atomic import write_text
from spikeloom.compiler.bundle import Bundle, read_bundle
from spikeloom.runtime.estimate.document import estimate_bundle
from spikeloom.runtime.events.array_recipe import event_recipe, read_recipe
from spikeloom.runtime.events.samples.recordings import recordings

PAGE = Path(__file__).with_name("loihi.md")
BEGIN, END = "<!-- messages: begin -->\n", "<!-- messages: end -->\n"
HEAD = "| network | binary | graded | dense | messages over neurons and steps |\n|---|---|---|---|---|\n"
NAMES = {
    "SpikeDrivenTransformer": "Spike-driven Transformer (V1): membranes",
    "MetaSpikeformer": "Meta-SpikeFormer (V2): membranes, weights behind weights",
    "QKFormer": "QKFormer: spikes, pools of currents",
}


def table(folder: Path, bundles: list[Path]) -> str:
    """The table as Markdown, in the order of :data:`NAMES`."""
    read = {bundle.graph.name: bundle for bundle in map(read_bundle, bundles)}
    return HEAD + "".join(_row(text, read[name], folder) for name, text in NAMES.items() if name in read)


def _row(text: str, bundle: Bundle, folder: Path) -> str:
    recipe = event_recipe(read_recipe(bundle.json("recipe.json")), "FOLDER")
    shape = bundle.graph.types[bundle.graph.inputs[0]].shape
    samples = recordings(folder, recipe, shape=(recipe.steps, *shape))
    messages = estimate_bundle(bundle, samples)["chip"]["messages"]
    shares = (messages[f"{kind}_share"] for kind in ("binary", "graded", "dense"))
    cells = " | ".join(f"{share:.1%}".replace("%", " %") for share in (*shares, messages["rate"]))
    return f"| {text} | {cells} |\n"


def page(rows: str) -> str:
    """The page with a new table."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + rows + END + rest.split(END)[1]


if __name__ == "__main__":
    given = [Path(name) for name in sys.argv[1:] if name != "-"]
    rows = table(given[0], given[1:])
    if "-" in sys.argv:
        sys.stdout.write(rows)
    else:
        write_text(PAGE, page(rows))
