"""Some nodes of a file, executed in float64 by ONNX's own reference implementation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spikeloom.compiler.frontends.onnx.file import OnnxNode
from spikeloom.compiler.graph.op import Array


def evaluate(
    nodes: Sequence[OnnxNode],
    constants: Mapping[str, Array],
    opset: int,
    feeds: Mapping[str, Array],
    outputs: Sequence[str],
) -> list[Array]:
    """The values of ``outputs``; constants in float32 and casts to it become float64.

    Args:
        nodes: in order.
        constants: of the file.
        opset: version of the operators.
        feeds: values that no node makes.
        outputs: names of values.
    """
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    made = {name for node in nodes for name in node.outputs}
    needed = dict.fromkeys(name for node in nodes for name in node.used if name not in made)
    fixed = [name for name in needed if name in constants and name not in feeds]
    protos = []
    for node in nodes:
        attributes = dict(node.attributes)
        if node.op == "Cast" and attributes["to"] == TensorProto.FLOAT:
            attributes["to"] = TensorProto.DOUBLE
        protos.append(helper.make_node(node.op, node.inputs, node.outputs, node.name, **attributes))
    graph = helper.make_graph(
        protos,
        "part",
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in feeds],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in outputs],
        [numpy_helper.from_array(_double(constants[name]), name) for name in fixed],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    given = {name: np.asarray(value, np.float64) for name, value in feeds.items()}
    found = ReferenceEvaluator(model).run(list(outputs), given)
    return [np.asarray(value) for value in found]


def _double(array: Array) -> Array:
    return np.asarray(array, np.float64) if array.dtype.kind == "f" else array
