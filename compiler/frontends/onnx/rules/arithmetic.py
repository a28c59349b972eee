"""Add, Sub, Mul, Div, Neg, and what leaves a value as it is."""

from __future__ import annotations

import numpy as np

from spikeloom.compiler.frontends.onnx.file import OnnxNode
from spikeloom.compiler.frontends.onnx.walk import NotExpressibleError, Walk
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.batch_norm import BatchNorm
from spikeloom.compiler.graph.ops.mul import Mul

NOTHING = np.zeros(())


def add(walk: Walk, node: OnnxNode) -> str:
    """Add: of two values, or of a value and a constant."""
    split = _constant(walk, node)
    if split is None:
        return walk.add(node, Add(), walk.input(node, 0), walk.input(node, 1))
    index, constant = split
    return _affine(walk, node, index, np.ones(()), constant)


def subtract(walk: Walk, node: OnnxNode) -> str:
    """Sub: the second is negated first."""
    split = _constant(walk, node)
    if split is None:
        negated = walk.add(node, Affine(np.array(-1.0), NOTHING), walk.input(node, 1))
        return walk.add(node, Add(), walk.input(node, 0), negated)
    index, constant = split
    if index == 0:
        return _affine(walk, node, 0, np.ones(()), -constant)
    return _affine(walk, node, 1, np.array(-1.0), constant)


def multiply(walk: Walk, node: OnnxNode) -> str:
    """Mul: of two values, or of a value and a constant."""
    split = _constant(walk, node)
    if split is None:
        return walk.add(node, Mul(), walk.input(node, 0), walk.input(node, 1))
    index, constant = split
    return _affine(walk, node, index, constant, NOTHING)


def divide(walk: Walk, node: OnnxNode) -> str:
    """Div by a constant."""
    split = _constant(walk, node)
    if split is None or split[0] != 0:
        raise NotExpressibleError("divides by a value")
    return _affine(walk, node, 0, 1.0 / split[1], NOTHING)


def negate(walk: Walk, node: OnnxNode) -> str:
    """Neg."""
    return walk.add(node, Affine(np.array(-1.0), NOTHING), walk.input(node))


def batch_norm(walk: Walk, node: OnnxNode) -> str:
    """BatchNormalization, as it is in inference."""
    gain, bias, mean, variance = (walk.constant(node, index) for index in (1, 2, 3, 4))
    if node.attributes.get("training_mode", 0):
        raise NotExpressibleError("is in training")
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    return walk.add(node, BatchNorm(gain, bias, mean, variance, epsilon), walk.input(node))


def same(walk: Walk, node: OnnxNode) -> str:
    """Identity, Dropout as it is in inference, and casts between types of numbers."""
    return walk.input(node)


def _constant(walk: Walk, node: OnnxNode) -> tuple[int, Array] | None:
    """Which operand is a value, and the constant; None if both are values."""
    fixed = [name in walk.constants for name in node.inputs]
    if not any(fixed):
        return None
    index = fixed.index(False)
    return index, walk.per_sample(node, walk.constant(node, 1 - index))


def _affine(walk: Walk, node: OnnxNode, index: int, scale: Array, offset: Array) -> str:
    if walk.shapes[node.inputs[index]] != walk.shapes[node.outputs[0]]:
        raise NotExpressibleError("a constant repeats its input along an axis")
    return walk.add(node, Affine(np.asarray(scale), np.asarray(offset)), walk.input(node, index))
