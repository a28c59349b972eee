"""How each operation is written in ONNX, one a file, found through a registry.

An emitter takes the writer, the operation, its inputs and the types of its outputs, and returns
its outputs. Operations that occur in float graphs only have no emitter; they are listed in
:data:`FLOAT_ONLY`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from spikeloom.compiler.graph.kinds import Type
from spikeloom.compiler.graph.op import Op
from spikeloom.targets.onnx.writer import Tensor, Writer

OpType = TypeVar("OpType", bound=Op)
Tensors = tuple[Tensor, ...]
Types = tuple[Type, ...]
Emitter = Callable[[Writer, Any, Tensors, Types], Tensors]

FLOAT_ONLY = frozenset(
    {
        "affine",
        "avg_pool2d",
        "batch_norm",
        "clip",
        "elementwise",
        "feedback_neuron",
        "layer_norm",
        "mean",
        "neuron",
        "softmax",
        "step_affine",
        "time_mean",
        "weighted_key_value",
        "window_softmax",
    }
)

_REGISTRY: dict[str, Emitter] = {}


def emits(op: type[OpType]) -> Callable[[Emitter], Emitter]:
    """Decorator that makes a function known as the emitter of an operation.

    Raises:
        KeyError: the operation has one already.
    """

    def enter(emitter: Emitter) -> Emitter:
        if _REGISTRY.setdefault(op.name, emitter) is not emitter:
            raise KeyError(f"two emitters for {op.name!r}: {_REGISTRY[op.name]} and {emitter}")
        return emitter

    return enter


@cache
def _load_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def all_emitters() -> dict[str, Emitter]:
    """Every emitter by the name of its operation, sorted.

    >>> "matmul" in all_emitters()
    True
    """
    _load_all()
    return dict(sorted(_REGISTRY.items()))
