"""A spiking layer whose spikes come back to it through weights of its own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import check_accumulator, exactly, is_integer, weighted_bounds
from spikeloom.compiler.graph.kinds import SPIKES, Type, current
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron


@register
@dataclass(frozen=True, eq=False)
class RecurrentNeuron(StatefulOp):
    """An :class:`IntegerNeuron` with one level and a hard reset, on x + W s of the step before.

        x <- x + W s ;  s, u, v <- as in IntegerNeuron

    lava-dl calls the layer ``dense_rec``: a spike comes back one step after it was sent, as everything does
    that passes a synapse.

    Attributes:
        weight: W [n, n], integers in the unit of the input.
        theta: [1], or [1, n]: state units.
        bias, decay, fraction_bits, current_decay, state_bits, horizon: of the neurons.

    >>> op = RecurrentNeuron(np.array([[0, 0], [5, 0]]), np.array([[4]]), np.array([0]), 4096, 0)
    >>> state = {name: array[None] for name, array in op.initial(Type((2,), SPIKES)).items()}
    >>> (first,), state = op.step((np.array([[5, 0]]),), state)
    >>> (second,), state = op.step((np.array([[0, 0]]),), state)
    >>> first.tolist(), second.tolist()
    ([[1, 0]], [[0, 1]])
    """

    name: ClassVar[str] = "recurrent_neuron"
    work: ClassVar[Work] = "update"

    weight: Array
    theta: Array
    bias: Array
    decay: int
    fraction_bits: int
    current_decay: int | None = None
    state_bits: int = 32
    horizon: int = 0

    @cached_property
    def neuron(self) -> IntegerNeuron:
        """The neurons without their way back."""
        return IntegerNeuron(
            self.theta,
            self.bias,
            self.decay,
            self.fraction_bits,
            self.current_decay,
            state_bits=self.state_bits,
            horizon=self.horizon,
        )

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Integers [n] to spikes [n], if no potential can overflow."""
        (x,) = inputs
        square = self.weight.ndim == 2 and self.weight.shape == x.shape * 2
        if not square or not is_integer(self.weight) or not x.kind.is_integer:
            raise RuleBrokenError(f"weights {self.weight.dtype}{self.weight.shape} do not lead back to {x}")
        if len(self.theta) != 1:
            raise RuleBrokenError("spikes that come back are plain ones")
        self.neuron.infer(self._driven(x))
        return (Type(x.shape, SPIKES),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """Those of the neurons, and the spikes of the step before."""
        (x,) = inputs
        return {**self.neuron.states(self._driven(x)), "s": Type(x.shape, SPIKES)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Add what comes back, then decay, integrate, fire, reset."""
        back = exactly(np.matmul, state["s"].astype(np.int64), self.weight.T)
        (s,), after = self.neuron.step((inputs[0] + back,), state)
        return (s,), {**after, "s": s}

    def dense_operations(self, *inputs: Type) -> int:
        """One update per neuron."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every neuron is updated in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)

    def _driven(self, x: Type) -> Type:
        """What arrives at the neurons from both sides."""
        low, high = weighted_bounds(self.weight, 0, 1, None)
        ends = x.kind.bounds[0] + int(low.min()), x.kind.bounds[1] + int(high.max())
        check_accumulator(*ends)
        return Type(x.shape, current(*ends))
