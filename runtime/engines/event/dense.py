"""Dense products with stored weights, on ONNX Runtime: its 8-bit product is near the processor's peak.

The choice of arithmetic is that of the ONNX target: unsigned bytes times signed bytes where the inputs fit
and no pair of products can saturate 16 bits, else float32 below 2^24, else float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spikeloom.compiler.graph.kinds import Kind
from spikeloom.compiler.graph.op import Array

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_EXACT_FLOAT32 = 2**24
_PAIR = 2**15


@dataclass
class Product:
    """y = (x + shift) @ weight - shift @ weight + bias, exactly.

    Attributes:
        dtype: in which the rows of x are given.
        shift: what is added to x so that it fits; rows are padded with it.
        zero: what stands for 0 among the given rows: the shift in bytes, else 0.
    """

    dtype: type[np.generic]
    shift: int
    session: InferenceSession

    @property
    def zero(self) -> int:
        """What stands for 0 among the rows."""
        return self.shift

    @staticmethod
    def of(weight: Array, bias: Array | None, kind: Kind, padded: bool = False) -> Product:
        """The fastest exact product of inputs of a kind with weights [inputs, outputs]."""
        low, high = kind.bounds
        low, high = (min(low, 0), max(high, 0)) if padded or low < 0 else (0, high)
        fan_in = int(np.abs(weight.astype(np.int64)).sum(0).max(initial=0))
        least, most = int(weight.min(initial=0)), int(weight.max(initial=0))
        bytes_fit = high - low <= 255 and least >= -128 and most <= 127
        reach = max(2 * (high - low) * most, -2 * (high - low) * least)
        if bytes_fit and reach < _PAIR and fan_in * 255 < 2**31:
            return Product(np.uint8, -low, _session(weight, bias, np.uint8, -low))
        magnitude = max(-low, high)
        exact = max(fan_in * magnitude, magnitude) <= _EXACT_FLOAT32
        wide = np.float32 if exact else np.float64
        return Product(np.int32, 0, _session(weight, bias, wide, 0))

    def bind(self, x: Array, y: Array) -> Callable[[], object]:
        """A call that multiplies the rows in x [rows, inputs] into y, int32 [rows, outputs]."""
        from onnxruntime import OrtValue

        binding = self.session.io_binding()
        binding.bind_ortvalue_input("x", OrtValue.ortvalue_from_numpy(x))
        binding.bind_ortvalue_output("y", OrtValue.ortvalue_from_numpy(y))
        session, held = self.session, (x, y)  # ONNX Runtime sees the memory, not the arrays

        def run() -> object:
            return session.run_with_iobinding(binding) and held

        return run


def _session(weight: Array, bias: Array | None, arithmetic: Any, shift: int) -> InferenceSession:
    import onnxruntime
    from onnx import helper, numpy_helper

    number = helper.np_dtype_to_tensor_dtype
    given = np.uint8 if arithmetic is np.uint8 else np.int32
    constants, nodes = [numpy_helper.from_array(_stored(weight, arithmetic), "weight")], []
    if arithmetic is np.uint8:
        inputs = ["x", "weight"]
        if shift:
            constants.append(numpy_helper.from_array(np.array(shift, np.uint8), "shift"))
            inputs.append("shift")
        nodes.append(helper.make_node("MatMulInteger", inputs, ["sum"]))
    else:
        nodes.append(helper.make_node("Cast", ["x"], ["wide"], to=number(np.dtype(arithmetic))))
        nodes.append(helper.make_node("MatMul", ["wide", "weight"], ["product"]))
        nodes.append(helper.make_node("Cast", ["product"], ["sum"], to=number(np.dtype(np.int32))))
    if bias is None:
        nodes[-1].output[0] = "y"
    else:
        constants.append(numpy_helper.from_array(bias.astype(np.int32), "bias"))
        nodes.append(helper.make_node("Add", ["sum", "bias"], ["y"]))
    ends = [
        helper.make_tensor_value_info(name, number(np.dtype(dtype)), ["rows", size])
        for name, dtype, size in (("x", given, len(weight)), ("y", np.int32, weight.shape[1]))
    ]
    graph = helper.make_graph(nodes, "product", ends[:1], ends[1:], initializer=constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _stored(weight: Array, arithmetic: Any) -> Array:
    return np.ascontiguousarray(weight, np.int8 if arithmetic is np.uint8 else arithmetic)
