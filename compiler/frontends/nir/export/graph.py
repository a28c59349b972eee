"""An integer graph as a NIR graph, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from spikeloom.compiler.frontends.nir.export.custom import PREFIX, restore_custom, say_custom
from spikeloom.compiler.frontends.nir.export.rules import SAYINGS
from spikeloom.compiler.frontends.nir.export.saying import NotSayableError, Said, parameter
from spikeloom.compiler.frontends.nir.file import NirGraph, NirNode
from spikeloom.compiler.frontends.nir.semantics import Semantics
from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Node, Stage, Unit
from spikeloom.compiler.graph.kinds import Kind, Type
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.recurrent_neuron import RecurrentNeuron
from spikeloom.compiler.graph.source import Source
from spikeloom.compiler.graph.verify import verify
from spikeloom.errors import InputError, InternalError, Problem, UnsupportedError

OURS = "spikeloom"
"""The key of metadata that hold what NIR does not say."""
NIR_VERSION = "1.0.8"


def execution(graph: Graph) -> Semantics:
    """How an exported graph is to be executed: one step a second, explicit Euler."""
    soft = "soft" in _resets(graph)
    return Semantics(OURS, dt=1.0, reset="soft" if soft else "hard", fresh=True, strict=not soft)


def _resets(graph: Graph) -> set[str]:
    return {node.op.reset for node in graph.nodes if isinstance(node.op, IntegerNeuron | RecurrentNeuron)}


def obstacles(graph: Graph) -> list[Problem]:
    """Everything that NIR has no nodes for: SL0212, one problem for each operation."""
    problems = []
    for node in graph.nodes:
        try:
            say(graph, node)
        except NotSayableError as error:
            remedy = "export with --mode partition or --mode custom"
            problems.append(Problem("SL0212", f"{node.name} at {node.source}", str(error), remedy=remedy))
    if len(_resets(graph)) > 1:
        problems.append(Problem("SL0212", graph.name, "has neurons with soft and with hard resets"))
    return problems


def say(graph: Graph, node: Node) -> Said:
    """One operation in nodes of NIR.

    Raises:
        NotSayableError: it has none.
    """
    if node.op.name not in SAYINGS or len(node.outputs) != 1:
        raise NotSayableError(f"NIR has no {node.op.name}")
    if node.op.name == "add" and node.inputs[0] == node.inputs[1]:
        raise NotSayableError("a value added to itself")
    return SAYINGS[node.op.name].say(node.op, graph.input_types(node))


def to_nir(graph: Graph, custom: bool = False) -> NirGraph:
    """An integer graph as NIR, to be executed as :func:`execution` says.

    Args:
        graph: at stage INTEGER.
        custom: whether what NIR lacks becomes nodes of our own types (:mod:`.custom`).

    Raises:
        UnsupportedError: SL0212, everything that NIR lacks, unless ``custom``.
    """
    if not custom and (problems := obstacles(graph)):
        raise UnsupportedError(problems)
    nodes: dict[str, NirNode] = {}
    edges: list[tuple[str, str]] = []
    for name in graph.inputs:
        shape = np.array(graph.types[name].shape)
        nodes[_escaped(name)] = NirNode("Input", {"shape": shape}, _kept({"input": True}))
    for node in graph.nodes:
        try:
            said = say(graph, node)
        except NotSayableError:
            own, details = say_custom(node.op)
            said = Said({"": own}, details=details)
        origins = [_source(graph, value) for value in node.inputs]
        _write(node, said, origins, nodes, edges)
    taken = {*graph.types, *(node.name for node in graph.nodes)}
    for index, name in enumerate(graph.outputs):
        label = "output" if index == 0 else f"output.{index}"
        while label in taken:
            label += "_"
        nodes[label] = NirNode("Output", {"shape": np.array(graph.types[name].shape)}, _kept({"of": name}))
        edges.append((_source(graph, name), label))
    return NirGraph(nodes, tuple(edges), _about(graph), NIR_VERSION)


def _write(
    node: Node,
    said: Said,
    origins: list[str],
    nodes: dict[str, NirNode],
    edges: list[tuple[str, str]],
) -> None:
    name = _escaped(node.name)
    told = {
        "op": node.op.name,
        "inputs": list(node.inputs),
        "parts": [suffix for suffix in said.nodes if suffix],
        "details": said.details,
        "source": [node.source.module, node.source.file, node.source.line],
    }
    for suffix, part in said.nodes.items():
        metadata = _kept(told) if not suffix else _kept({"part_of": node.name})
        nodes[name + suffix] = replace(part, metadata=metadata)
    edges += [(name + a, name + b) for a, b in said.edges]
    edges += [(origin, name + entry) for entry in said.entries for origin in dict.fromkeys(origins)]


def _source(graph: Graph, value: str) -> str:
    """The name of the node that gives a value."""
    return _escaped(graph.producers[value].name if value in graph.producers else value)


def _about(graph: Graph) -> dict[str, Any]:
    rule = execution(graph)
    told = {
        "name": graph.name,
        "profile": graph.profile,
        "inputs": {name: _kind(graph.types[name]) for name in graph.inputs},
        "outputs": list(graph.outputs),
        "nodes": [node.name for node in graph.nodes],
        "units": list(graph.units),
    }
    units = {
        f"{index}.{part}": getattr(unit, part)
        for index, unit in enumerate(graph.units.values())
        for part in ("scale", "offset")
    }
    fires = "v > threshold" if rule.strict else "v >= threshold"
    resets = "subtracts the threshold" if rule.reset == "soft" else "resets to 0"
    said = f"dt = 1 s, explicit Euler, fires at {fires}, a spike {resets}, currents act at once"
    return {"execution": said, OURS: json.dumps(told), **({"units": units} if units else {})}


def _kind(type_: Type) -> list[Any]:
    return [type_.kind.name, type_.kind.lo, type_.kind.hi]


def _kept(told: Mapping[str, Any]) -> dict[str, Any]:
    return {OURS: json.dumps(told)}


def _escaped(name: str) -> str:
    """A name that HDF5 does not take for a path."""
    return name.replace("%", "%25").replace("/", "%2F")


def from_nir(nir: NirGraph) -> Graph:
    """The integer graph that :func:`to_nir` has written.

    Raises:
        InputError: SL0211, the graph is none of ours, or was changed into something that is no network.
    """
    try:
        graph = _build(nir, json.loads(str(nir.metadata[OURS])))
        verify(graph)
    except (
        KeyError,
        IndexError,
        AttributeError,
        TypeError,
        ValueError,
        OverflowError,
        InternalError,
    ) as error:
        raise InputError.of("SL0211", "nir", f"is no integer network of Spikeloom: {error}") from error
    return graph


def _build(nir: NirGraph, about: Mapping[str, Any]) -> Graph:
    builder = GraphBuilder(about["name"], Stage.INTEGER, about["profile"])
    for name, kind in about["inputs"].items():
        shape = tuple(parameter(_node(nir, _escaped(name)), "shape").astype(int).tolist())
        builder.input(name, Type(shape, Kind(*kind)))
    for name in about["nodes"]:
        node = _node(nir, _escaped(name))
        told = json.loads(node.metadata[OURS])
        parts = {part: _node(nir, _escaped(name) + part) for part in ("", *told["parts"])}
        if node.type.startswith(PREFIX):
            op = restore_custom(node, told["details"])
        else:
            op = SAYINGS[told["op"]].restore(parts, told["details"])
        builder.add(name, op, *told["inputs"], source=Source(*told["source"]))
    for name in about["outputs"]:
        builder.output(name)
    for index, name in enumerate(about["units"]):
        scale, offset = (np.asarray(nir.metadata["units"][f"{index}.{part}"]) for part in ("scale", "offset"))
        builder.units[name] = Unit(scale, offset)
    return builder.build()


def _node(nir: NirGraph, name: str) -> NirNode:
    node = nir.nodes[name]
    if not isinstance(node, NirNode):
        raise TypeError(f"{name} is a graph")
    return node
