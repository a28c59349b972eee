"""How operations become calls of kernels, found through a registry.

A rule takes the planner, the node and the arrays of its inputs, each [steps, samples, ...] in any order of
memory; it appends calls to the plan and returns the arrays of the outputs. It returns None where it does
not hold, and the operation's own definition is called instead.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from spikeloom.compiler.graph.graph import Node
from spikeloom.compiler.graph.op import Array, Op
from spikeloom.runtime.engines.event.plan import Planner

OpType = TypeVar("OpType", bound=Op)
Arrays = tuple[Array, ...]
Rule = Callable[[Planner, Node, Any, Arrays], Arrays | None]

_REGISTRY: dict[type[Op], Rule] = {}


def plans(op: type[OpType]) -> Callable[[Rule], Rule]:
    """Decorator that makes a function known as the rule of an operation.

    Raises:
        KeyError: the operation has one already.
    """

    def enter(rule: Rule) -> Rule:
        if _REGISTRY.setdefault(op, rule) is not rule:
            raise KeyError(f"two rules for {op.name!r}: {_REGISTRY[op]} and {rule}")
        return rule

    return enter


@cache
def all_rules() -> dict[type[Op], Rule]:
    """Every rule by its operation.

    >>> sorted(op.name for op in all_rules())[:3]
    ['add', 'broadcast', 'concat']
    """
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(_REGISTRY)
