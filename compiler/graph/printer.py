"""Graphs as text that a person reads."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from spikeloom.compiler.graph.graph import Graph, Node
from spikeloom.compiler.graph.op import StatefulOp


def to_text(graph: Graph) -> str:
    """One line a node: outputs, operation, parameters, inputs, types; states on lines of their own.

    >>> from spikeloom.compiler.graph.graph import GraphBuilder, Stage
    >>> from spikeloom.compiler.graph.kinds import SPIKES, Type
    >>> from spikeloom.compiler.graph.ops.add import Add
    >>> builder = GraphBuilder("double", Stage.INTEGER)
    >>> x = builder.input("x", Type((3,), SPIKES))
    >>> builder.output(builder.add("sum", Add(), x, x)[0])
    >>> print(to_text(builder.build()))
    graph double (integer)
      input  x : spikes[3]
      sum = add(x, x) : sum(0,2)[3]
      output sum
    """
    profile = f", profile {graph.profile}" if graph.profile else ""
    lines = [f"graph {graph.name} ({graph.stage.value}{profile})"]
    lines += [f"  input  {name} : {graph.types[name]}" for name in graph.inputs]
    for node in graph.nodes:
        lines += _node_lines(graph, node)
    return "\n".join([*lines, *(f"  output {name}" for name in graph.outputs)])


def _node_lines(graph: Graph, node: Node) -> list[str]:
    parameters = ", ".join(
        f"{field.name}={text}"
        for field in fields(node.op)
        if (text := _show(getattr(node.op, field.name))) != "None"
    )
    types = ", ".join(str(graph.types[name]) for name in node.outputs)
    call = f"{node.op.name}({', '.join(node.inputs)})" + (f" {{{parameters}}}" if parameters else "")
    lines = [f"  {', '.join(node.outputs)} = {call} : {types}"]
    if isinstance(node.op, StatefulOp):
        states = node.op.states(*graph.input_types(node))
        lines += [f"    state {name} : {kind}" for name, kind in states.items()]
    return lines


def _show(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return str(value)
    shape = ",".join(map(str, value.shape))
    span = f" {value.min():.4g}..{value.max():.4g}" if value.size else ""
    return f"{value.dtype}[{shape}]{span}"
