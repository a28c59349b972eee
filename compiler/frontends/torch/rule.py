"""Rules from ATen operations to nodes, their registry, and the call that a rule gets."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor, fx

from spikeloom.compiler.frontends.torch.axes import (
    OWN,
    Lead,
    NoCounterpartError,
    Shape,
)
from spikeloom.compiler.frontends.torch.operands import (
    Folded,
    Masked,
    Operand,
    Pairs,
    StillFoldedError,
    Value,
)
from spikeloom.compiler.frontends.torch.program import parameters_of
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.source import Source

Rule = Callable[..., Operand]
"""Called with the walk and a :class:`Call`: appends the nodes that mean it."""


RULES: dict[str, Rule] = {}


ANY_LAYOUT: set[str] = {"getitem"}


FOLDS: set[str] = {"neuron"}


def rule(*names: str, any_layout: bool = False, folds: bool = False) -> Callable[[Rule], Rule]:
    """Declare a function to be the rule of ATen operations such as ``conv2d`` or ``add.Tensor``.

    Args:
        names: of the operations.
        any_layout: whether the rule follows the axes of time and batch itself, wherever they stand.
        folds: whether it also follows them where they are folded with other axes.
    """

    def declare(function: Rule) -> Rule:
        for name in names:
            if RULES.setdefault(name, function) is not function:
                raise KeyError(f"two rules for aten.{name}")
        if any_layout or folds:
            ANY_LAYOUT.update(names)
        if folds:
            FOLDS.update(names)
        return function

    return declare


@cache
def load_rules() -> None:
    """Import every file of :mod:`spikeloom.compiler.frontends.torch.rules`, which declare theirs."""
    package = importlib.import_module("spikeloom.compiler.frontends.torch.rules")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def supported_operations() -> list[str]:
    """Names of the ATen operations that have a rule, sorted."""
    load_rules()
    return sorted(RULES)


@dataclass
class Call:
    """One call of the captured program.

    Attributes:
        node: of the captured program.
        arguments: by the names of the ATen schema; tensors of the program as operands.
        lead, shape: of the first result; its time and batch axes, and a sample's own axes.
        source: for errors and the graph.
        shapes: of the first result in the two captures.
    """

    node: fx.Node
    arguments: dict[str, Any]
    lead: Lead
    shape: Shape
    source: Source
    shapes: tuple[Shape, Shape]

    def value(self, name: str) -> Value:
        """An argument that must be a value of the graph."""
        operand = self.arguments[name]
        if isinstance(operand, Masked):
            raise NoCounterpartError("parts of its operand are minus infinity, which only a softmax takes")
        if isinstance(operand, Pairs):
            raise NoCounterpartError("its operand is complex")
        if isinstance(operand, Folded):
            raise StillFoldedError(operand)
        if not isinstance(operand, Value):
            raise NoCounterpartError(f"its argument {name} does not depend on the input")
        return operand

    def array(self, name: str) -> Array | None:
        """An argument that must be a constant, as an array; None stays None."""
        operand = self.arguments[name]
        if operand is None:
            return None
        if not isinstance(operand, Tensor):
            raise NoCounterpartError(f"its argument {name} depends on the input")
        array: Array = operand.detach().cpu().numpy()
        return array

    def weight_argument(self) -> str:
        """The name, in the captured program, of the argument ``weight``; "" if there is none."""
        for parameter, given in zip(parameters_of(self.node), self.node.args, strict=False):
            if parameter == "weight" and isinstance(given, fx.Node):
                return given.name
        return ""

    def own_axis(self, axis: int, value: Value) -> int:
        """An axis of the captured tensor as an axis of a sample.

        Raises:
            NoCounterpartError: it is a time or batch axis.
        """
        place = axis % len(value.tags)
        if value.tags[place] != OWN:
            raise NoCounterpartError("it works along the time or batch axis")
        return value.tags[:place].count(OWN)
