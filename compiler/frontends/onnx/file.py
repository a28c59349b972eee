"""ONNX files: read into plain records, with everything that does not depend on the input worked out.

Nothing outside the file is opened: tensors in other files are refused. Shapes and constants are found by
running the file once, on zeros, in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError, Problem, UnsupportedError

LARGEST = 2**31 - 1
"""Bytes of a file: as much as its format can hold."""
BATCH = 3
"""Samples that a symbolic first axis is given."""
SHAPES = ("Shape", "Size")


@dataclass(frozen=True)
class OnnxNode:
    """One node.

    Attributes:
        name: as in the file, or else that of its first output.
        op: such as «Conv».
        inputs: names of values; "" for one that is left out.
        outputs: names of values.
        attributes: in Python's own types; tensors as arrays.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def used(self) -> tuple[str, ...]:
        """The inputs that are not left out."""
        return tuple(name for name in self.inputs if name)


@dataclass(frozen=True)
class OnnxNetwork:
    """A file.

    Attributes:
        nodes: those that depend on an input, in an order in which each value is made before it is used.
        inputs: names of values.
        outputs: names of values.
        constants: values that depend on no input.
        shapes: of every value, with its batch.
        opset: version of the operators.
    """

    nodes: tuple[OnnxNode, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]
    opset: int

    @property
    def producers(self) -> dict[str, OnnxNode]:
        """The node that makes each value."""
        return {name: node for node in self.nodes for name in node.outputs}


def read_onnx(path: Path) -> OnnxNetwork:
    """Read a file. A first axis that has no size is a batch.

    Raises:
        InputError: SL0213, the file is missing, damaged or leads outside.
        UnsupportedError: SL0302, it cannot be run, or an axis has no size.
    """
    import onnx
    import onnx.inliner

    if not path.is_file():
        raise InputError.of("SL0213", path, "there is no such file")
    if path.stat().st_size > LARGEST:
        raise InputError.of(
            "SL0213", path, "is too large", wanted=f"{LARGEST} bytes", got=path.stat().st_size
        )
    try:
        model = onnx.load_model(path, load_external_data=False)
        foreign = [tensor.name for tensor in _tensors(model) if tensor.external_data]
        if not foreign:
            onnx.checker.check_model(model)
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # protobuf and onnx raise many kinds of exception on damaged files
        raise InputError.of("SL0213", path, f"is no ONNX file: {type(error).__name__}: {error}") from error
    if foreign:
        what = "keeps its data in other files"
        raise InputError(Problem("SL0213", f"{path}: {name}", what) for name in foreign)
    _fix_sizes(model, str(path))
    return _network(model, str(path))


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor of a model: initializers, and those in attributes, graphs and functions."""
    from onnx import TensorProto

    if isinstance(message, TensorProto):
        yield message
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for part in value if isinstance(value, Sequence) else [value]:
                yield from _tensors(part)


def _fix_sizes(model: Any, where: str) -> None:
    """Give every axis of every input a size."""
    given = {tensor.name for tensor in model.graph.initializer}
    problems = []
    for entry in model.graph.input:
        if entry.name in given:
            continue
        for index, axis in enumerate(entry.type.tensor_type.shape.dim):
            if not axis.dim_value and index == 0:
                axis.dim_value = BATCH
            elif not axis.dim_value:
                at = f"{where}: {entry.name}"
                what = f"axis {index} has no size"
                problems.append(Problem("SL0302", at, what, remedy="export it with sizes"))
    if problems:
        raise UnsupportedError(problems)


def _network(model: Any, where: str) -> OnnxNetwork:
    from onnx import helper, numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inputs = tuple(entry.name for entry in model.graph.input if entry.name not in constants)
    nodes = tuple(
        OnnxNode(
            node.name or node.output[0],
            node.op_type,
            tuple(node.input),
            tuple(node.output),
            {
                attribute.name: _attribute(helper.get_attribute_value(attribute))
                for attribute in node.attribute
            },
        )
        for node in model.graph.node
    )
    values = _run(model, inputs, nodes, where)
    dependent = set(inputs)
    for node in nodes:
        if node.op not in SHAPES and dependent.intersection(node.inputs):
            dependent.update(node.outputs)
    constants |= {name: value for name, value in values.items() if name not in dependent}
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    return OnnxNetwork(
        tuple(node for node in nodes if dependent.intersection(node.outputs)),
        inputs,
        tuple(entry.name for entry in model.graph.output),
        constants,
        {name: tuple(value.shape) for name, value in (constants | values).items()},
        opset,
    )


def _attribute(value: Any) -> Any:
    from onnx import TensorProto, numpy_helper

    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return value.decode() if isinstance(value, bytes) else value


def _run(model: Any, inputs: tuple[str, ...], nodes: tuple[OnnxNode, ...], where: str) -> dict[str, Array]:
    """Every value of a model for inputs of zeros."""
    import onnx
    import onnxruntime

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    told = {entry.name for entry in whole.graph.output}
    made = list(dict.fromkeys(name for node in nodes for name in node.outputs if name))
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made if name not in told)
    types = {entry.name: entry.type.tensor_type for entry in model.graph.input}
    zeros = {
        name: np.zeros(
            [axis.dim_value for axis in types[name].shape.dim],
            onnx.helper.tensor_dtype_to_np_dtype(types[name].elem_type),
        )
        for name in inputs
    }
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            whole.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(made, zeros)
    except Exception as error:  # whatever ONNX Runtime refuses
        raise UnsupportedError.of("SL0302", where, f"ONNX Runtime cannot run it: {error}") from error
    return zeros | {name: np.asarray(value) for name, value in zip(made, found, strict=True)}
