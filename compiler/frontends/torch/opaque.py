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
def opaque_neuron(x: Tensor, index: int) -> Tensor:
    """Stand for the neuron layer of that index; the export never runs it."""
    return torch.empty_like(x)


@opaque_neuron.register_fake
def _(x: Tensor, index: int) -> Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("spikeloom::potential", mutates_args=())
def opaque_potential(x: Tensor, index: int) -> Tensor:
    """Stand for the potentials, at every step, of the neuron layer of that index."""
    return torch.empty_like(x)


@opaque_potential.register_fake
def _(x: Tensor, index: int) -> Tensor:
    return torch.empty_like(x)


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
        if getattr(self, "store_v_seq", False):
            self.v_seq = opaque_potential(x, index)
        return result(self, opaque_neuron(x, index), opaque_potential(x, index))

    result = library_of(module).result

    module.forward = MethodType(forward, module)
    try:
        yield
    finally:
        if had_own:
            module.forward = own
        else:
            del module.forward
