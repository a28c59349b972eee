"""``spikeloom export``: a compiled network as a file of another framework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spikeloom.atomic import require_writable
from spikeloom.cli.console import counted, print_json, printable
from spikeloom.cli.console import output as console
from spikeloom.cli.sources import Json
from spikeloom.compiler.bundle import read_bundle
from spikeloom.compiler.frontends.nir.export.custom import PREFIX
from spikeloom.compiler.frontends.nir.export.graph import to_nir
from spikeloom.compiler.frontends.nir.export.partition import write_partition
from spikeloom.compiler.frontends.nir.file import NirNode, write_nir
from spikeloom.compiler.graph.graph import Graph
from spikeloom.errors import InputError

FORMATS = ("nir",)
MODES = ("strict", "partition", "custom")


def export(
    bundle: Annotated[Path, typer.Argument(help="A compiled network.")],
    to: Annotated[str, typer.Option("--to", help=f"The format: {', '.join(FORMATS)}.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write; a folder for --mode partition.")
    ],
    mode: Annotated[
        str,
        typer.Option(
            help="What happens to operations that the format lacks. strict: refuse, and list them; "
            "partition: several files, and the glue between them; custom: nodes of types of our own."
        ),
    ] = "strict",
    json: Json = False,
) -> None:
    """Write the integer graph of a compiled network as NIR."""
    _check("--to", to, FORMATS)
    _check("--mode", mode, MODES)
    graph = read_bundle(bundle).graph
    document = _partitioned(graph, output) if mode == "partition" else _whole(graph, output, mode == "custom")
    if json:
        print_json(document)
        return
    parts = document["parts"]
    console.print(printable(f"wrote {output}: {counted(document['nodes'], 'node')} of NIR"), markup=False)
    if document["custom"]:
        console.print(f"{counted(document['custom'], 'node')} of types of our own", markup=False)
    if parts:
        glue = sum(1 for part in parts if not part["nir"])
        console.print(f"{counted(len(parts), 'part')}, {glue} of them glue", markup=False)
    console.print(document["execution"], markup=False)


def _check(option: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InputError.of("SL0901", option, "there is no such choice", wanted=" or ".join(known), got=given)


def _whole(graph: Graph, path: Path, custom: bool) -> dict[str, Any]:
    require_writable(path)
    nir = to_nir(graph, custom)
    write_nir(nir, path)
    types = [node.type for node in nir.nodes.values() if isinstance(node, NirNode)]
    own = sum(name.startswith(PREFIX) for name in types)
    return {"nodes": len(types) - own, "custom": own, "parts": [], "execution": nir.metadata["execution"]}


def _partitioned(graph: Graph, folder: Path) -> dict[str, Any]:
    parts = write_partition(graph, folder)
    sayable = [to_nir(part.graph) for part in parts if part.sayable]
    listed = [{"nir": part.sayable, "nodes": len(part.graph.nodes)} for part in parts]
    execution = sayable[0].metadata["execution"] if sayable else "nothing is NIR"
    return {
        "nodes": sum(len(nir.nodes) for nir in sayable),
        "custom": 0,
        "parts": listed,
        "execution": execution,
    }
