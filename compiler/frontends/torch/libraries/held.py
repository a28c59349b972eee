"""States that a model hands to its neurons with each call, kept by the neurons instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

_STATES: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()


def held(module: nn.Module) -> Any:
    """The state of a neuron after its last call; None before the first."""
    return _STATES.get(module)


def forget(module: nn.Module) -> None:
    """Back to the start."""
    _STATES.pop(module, None)


@contextmanager
def holding(neurons: list[nn.Module]) -> Iterator[None]:
    """While this is open, each neuron goes on from its own last state, whatever it is given."""
    with ExitStack() as stack:
        for module in neurons:
            before = module.register_forward_pre_hook(_give, with_kwargs=True)
            stack.callback(before.remove)
            stack.callback(module.register_forward_hook(_keep).remove)
        yield


def _give(module: nn.Module, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    return (arguments[0], held(module)), {}


def _keep(module: nn.Module, _: Any, result: tuple[Any, Any]) -> None:
    _STATES[module] = result[1]
