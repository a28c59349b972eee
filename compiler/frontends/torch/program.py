"""Questions about the calls of a captured program."""

from __future__ import annotations

import re

import torch
from torch import Tensor, fx

from spikeloom.compiler.frontends.torch.axes import (
    Shape,
)
from spikeloom.compiler.graph.source import Source

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def needed_calls(nodes: list[fx.Node]) -> set[str]:
    """The calls that the program's output depends on, those that change a value in place included."""
    needed: set[str] = set()
    for node in reversed(nodes):
        schema = getattr(node.target, "_schema", None)
        changes = schema is not None and schema.is_mutable and _base(node) in needed
        if node.op == "output" or node.name in needed or changes:
            needed.add(node.name)
            needed.update(n.name for n in node.all_input_nodes)
    return needed


def _base(node: fx.Node) -> str:
    """The value that a call, or the pieces it works on, lie in."""
    while node.op == "call_function" and node.all_input_nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not any(argument.alias_info is not None for argument in schema.arguments):
            break
        node = node.all_input_nodes[0]
    return node.name


def parameters_of(node: fx.Node) -> list[str]:
    """Names of the parameters of an ATen operation."""
    target = node.target
    return [p.name for p in target._schema.arguments] if isinstance(target, torch._ops.OpOverload) else []


def operation_name(node: fx.Node) -> str:
    """As rules know it: ``conv2d``, ``add.Tensor``."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        packet, overload = target._opname, target._overloadname
        return packet if overload == "default" else f"{packet}.{overload}"
    return getattr(target, "__name__", str(target))


def first_shape(node: fx.Node) -> Shape:
    """Of the first tensor that a call gives."""
    value = node.meta.get("val")
    first = value[0] if isinstance(value, (list, tuple)) else value
    return tuple(int(axis) for axis in first.shape) if isinstance(first, Tensor) else ()


def shapes_in_words(node: fx.Node) -> str:
    """Of what a call takes and gives."""
    inputs = " and ".join(str(list(first_shape(n))) for n in node.all_input_nodes)
    return f"{inputs} to {list(first_shape(node))}"


def leaf_class(node: fx.Node) -> str:
    """The class of the innermost module around a call, in lower case with underscores."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    kind = stack[-1][1] if stack else ""
    name = kind if isinstance(kind, str) else kind.__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.rsplit(".", 1)[-1]).lower()


def source_of(node: fx.Node) -> Source:
    """The module and the line of the user's code that a call comes from."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    module = str(stack[-1][0]) if stack else ""
    for file, line in reversed(_FRAME.findall(node.meta.get("stack_trace") or "")):
        if "/torch/" not in file and "/einops/" not in file:
            return Source(module, _short(file), int(line))
    return Source(module)


def _short(file: str) -> str:
    """A path without the folder of the installation, so that bundles are the same everywhere."""
    _, marker, rest = file.rpartition("site-packages/")
    return rest if marker else file.rsplit("/", 1)[-1]
