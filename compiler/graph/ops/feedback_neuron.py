"""A spiking layer whose spikes come back to it, with real-valued parameters, as it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.kinds import REAL, SPIKES, Type
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register
from spikeloom.compiler.graph.ops.neuron import Neuron, Reset
from spikeloom.compiler.graph.ops.recurrent_neuron import (
    check_way_back,
    come_back,
    past_spikes,
    weighted_back,
)


@register
@dataclass(frozen=True, eq=False)
class FeedbackNeuron(StatefulOp):
    """A :class:`Neuron` with one level, on A x + b + W s of an earlier step.

        y = A x + b + W s(t - wait) ;  s, u, v <- as in Neuron, of y

    It is snnTorch's ``RLeaky`` and ``RSynaptic``, SpikingJelly's ``LinearRecurrentContainer`` and
    ``ElementWiseRecurrentContainer``, norse's ``LIFRecurrentCell``, and a cycle through a Linear in NIR. Its
    integer form is :class:`~spikeloom.compiler.graph.ops.recurrent_neuron.RecurrentNeuron`.

    Attributes:
        weight: W. For neurons on one axis, [n, n]; else what broadcasts against the layer, where each neuron
            is driven by its own spikes alone.
        decay, gain, threshold, drift, reset, v_reset, strict, current_decay, reset_by, late: as in Neuron.
        ahead: A [n, inputs], where the layer has weights for its input too; a pass takes it out.
        bias: b [n], where what comes back has one; a pass takes it out, too.
        wait: steps after which a spike comes back, from one.

    >>> op = FeedbackNeuron(np.array([[0.0, 0.0], [1.0, 0.0]]), decay=0.5, gain=1.0, threshold=1.0)
    >>> state = {name: array[None] for name, array in op.initial(Type((2,), REAL)).items()}
    >>> (first,), state = op.step((np.array([[1.0, 0.0]]),), state)
    >>> (second,), state = op.step((np.array([[0.0, 0.0]]),), state)
    >>> first.tolist(), second.tolist()
    ([[1.0, 0.0]], [[0.0, 1.0]])
    """

    name: ClassVar[str] = "feedback_neuron"
    work: ClassVar[Work] = "update"

    weight: Array
    decay: float
    gain: float
    threshold: float
    drift: float = 0.0
    reset: Reset = "hard"
    v_reset: float = 0.0
    strict: bool = False
    current_decay: float | None = None
    reset_by: float | None = None
    late: bool = False
    ahead: Array | None = None
    bias: Array | None = None
    wait: int = 1

    @cached_property
    def neuron(self) -> Neuron:
        """The neurons without their way back."""
        return Neuron(
            self.decay,
            self.gain,
            self.threshold,
            self.drift,
            self.reset,
            self.v_reset,
            strict=self.strict,
            current_decay=self.current_decay,
            reset_by=self.reset_by,
            late=self.late,
        )

    @staticmethod
    def of(
        neuron: Neuron,
        weight: Array,
        ahead: Array | None = None,
        bias: Array | None = None,
        wait: int = 1,
    ) -> FeedbackNeuron:
        """The neurons with a way back.

        Raises:
            ValueError: their spikes are graded.
        """
        if neuron.levels != 1 or neuron.divisor != 1:
            raise ValueError("graded spikes that come back")
        own = ("decay", "gain", "threshold", "drift", "reset", "v_reset", "strict", "current_decay")
        settings = {name: getattr(neuron, name) for name in (*own, "reset_by", "late")}
        return FeedbackNeuron(weight, **settings, ahead=ahead, bias=bias, wait=wait)

    @property
    def memoryless(self) -> bool:
        """Whether nothing is carried from step to step: spikes are."""
        return False

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any current to spikes, of its shape or of that which ``ahead`` gives it."""
        arrived = self._arrived(inputs[0])
        check_way_back(self.weight, self.wait, arrived)
        if self.bias is not None and self.bias.shape not in ((), arrived.shape[-1:], arrived.shape):
            raise RuleBrokenError(f"a bias {self.bias.shape} does not fit {arrived}")
        self.neuron.infer(arrived)
        return (Type(arrived.shape, SPIKES),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """Those of the neurons, the spikes s of the step before, and those of steps before, newest first."""
        arrived = self._arrived(inputs[0])
        return {**self.neuron.states(arrived), **past_spikes(self.wait, arrived)}

    def initial(self, *inputs: Type) -> dict[str, Array]:
        """The resting potential, no current and no spikes."""
        return {**super().initial(*inputs), **self.neuron.initial(self._arrived(inputs[0]))}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Add what comes back, then integrate, fire, reset."""
        returned, past = come_back(self.wait, state)
        x = inputs[0] if self.ahead is None else inputs[0] @ self.ahead.T
        x = x + weighted_back(self.weight, returned)
        (s,), after = self.neuron.step((x if self.bias is None else x + self.bias,), state)
        return (s,), {**after, "s": s.astype(np.int64), **past}

    def dense_operations(self, *inputs: Type) -> int:
        """One update per neuron."""
        return self._arrived(inputs[0]).size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every neuron is updated in every step."""
        return np.full(len(inputs[0]), self._arrived(Type(inputs[0].shape[1:], REAL)).size, np.int64)

    def _arrived(self, x: Type) -> Type:
        if self.ahead is None:
            return Type(x.shape, REAL)
        if x.shape != self.ahead.shape[1:]:
            raise RuleBrokenError(f"weights {self.ahead.shape} do not take {x}")
        return Type(self.ahead.shape[:1], REAL)
