"""Neurons with the names and settings of ``spikingjelly.clock_driven.neuron`` 0.0.0.0.12.

h = v + (x - (v - v_reset)) / tau (with decay_input; x is not divided without it) ; s = 1 if h >=
v_threshold ; v' = v_reset where s (hard), h - s v_threshold (soft). The ``MultiStep`` classes take [T,
...], the others one step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.compiler.frontends.torch.legacy.surrogates import Sigmoid


class BaseNode(nn.Module):
    """A membrane potential ``v`` that starts as the number v_reset, and what a spike does to it."""

    v: Any
    step_mode = "s"

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: nn.Module | None = None,
        detach_reset: bool = False,
        backend: str = "torch",
        **_: Any,
    ) -> None:
        super().__init__()
        self.v_threshold, self.v_reset = v_threshold, v_reset
        self.surrogate_function = surrogate_function or Sigmoid()
        self.detach_reset = detach_reset
        self.backend = backend
        self.reset()

    def reset(self) -> None:
        """Forget the membrane potential."""
        self.v = 0.0 if self.v_reset is None else self.v_reset

    def neuronal_charge(self, x: Tensor) -> Tensor:
        """The potential before a spike."""
        raise NotImplementedError

    def step(self, x: Tensor) -> Tensor:
        """One time step."""
        h = self.neuronal_charge(x)
        spikes: Tensor = self.surrogate_function(h - self.v_threshold)
        fired = spikes.detach() if self.detach_reset else spikes
        if self.v_reset is None:
            self.v = h - fired * self.v_threshold
        else:
            self.v = (1.0 - fired) * h + fired * self.v_reset
        return spikes

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of one step, or of all steps [T, ...] for a multi-step neuron."""
        if self.step_mode == "s":
            return self.step(x)
        return torch.stack([self.step(now) for now in x])


class IFNode(BaseNode):
    """Integrates its input."""

    def neuronal_charge(self, x: Tensor) -> Tensor:
        """V + x."""
        h: Tensor = self.v + x
        return h


class LIFNode(BaseNode):
    """Leaks toward v_reset with the time constant tau."""

    def __init__(self, tau: float = 2.0, decay_input: bool = True, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.tau, self.decay_input = tau, decay_input

    def neuronal_charge(self, x: Tensor) -> Tensor:
        """A leak by 1/tau of what is above v_reset."""
        above = self._above()
        h: Tensor = self.v + (x - above) / self.tau if self.decay_input else self.v - above / self.tau + x
        return h

    def _above(self) -> Any:
        """The potential above its rest."""
        return self.v if self.v_reset in (None, 0.0) else self.v - self.v_reset


class ParametricLIFNode(LIFNode):
    """Learns its time constant: 1/tau = sigmoid(w)."""

    def __init__(self, init_tau: float = 2.0, decay_input: bool = True, *args: Any, **keywords: Any) -> None:
        super().__init__(init_tau, decay_input, *args, **keywords)
        del self.tau
        self.w = nn.Parameter(-torch.log(torch.tensor(init_tau - 1.0)))

    def neuronal_charge(self, x: Tensor) -> Tensor:
        """A leak by sigmoid(w)."""
        rate, above = self.w.sigmoid(), self._above()
        h: Tensor = self.v + (x - above) * rate if self.decay_input else self.v - above * rate + x
        return h


class MultiStepIFNode(IFNode):
    """An :class:`IFNode` over [T, ...]."""

    step_mode = "m"


class MultiStepLIFNode(LIFNode):
    """A :class:`LIFNode` over [T, ...]."""

    step_mode = "m"


class MultiStepParametricLIFNode(ParametricLIFNode):
    """A :class:`ParametricLIFNode` over [T, ...]."""

    step_mode = "m"
