"""Graphs as JSON and tensors: the form in which a bundle keeps them.

Numbers and structure go to a JSON object, arrays to a dictionary of tensors under the name
``node/field``. Types are written too, so that the text can be read alone; on reading they are
inferred again and must agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage, Unit
from spikeloom.compiler.graph.kinds import Kind, Type
from spikeloom.compiler.graph.op import Array, Op, all_ops
from spikeloom.compiler.graph.source import Source
from spikeloom.compiler.graph.verify import verify
from spikeloom.errors import InputError, InternalError

Tensors = dict[str, Array]


def to_json(graph: Graph) -> tuple[dict[str, Any], Tensors]:
    """The graph as a JSON object and its arrays."""
    tensors: Tensors = {}
    nodes = [_node_to_json(node, tensors) for node in graph.nodes]
    for name, unit in graph.units.items():
        tensors[f"unit/{name}/scale"] = unit.scale
        tensors[f"unit/{name}/offset"] = unit.offset
    return {
        "name": graph.name,
        "stage": graph.stage.value,
        "profile": graph.profile,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "types": {name: _type_to_json(kind) for name, kind in graph.types.items()},
        "units": list(graph.units),
        "nodes": nodes,
    }, tensors


def from_json(document: Mapping[str, Any], tensors: Mapping[str, Array]) -> Graph:
    """The graph again, verified.

    Raises:
        InputError: SL0703, the document is not a graph of this version.
    """
    try:
        graph = _build(document, tensors)
        verify(graph)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, InternalError) as error:
        raise InputError.of("SL0703", "graph.json", f"does not describe a graph: {error}") from error
    return graph


def _build(document: Mapping[str, Any], tensors: Mapping[str, Array]) -> Graph:
    builder = GraphBuilder(document["name"], Stage(document["stage"]), document["profile"])
    declared = {name: _type_from_json(kind) for name, kind in document["types"].items()}
    for name in document["inputs"]:
        builder.input(name, declared[name])
    for entry in document["nodes"]:
        op = _op_from_json(entry, tensors)
        builder.add(entry["name"], op, *entry["inputs"], source=Source(**entry["source"]))
    for name in document["outputs"]:
        builder.output(name)
    if builder.types != declared:
        raise ValueError("the types that it declares are not those of its operations")
    for name in document["units"]:
        builder.units[name] = Unit(tensors[f"unit/{name}/scale"], tensors[f"unit/{name}/offset"])
    return builder.build()


def _node_to_json(node: Node, tensors: Tensors) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for field in fields(node.op):
        value = getattr(node.op, field.name)
        if isinstance(value, np.ndarray):
            tensors[f"{node.name}/{field.name}"] = value
            value = {"tensor": f"{node.name}/{field.name}"}
        parameters[field.name] = list(value) if isinstance(value, tuple) else value
    return {
        "name": node.name,
        "op": node.op.name,
        "inputs": list(node.inputs),
        "outputs": list(node.outputs),
        "parameters": parameters,
        "source": {"module": node.source.module, "file": node.source.file, "line": node.source.line},
    }


def _op_from_json(entry: Mapping[str, Any], tensors: Mapping[str, Array]) -> Op:
    parameters = {}
    for name, value in entry["parameters"].items():
        if isinstance(value, dict):
            value = tensors[value["tensor"]]
        parameters[name] = tuple(value) if isinstance(value, list) else value
    return all_ops()[entry["op"]](**parameters)


def _type_to_json(kind: Type) -> dict[str, Any]:
    return {"shape": list(kind.shape), "kind": kind.kind.name, "lo": kind.kind.lo, "hi": kind.kind.hi}


def _type_from_json(entry: Mapping[str, Any]) -> Type:
    return Type(tuple(entry["shape"]), Kind(entry["kind"], entry["lo"], entry["hi"]))
