"""The networks as plain float32 ONNX graphs: what an export of the trained model would be.

What has no state runs on all steps at once, neurons are written out step after step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.benchmarks.floats import KEEP, following_bias, threshold
from spikeloom.benchmarks.networks import BenchNetwork
from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.matmul import MatMul
from spikeloom.compiler.graph.ops.max_pool2d import MaxPool2d
from spikeloom.compiler.graph.ops.reduce_sum import ReduceSum
from spikeloom.compiler.graph.ops.reshape import Reshape
from spikeloom.compiler.graph.ops.transpose import Transpose


def float_session(network: BenchNetwork, threads: int = 1) -> Callable[[NDArray[np.uint8]], object]:
    """ONNX Runtime on the float32 graph: frames [steps, 1, ...] to outputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        _Export(network).model(), options, providers=["CPUExecutionProvider"]
    )
    name = network.graph.inputs[0]
    return lambda frames: session.run(None, {name: frames[:, 0].astype(np.float32)})[0]


class _Export:
    def __init__(self, network: BenchNetwork) -> None:
        self.graph, self.steps = network.graph, len(network.frames)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def model(self) -> bytes:
        """The graph for batch 1 and its own number of steps."""
        from onnx import TensorProto, helper

        for node in self.graph.nodes:
            self._write(node)
        ends = [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, [self.steps, *self.graph.types[name].shape]
            )
            for name in (self.graph.inputs[0], self.graph.outputs[0])
        ]
        graph = helper.make_graph(self.nodes, "float", ends[:1], ends[1:], initializer=self.constants)
        opsets = [helper.make_opsetid("", 21)]
        written: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
        return written

    def _write(self, node: Node) -> None:
        if isinstance(node.op, IntegerNeuron):
            self._neuron(node, node.op)
            return
        bias = following_bias(self.graph, node)
        takes_bias = isinstance(node.op, Convolution)
        output = node.output if bias is None or takes_bias else f"{node.output}/plain"
        self._plain(node, output, bias)
        if output != node.output and bias is not None:
            self._add("Add", [output, self._constant(bias)], node.output)

    def _plain(self, node: Node, output: str, bias: Array | None) -> None:
        op, inputs = node.op, list(node.inputs)
        if isinstance(op, Convolution):
            extra = [] if bias is None else [self._constant(bias.reshape(-1))]
            weight = self._constant(op.weight.astype(np.float32))
            pads = [*op.padding, *op.padding]
            self._add(
                "Conv", [*inputs, weight, *extra], output, strides=op.stride, pads=pads, group=op.groups
            )
        elif isinstance(op, Linear):
            self._add("MatMul", [*inputs, self._constant(op.weight.T.astype(np.float32))], output)
        elif isinstance(op, MaxPool2d):
            pads = [*op.padding, *op.padding]
            self._add("MaxPool", inputs, output, kernel_shape=op.kernel, strides=op.stride, pads=pads)
        elif isinstance(op, MatMul | Add):
            self._add({"matmul": "MatMul", "add": "Add"}[op.name], inputs, output)
        elif isinstance(op, Reshape):
            self._add("Reshape", [*inputs, self._constant(np.array([self.steps, *op.shape]))], output)
        elif isinstance(op, Transpose):
            self._add("Transpose", inputs, output, perm=[0, *(axis + 1 for axis in op.order)])
        elif isinstance(op, ReduceSum):
            axes = self._constant(np.array([axis + 1 for axis in op.axes]))
            self._add("ReduceSum", [*inputs, axes], output, keepdims=0)
        else:
            raise TypeError(f"no peer knows {op}")

    def _neuron(self, node: Node, op: IntegerNeuron) -> None:
        """Every step in turn: v = keep v + x; fires at the threshold; what fired is cleared."""
        at, (x,) = node.output, node.inputs
        level, keep, zero = (self._constant(np.array(n, np.float32)) for n in (threshold(op), KEEP, 0))
        parts = [f"{at}/x{step}" for step in range(self.steps)]
        if self.steps > 1:
            self._add("Split", [x], parts, axis=0, num_outputs=self.steps)
        else:
            parts = [x]
        spikes, rest = [], ""
        for step, part in enumerate(parts):
            here = f"{at}/{step}"
            v = part
            if rest:
                self._add("Mul", [rest, keep], f"{here}/left")
                v = f"{here}/v"
                self._add("Add", [f"{here}/left", part], v)
            self._add("GreaterOrEqual", [v, level], f"{here}/fires")
            self._add("Cast", [f"{here}/fires"], f"{here}/s", to=1)
            rest = f"{here}/rest"
            if step < self.steps - 1:
                self._add("Where", [f"{here}/fires", zero, v], rest)
            spikes.append(f"{here}/s")
        self._add("Concat", spikes, at, axis=0)

    def _add(self, kind: str, inputs: list[str], output: str | list[str], **attributes: Any) -> None:
        from onnx import helper

        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))

    def _constant(self, value: Array) -> str:
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return name
