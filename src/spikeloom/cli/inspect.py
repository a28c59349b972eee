"""``spikeloom inspect``: what is in a bundle or a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.cli.console import comparisons, counted, print_json, printable, table
from spikeloom.cli.console import output as console
from spikeloom.cli.model import require_torch
from spikeloom.cli.sources import Json
from spikeloom.compiler.bundle import Bundle, read_bundle
from spikeloom.compiler.graph.printer import to_text

CHECKPOINTS = (".pt", ".pth", ".tar", ".ckpt", ".bin", ".safetensors")


def inspect(
    file: Annotated[
        Path, typer.Argument(help="A compiled network, or a checkpoint (.pt, .pth, .tar, .safetensors).")
    ],
    graph: Annotated[bool, typer.Option("--graph", help="Print the integer graph, node by node.")] = False,
    json: Json = False,
) -> None:
    """Show what a file holds: a bundle, checked member by member, or a checkpoint, without running code."""
    if file.suffix in CHECKPOINTS:
        _inspect_checkpoint(file, json)
        return
    compiled = read_bundle(file)
    if json:
        print_json(_document(compiled))
        return
    _print(compiled)
    if graph:
        console.print(f"\n{to_text(compiled.graph)}", markup=False, soft_wrap=True)


def _inspect_checkpoint(path: Path, json: bool) -> None:
    require_torch("reading a checkpoint")
    from spikeloom.compiler.frontends.torch.contents import guess_family, read_contents

    entries = read_contents(path)
    family = guess_family(entries)
    numbers = sum(entry.size for entry in entries)
    if json:
        tensors = [{"name": e.name, "dtype": e.dtype, "shape": list(e.shape)} for e in entries]
        print_json({"family": family or None, "numbers": numbers, "tensors": tensors})
        return
    listed = table(f"{counted(len(entries), 'tensor')}, {numbers:,} numbers", "name", "type", "shape")
    for entry in entries:
        shape = " x ".join(map(str, entry.shape)) or "a number"
        listed.add_row(*map(printable, (entry.name, entry.dtype, shape)))
    console.print(listed)
    console.print(
        f"looks like a {family}" if family else "of no family of models that is known", markup=False
    )


def _document(bundle: Bundle) -> dict[str, Any]:
    graph = bundle.graph
    return {
        **{key: value for key, value in bundle.manifest.items() if key not in ("members", "seal")},
        "members": {name: entry["size"] for name, entry in bundle.manifest["members"].items()},
        "input": str(graph.types[graph.inputs[0]]),
        "output": str(graph.types[graph.outputs[0]]),
        "nodes": len(graph.nodes),
        "neurons": sum(graph.types[node.name].size for node in graph.neurons()),
        "weights": sum(node.op.weight.size for node in graph.nodes if hasattr(node.op, "weight")),
        "recipe": bundle.json("recipe.json"),
        "ledger": bundle.json("ledger.json"),
    }


def _print(bundle: Bundle) -> None:
    document = _document(bundle)
    provenance = document["provenance"]
    console.print(
        printable(f"{document['name']} for {document['target']}, by spikeloom {document['spikeloom']}"),
        style="bold",
        markup=False,
    )
    console.print(
        printable(
            f"model {provenance.get('model', '?')}, checkpoint {provenance.get('checkpoint') or 'none'}"
        ),
        markup=False,
    )
    console.print(f"input {document['input']}, output {document['output']}", markup=False)
    console.print(
        f"{document['nodes']} nodes, {document['neurons']:,} neurons, {document['weights']:,} weights "
        f"of {document['options']['bits']} bits"
    )
    members = table("\nMembers", "name", "bytes")
    for name, size in document["members"].items():
        members.add_row(name, f"{size:,}")
    console.print(members)
    console.print(comparisons("\nCompared while it was compiled", document["ledger"]))
