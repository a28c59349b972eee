"""A bundle as NIR: one file, or a folder of files with the glue between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spikeloom.atomic import require_writable
from spikeloom.cli.console import counted
from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.frontends.nir.export.custom import PREFIX
from spikeloom.compiler.frontends.nir.export.graph import to_nir
from spikeloom.compiler.frontends.nir.export.partition import write_partition
from spikeloom.compiler.frontends.nir.file import NirNode, write_nir
from spikeloom.compiler.graph.graph import Graph

MODES = ("strict", "partition", "custom")


def write_as_nir(bundle: Bundle, output: Path, mode: str) -> tuple[dict[str, Any], list[str]]:
    """Write the integer graph in one of `MODES`.

    Returns:
        How many nodes are NIR's, how many of types of our own, the parts, and how the file is to be executed;
        and the same in sentences.

    Raises:
        InputError: SL0212, NIR lacks an operation and the mode is strict; SL0902, the output exists.
    """
    graph = bundle.graph
    document = _partitioned(graph, output) if mode == "partition" else _whole(graph, output, mode == "custom")
    told = [f"wrote {output}: {counted(document['nodes'], 'node')} of NIR"]
    if document["custom"]:
        told.append(f"{counted(document['custom'], 'node')} of types of our own")
    if parts := document["parts"]:
        glue = sum(1 for part in parts if not part["nir"])
        told.append(f"{counted(len(parts), 'part')}, {glue} of them glue")
    return document, [*told, document["execution"]]


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
