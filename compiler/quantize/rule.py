"""The registry of the quantizer's rules: one for each operation that has an integer form."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from spikeloom.compiler.graph.op import Op

Rule = Callable[..., None]
"""Called with a walk, an operation and its node: appends the integer form to the graph of the walk."""

_RULES: dict[type[Op], Rule] = {}


@cache
def rules() -> Mapping[type[Op], Rule]:
    """Every rule, from all files of :mod:`spikeloom.compiler.quantize.rules`."""
    package = import_module("spikeloom.compiler.quantize.rules")
    for module in pkgutil.iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return MappingProxyType(_RULES)


def rule(*ops: type[Op]) -> Callable[[Rule], Rule]:
    """Register a function as the rule of these operations."""

    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(ops, function))
        return function

    return register
