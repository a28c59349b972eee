"""Neurons as black boxes while a model is exported: one custom operation each.

Exported with their Python inside, neurons are unrolled over time and lose their identity. With
this operation in their place the time axis stays an axis and the state stays out of the export.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.neurons import library_of


@torch.library.custom_op("spikeloom::neuron", mutates_args=())
def opaque_neuron(x: Tensor, index: int, width: int) -> Tensor:
    """Stand for the neuron layer of that index; the export never runs it.

    Args:
        x: what the layer is given.
        index: of the layer.
        width: of the last axis of what it sends; 0 for that of ``x``.
    """
    return _sent(x, width)


@opaque_neuron.register_fake
def _(x: Tensor, index: int, width: int) -> Tensor:
    return _sent(x, width)


@torch.library.custom_op("spikeloom::potential", mutates_args=())
def opaque_potential(x: Tensor, index: int, width: int) -> Tensor:
    """Stand for the potentials, at every step, of the neuron layer of that index."""
    return _sent(x, width)


@opaque_potential.register_fake
def _(x: Tensor, index: int, width: int) -> Tensor:
    return _sent(x, width)


def _sent(x: Tensor, width: int) -> Tensor:
    return x.new_empty((*x.shape[:-1], width)) if width else torch.empty_like(x)


@contextmanager
def opaque_neurons(modules: Sequence[nn.Module]) -> Iterator[None]:
    """While this is open, each module's forward is the opaque operation with its index."""
    with ExitStack() as stack:
        for index, module in enumerate(modules):
            stack.enter_context(_replaced(module, index))
        yield


@contextmanager
def _replaced(module: Any, index: int) -> Iterator[None]:
    had_own = "forward" in vars(module)
    own = vars(module).get("forward")

    def forward(self: Any, x: Tensor, *_: Any, **__: Any) -> Any:
        potentials = opaque_potential(x, index, width)
        if getattr(self, "store_v_seq", False):
            self.v_seq = potentials
        return result(self, opaque_neuron(x, index, width), potentials)

    library = library_of(module)
    result, width = library.result, library.width(module)

    module.forward = MethodType(forward, module)
    try:
        yield
    finally:
        if had_own:
            module.forward = own
        else:
            del module.forward
