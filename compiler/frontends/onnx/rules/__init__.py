"""Rules from ONNX's operators to operations of ours, one family a file."""

from __future__ import annotations

from spikeloom.compiler.frontends.onnx.rules import arithmetic, pooling, shapes, time, weights
from spikeloom.compiler.frontends.onnx.unroll import TIME_MEAN, TIME_SUM
from spikeloom.compiler.frontends.onnx.walk import Rule

RULES: dict[str, Rule] = {
    "Add": arithmetic.add,
    "AveragePool": pooling.window,
    "BatchNormalization": arithmetic.batch_norm,
    "Cast": arithmetic.same,
    "Concat": shapes.concat,
    "Conv": weights.convolution,
    "Div": arithmetic.divide,
    "Dropout": arithmetic.same,
    "Flatten": shapes.reshape,
    "Gemm": weights.gemm,
    "GlobalAveragePool": pooling.everywhere,
    "Identity": arithmetic.same,
    "MatMul": weights.product,
    "MaxPool": pooling.window,
    "Mul": arithmetic.multiply,
    "Neg": arithmetic.negate,
    "ReduceMean": pooling.reduce,
    "ReduceSum": pooling.reduce,
    "Reshape": shapes.reshape,
    "Squeeze": shapes.reshape,
    "Sub": arithmetic.subtract,
    TIME_MEAN: time.mean,
    TIME_SUM: time.total,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.reshape,
}
"""Rules by ONNX's names of operators; neurons are found before."""
