"""NIR files: read into plain records and written again, without loss.

A file is HDF5: ``/version`` and ``/node``, a group with a ``type``, parameters and, for a graph, ``nodes``
and ``edges`` (nir 1.0.8, ``nir/serialization.py``). Nothing outside the file is ever opened: soft and
external links, external storage and virtual data sets are refused.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.atomic import write_bytes
from spikeloom.compiler.frontends.hdf5 import unsafe
from spikeloom.errors import InputError, Problem

Value = str | NDArray[Any] | np.generic


@dataclass(frozen=True)
class NirNode:
    """One node as it is stored.

    Attributes:
        type: such as «LIF».
        parameters: arrays, numbers and texts by name, in their stored type.
        metadata: likewise; may be nested.
    """

    type: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NirGraph:
    """A graph of nodes; edges into one node add up.

    Attributes:
        nodes: by name; a node may be a graph.
        edges: pairs of names, with repetitions.
        metadata: of the graph.
        version: of NIR that wrote the file.
    """

    nodes: Mapping[str, NirNode | NirGraph]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


def read_nir(path: Path) -> NirGraph:
    """Read a file.

    Raises:
        InputError: SL0211, the file is missing, damaged, no NIR graph, too large, or leads outside.
    """
    import h5py

    if not path.is_file():
        raise InputError.of("SL0211", path, "there is no such file")
    try:
        with h5py.File(path, "r") as file:
            if problems := unsafe(file, str(path), "SL0211"):
                raise InputError(problems)
            version = file["version"][()] if "version" in file else b""
            graph = _read(file["node"], _text(version))
    except InputError:
        raise
    except Exception as error:  # h5py raises a dozen kinds of exception on damaged files
        raise InputError.of("SL0211", path, f"is no NIR file: {type(error).__name__}: {error}") from error
    if not isinstance(graph, NirGraph):
        raise InputError.of("SL0211", path, "holds one node and no graph", got=graph.type)
    if problems := _dangling(graph, str(path)):
        raise InputError(problems)
    return graph


def write_nir(graph: NirGraph, path: Path) -> None:
    """Write a file, whole or not at all."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("version", data=graph.version, dtype=h5py.string_dtype())
        _write(file.create_group("node"), graph)
    write_bytes(path, buffer.getvalue())


def _dangling(graph: NirGraph, where: str) -> list[Problem]:
    """Edges of nodes that are not there; ``node.port`` names a port of a node."""
    known = set(graph.nodes)
    return [
        Problem("SL0211", where, f"an edge names a node that is not there: {name}")
        for edge in graph.edges
        for name in edge
        if name not in known and name.split(".")[0] not in known
    ]


def _read(group: Any, version: str = "") -> NirNode | NirGraph:
    kind = _text(group["type"][()])
    metadata = _tree(group["metadata"]) if "metadata" in group else {}
    if kind == "NIRGraph":
        nodes = {name: _read(child) for name, child in group["nodes"].items()}
        edges = tuple((_text(a), _text(b)) for a, b in group["edges"][()].reshape(-1, 2))
        return NirGraph(nodes, edges, metadata, version)
    skipped = ("type", "metadata")
    return NirNode(kind, {name: _value(group[name]) for name in group if name not in skipped}, metadata)


def _tree(group: Any) -> dict[str, Any]:
    import h5py

    return {
        name: _tree(item) if isinstance(item, h5py.Group) else _value(item) for name, item in group.items()
    }


def _value(item: Any) -> Value:
    value = item[()]
    return _text(value) if isinstance(value, (bytes, str)) else value


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _write(group: Any, node: NirNode | NirGraph) -> None:
    import h5py

    if node.metadata:
        _write_tree(group.create_group("metadata"), node.metadata)
    if isinstance(node, NirNode):
        _write_tree(group, {"type": node.type, **node.parameters})
        return
    _write_tree(group, {"type": "NIRGraph"})
    nodes = group.create_group("nodes")
    for name, child in node.nodes.items():
        _write(nodes.create_group(name), child)
    edges = np.array(node.edges, dtype=object).reshape(-1, 2)
    group.create_dataset("edges", data=edges, dtype=h5py.string_dtype())


def _write_tree(group: Any, values: Mapping[str, Any]) -> None:
    import h5py

    for name, value in values.items():
        if isinstance(value, Mapping):
            _write_tree(group.create_group(name), value)
        elif isinstance(value, str):
            group.create_dataset(name, data=value, dtype=h5py.string_dtype())
        else:
            array = np.asarray(value)
            packed = {"compression": "gzip"} if array.ndim else {}
            group.create_dataset(name, data=array, **packed)
