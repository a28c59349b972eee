"""Operations that NIR lacks, as nodes of types of our own: ``Spikeloom_matmul`` and so on.

NIR's package reads such a file after :func:`register`, with ``type_check=False`` where a node has several
inputs. The order of inputs is in the node's metadata, since edges of NIR have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, fields, make_dataclass
from importlib import import_module
from typing import Any

import numpy as np

from spikeloom.compiler.frontends.nir.export.saying import Details
from spikeloom.compiler.frontends.nir.file import NirNode
from spikeloom.compiler.graph.op import Op, all_ops

PREFIX = "Spikeloom_"


def say_custom(op: Op) -> tuple[NirNode, Details]:
    """An operation with its parameters under their own names: arrays and numbers; the rest as details."""
    parameters: dict[str, Any] = {}
    details: Details = {}
    for parameter in fields(op):
        value = getattr(op, parameter.name)
        if isinstance(value, np.ndarray):
            parameters[parameter.name] = value
        else:
            details[parameter.name] = list(value) if isinstance(value, tuple) else value
    return NirNode(PREFIX + op.name, parameters), details


def restore_custom(node: NirNode, details: Details) -> Op:
    """The operation again."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in details.items()}
    arrays = {name: np.asarray(value) for name, value in node.parameters.items()}
    return all_ops()[node.type.removeprefix(PREFIX)](**arrays, **values)


def register(nir: Any = None) -> Mapping[str, type]:
    """Make the types known to the package ``nir``, so that ``nir.read`` takes files with them.

    Args:
        nir: the package; imported by default.

    Returns:
        The classes by name; their fields are the arrays of the operations.
    """
    nir = nir or import_module("nir")
    base = nir.ir.NIRNode
    classes = {}
    for name, op in all_ops().items():
        arrays = [(f.name, Any, field(default=None)) for f in fields(op) if "Array" in str(f.type)]
        kind = make_dataclass(
            PREFIX + name, arrays, bases=(base,), eq=False, kw_only=True, namespace={"__post_init__": _typed}
        )
        setattr(nir.ir, kind.__name__, kind)
        known = vars(nir.ir)["__all_ir"]
        if kind.__name__ not in known:
            known.append(kind.__name__)
        classes[kind.__name__] = kind
    return classes


def _typed(node: Any) -> None:
    node.input_type, node.output_type = {"input": None}, {"output": None}
