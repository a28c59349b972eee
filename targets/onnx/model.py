"""A network as an ONNX model.

``step.onnx`` advances one time step, ``sequence.onnx`` any number of them. Their ends:

======================== ======== ======================= =========================================
name                     type     shape                   what it is
======================== ======== ======================= =========================================
the graph's input        uint8    [(steps,) batch, ...]   frames; uint16 or uint32 if tokens need it
``node/v`` (``node/u``)  int32    [batch, ...]            state before; zeros after a reset
the graph's output       int32    [(steps,) batch, ...]   evidence; uint8 if it is a neuron layer's
each neuron layer's      uint8    [(steps,) batch, ...]   its spikes, 0 and 1 or graded
``node/v'``              int32    [batch, ...]            state after: feed it back
======================== ======== ======================= =========================================

Frames, evidence and spikes have the axes of the graph. A state is kept as it lies in memory while
it is used: the metadata ``spikeloom.state_axes`` (JSON) gives for each state which axis of the
graph each of its axes is. Further metadata: ``spikeloom.graph``, ``spikeloom.profile``,
``spikeloom.form``.
"""

from __future__ import annotations

import json

import onnx
from onnx import helper

from spikeloom.compiler.graph.graph import Graph
from spikeloom.targets.onnx.emitters import all_emitters
from spikeloom.targets.onnx.writer import OPSET, OWN_DOMAIN, Tensor, Writer

_IR_VERSION = 10  # the one of opset 21


def build_model(graph: Graph, writer_class: type[Writer]) -> onnx.ModelProto:
    """The model of an integer graph, in the form that the writer writes.

    The graph must have no obstacle (:meth:`spikeloom.targets.onnx.target.OnnxTarget.obstacles`).
    """
    writer = writer_class(_reserved(graph))
    tensors = _emit(graph, writer)
    layers = [node.output for node in graph.neurons()]
    for name in graph.outputs:
        if name not in layers:
            writer.close(name, tensors[name], "int32")
    for name in layers:
        writer.close(name, tensors[name], "uint8" if graph.types[name].kind.bounds[0] >= 0 else "int8")
    return _model(graph, writer)


def _reserved(graph: Graph) -> set[str]:
    """Names that values of the graph and states have at the ends of the model."""
    states = {
        f"{node.name}/{state}{prime}"
        for node, op in graph.stateful()
        for state in op.states(*graph.input_types(node))
        for prime in ("", "'")
    }
    return states.union(graph.types)


def _emit(graph: Graph, writer: Writer) -> dict[str, Tensor]:
    emitters = all_emitters()
    tensors = {name: writer.open(name, graph.types[name]) for name in graph.inputs}
    for node in graph.nodes:
        writer.at = node.name
        arguments = tuple(tensors[name] for name in node.inputs)
        types = tuple(graph.types[name] for name in node.outputs)
        results = emitters[node.op.name](writer, node.op, arguments, types)
        tensors.update(zip(node.outputs, results, strict=True))
    return tensors


def _model(graph: Graph, writer: Writer) -> onnx.ModelProto:
    domains = [helper.make_opsetid("", OPSET)]
    if writer.functions:
        domains.append(helper.make_opsetid(OWN_DOMAIN, 1))
    model = helper.make_model(
        writer.graph(graph.name),
        opset_imports=domains,
        functions=list(writer.functions.values()),
        ir_version=_IR_VERSION,
        producer_name="spikeloom",
    )
    metadata = {
        "spikeloom.form": writer.form,
        "spikeloom.graph": graph.name,
        "spikeloom.profile": graph.profile,
        "spikeloom.state_axes": json.dumps(writer.state_orders, sort_keys=True),
    }
    helper.set_model_props(model, metadata)
    return model
