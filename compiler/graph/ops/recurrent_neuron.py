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
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron, Reset


@register
@dataclass(frozen=True, eq=False)
class RecurrentNeuron(StatefulOp):
    """An :class:`IntegerNeuron` with one level, on x + W s of an earlier step.

        x <- x + W s(t - wait) ;  s, u, v <- as in IntegerNeuron

    lava-dl calls the layer ``dense_rec``: a spike comes back one step after it was sent, as everything does
    that passes a synapse.

    Attributes:
        weight: integers in the unit of the input. For neurons on one axis, W [n, n]; else what broadcasts
            against the input, where each neuron is driven by its own spikes alone.
        theta: [1, ...], the rest broadcasts against the input: state units.
        bias, decay, fraction_bits, current_decay, state_bits, horizon: of the neurons.
        reset_by: what a soft reset subtracts; None for a hard one.
        wait: steps after which a spike comes back, from one.

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
    reset_by: Array | None = None
    wait: int = 1

    @property
    def reset(self) -> Reset:
        """What a spike does to the potential."""
        return "hard" if self.reset_by is None else "soft"

    @cached_property
    def neuron(self) -> IntegerNeuron:
        """The neurons without their way back."""
        return IntegerNeuron(
            self.theta,
            self.bias,
            self.decay,
            self.fraction_bits,
            self.current_decay,
            reset=self.reset,
            reset_by=self.reset_by,
            state_bits=self.state_bits,
            horizon=self.horizon,
        )

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Integers to spikes of the same shape, if no potential can overflow."""
        (x,) = inputs
        if not is_integer(self.weight) or not x.kind.is_integer:
            raise RuleBrokenError(f"needs integers, not weights of {self.weight.dtype} and {x}")
        check_way_back(self.weight, self.wait, x)
        if len(self.theta) != 1:
            raise RuleBrokenError("spikes that come back are plain ones")
        self.neuron.infer(self._driven(x))
        return (Type(x.shape, SPIKES),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """Those of the neurons, the spikes s of the step before, and those of steps before, newest first."""
        (x,) = inputs
        return {**self.neuron.states(self._driven(x)), **past_spikes(self.wait, x)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Add what comes back, then decay, integrate, fire, reset."""
        returned, past = come_back(self.wait, state)
        (s,), after = self.neuron.step((inputs[0] + weighted_back(self.weight, returned),), state)
        return (s,), {**after, "s": s, **past}

    def dense_operations(self, *inputs: Type) -> int:
        """One update per neuron."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every neuron is updated in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)

    def _driven(self, x: Type) -> Type:
        """What arrives at the neurons from both sides."""
        if is_dense(self.weight, len(x.shape)):
            low, high = weighted_bounds(self.weight, 0, 1, None)
        else:
            low = high = self.weight.astype(np.int64)
        ends = (x.kind.bounds[0] + min(0, int(low.min())), x.kind.bounds[1] + max(0, int(high.max())))
        check_accumulator(*ends)
        return Type(x.shape, current(*ends))


def is_dense(weight: Array, axes: int) -> bool:
    """Whether each neuron of a layer of so many axes may be driven by all others."""
    return weight.ndim == 2 and axes == 1


def check_way_back(weight: Array, wait: int, x: Type) -> None:
    """Whether spikes of a layer of that type find back through these weights.

    Raises:
        RuleBrokenError: they do not.
    """
    try:
        fits = (
            weight.shape == x.shape * 2
            if is_dense(weight, len(x.shape))
            else np.broadcast_shapes(weight.shape, x.shape) == x.shape
        )
    except ValueError:
        fits = False
    if not fits:
        raise RuleBrokenError(f"weights {weight.shape} do not lead back to {x}")
    if wait < 1:
        raise RuleBrokenError(f"a spike comes back after {wait} steps, and would have to be known before")


def past_spikes(wait: int, x: Type) -> dict[str, Type]:
    """The states that hold spikes on their way back."""
    earlier = {"earlier": Type((wait - 1, *x.shape), SPIKES)} if wait > 1 else {}
    return {"s": Type(x.shape, SPIKES), **earlier}


def come_back(wait: int, state: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
    """The spikes [batch, ...] that come back now, and the state ``earlier`` of the next step."""
    if wait == 1:
        return state["s"], {}
    waiting = np.concatenate([state["s"][:, None], state["earlier"]], 1)
    return waiting[:, -1], {"earlier": waiting[:, :-1]}


def pairs_back(weight: Array, spikes: Array) -> NDArray[np.int64]:
    """[batch], pairs of a spike [batch, ...] that comes back and a non-zero weight on its way.

    >>> pairs_back(np.array([[0, 0], [5, 0]]), np.array([[1, 1], [0, 1]])).tolist()
    [1, 0]
    """
    present = (weight != 0).astype(np.int64)
    arriving = weighted_back(present, (spikes != 0).astype(np.int64)).reshape(len(spikes), -1)
    pairs: NDArray[np.int64] = arriving.sum(1)
    return pairs


def weighted_back(weight: Array, spikes: Array) -> Array:
    """What the spikes [batch, ...] are to the neurons that they come back to."""
    if not is_dense(weight, spikes.ndim - 1):
        return spikes * weight
    if is_integer(weight):
        spikes = spikes.astype(np.int64)
    return exactly(np.matmul, spikes, weight.T)
