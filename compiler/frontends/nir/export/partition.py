"""A network in parts: those that NIR has nodes for, and the glue between them.

A folder: ``partition.json`` names the parts in the order in which they run, what goes into each and what
comes out; ``0.nir``, ``2.nir`` ... are NIR; ``1/graph.json`` with ``1/weights.safetensors`` ... are graphs of
ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from spikeloom.atomic import replacing
from spikeloom.compiler.frontends.nir.export.graph import from_nir, say, to_nir
from spikeloom.compiler.frontends.nir.export.saying import NotSayableError
from spikeloom.compiler.frontends.nir.file import read_nir, write_nir
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.serialize import from_json, to_json
from spikeloom.errors import InputError

MANIFEST = "partition.json"


@dataclass(frozen=True)
class Part:
    """A part of a network.

    Attributes:
        graph: whose inputs and outputs have the names of the whole network's values.
        sayable: whether NIR has nodes for all of it.
    """

    graph: Graph
    sayable: bool


def partition(graph: Graph) -> tuple[Part, ...]:
    """The parts of a network in the order in which they run; each is as large as the order allows.

    A part is a layer of the graph: NIR and glue take turns, and nothing in a part depends on a later one.
    Neurons with another kind of reset than the network's first are glue, since a file has one execution.
    """
    resets = [node.op.reset for node in graph.nodes if isinstance(node.op, IntegerNeuron | RecurrentNeuron)]
    turn = dict.fromkeys(graph.inputs, 0)
    parts: dict[int, list[Node]] = {}
    for node in graph.nodes:
        foreign = isinstance(node.op, IntegerNeuron | RecurrentNeuron) and node.op.reset != resets[0]
        glue = int(foreign or not _sayable(graph, node))
        last = max((turn[name] for name in node.inputs), default=0)
        mine = last if last % 2 == glue else last + 1
        turn.update(dict.fromkeys(node.outputs, mine))
        parts.setdefault(mine, []).append(node)
    return tuple(Part(_part(graph, nodes), turn % 2 == 0) for turn, nodes in sorted(parts.items()))


def join(
    name: str, profile: str, parts: Sequence[Part], inputs: Sequence[str], outputs: Sequence[str]
) -> Graph:
    """The whole network of its parts; nodes are in the order of the parts."""
    builder = GraphBuilder(name, Stage.INTEGER, profile)
    for value in inputs:
        first = next(part for part in parts if value in part.graph.inputs)
        builder.input(value, first.graph.types[value])
    for part in parts:
        for node in part.graph.nodes:
            builder.add(node.name, node.op, *node.inputs, source=node.source)
        builder.units.update(part.graph.units)
    for value in outputs:
        builder.output(value)
    return builder.build()


def write_partition(graph: Graph, folder: Path) -> tuple[Part, ...]:
    """Write the parts of a network to a folder, whole or not at all.

    Raises:
        InputError: SL0902, the folder holds something, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError.of("SL0902", folder, "is there already", remedy="name a new folder")
    parts = partition(graph)
    with replacing(folder) as draft:
        draft.mkdir()
        for index, part in enumerate(parts):
            _write(part, draft / _file(index, part))
        manifest = {
            "name": graph.name,
            "profile": graph.profile,
            "inputs": list(graph.inputs),
            "outputs": list(graph.outputs),
            "parts": [
                {
                    "file": _file(index, part),
                    "nir": part.sayable,
                    "inputs": list(part.graph.inputs),
                    "outputs": list(part.graph.outputs),
                    "nodes": len(part.graph.nodes),
                }
                for index, part in enumerate(parts)
            ],
        }
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", "utf-8")
    return parts


def read_partition(folder: Path) -> Graph:
    """The network whose parts are in a folder.

    Raises:
        InputError: SL0211, it holds no partition; others as the parts' files say.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        entries = [(str(entry["file"]), bool(entry["nir"])) for entry in manifest["parts"]]
        inside = all(Path(file).name == file for file, _ in entries)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError.of("SL0211", folder, f"holds no partition: {error}") from error
    if not inside:
        raise InputError.of("SL0211", folder, "names a part outside of itself")
    parts = [Part(_read(folder / file, nir), nir) for file, nir in entries]
    return join(manifest["name"], manifest["profile"], parts, manifest["inputs"], manifest["outputs"])


def _sayable(graph: Graph, node: Node) -> bool:
    try:
        say(graph, node)
    except NotSayableError:
        return False
    return True


def _part(graph: Graph, nodes: Sequence[Node]) -> Graph:
    """The nodes as a graph: what they need comes in, what others need goes out."""
    made = {name for node in nodes for name in node.outputs}
    needed = dict.fromkeys(name for node in nodes for name in node.inputs if name not in made)
    within = set(map(id, nodes))
    used = {name for node in graph.nodes if id(node) not in within for name in node.inputs} | set(
        graph.outputs
    )
    builder = GraphBuilder(graph.name, Stage.INTEGER, graph.profile)
    for name in needed:
        builder.input(name, graph.types[name])
    for node in nodes:
        builder.add(node.name, node.op, *node.inputs, source=node.source)
    for name in (name for node in nodes for name in node.outputs if name in used):
        builder.output(name)
    builder.units.update({name: unit for name, unit in graph.units.items() if name in builder.types})
    return builder.build()


def _file(index: int, part: Part) -> str:
    return f"{index}.nir" if part.sayable else str(index)


def _write(part: Part, path: Path) -> None:
    if part.sayable:
        write_nir(to_nir(part.graph), path)
        return
    document, tensors = to_json(part.graph)
    path.mkdir()
    (path / "graph.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
    save_file(
        {name: np.asarray(array, order="C") for name, array in tensors.items()}, path / "weights.safetensors"
    )


def _read(path: Path, nir: bool) -> Graph:
    if nir:
        return from_nir(read_nir(path))
    try:
        document: Mapping[str, Any] = json.loads((path / "graph.json").read_text("utf-8"))
        tensors: dict[str, Array] = load_file(path / "weights.safetensors")
    except (OSError, ValueError) as error:
        raise InputError.of("SL0211", path, f"is no part of a network: {error}") from error
    return from_json(document, tensors)
