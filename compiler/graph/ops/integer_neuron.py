"""A spiking neuron in integers: the contract between the compiler and every chip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import divide_toward_zero, is_integer
from spikeloom.compiler.graph.kinds import Type, current, levels
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

DECAY_ONE = 4096
_MAX_BOUND_STEPS = 100_000

Reset = Literal["hard", "soft"]


@register
@dataclass(frozen=True, eq=False)
class IntegerNeuron(StatefulOp):
    """One membrane in state units, of which 2**fraction_bits make one unit of input.

        u <- trunc(u * (4096 - current_decay) / 4096) + (x << fraction_bits)     if current_decay is given
        u <- x << fraction_bits                                                  otherwise
        v <- trunc(v * (4096 - decay) / 4096) + u + bias
        s <- how many k have v > theta[k]
        v <- 0 where s > 0 (hard) ;  v <- v - s * reset_by (soft)

    ``trunc`` rounds toward zero. With one level this is Lava's fixed-point LIF, whose register du
    is current_decay - 1 (lava-nc 0.10.0, ``lif/models.py``).

    The type rule proves that no potential leaves ``state_bits``: a leaky neuron for any number of
    steps, one without a leak for ``horizon`` steps between resets.

    Attributes:
        theta: [levels, ...], the rest broadcasts against the input; integers from zero, rising.
        bias: broadcasts against the input; integer.
        decay, current_decay: 12-bit decays; 4096 forgets at once, 0 never.
        fraction_bits: binary digits of the state below one unit of input.
        reset: what a spike does to the potential.
        reset_by: broadcasts against the input; what a soft reset subtracts per level, from one.
        state_bits: width of u and v with sign.
        horizon: steps between resets; 0 if never reset.
    """

    name: ClassVar[str] = "integer_neuron"
    work: ClassVar[Work] = "update"

    theta: Array
    bias: Array
    decay: int
    fraction_bits: int
    current_decay: int | None = None
    reset: Reset = "hard"
    reset_by: Array | None = None
    state_bits: int = 32
    horizon: int = 0

    @property
    def levels(self) -> int:
        """The largest spike: 1, or more for graded spikes."""
        return len(self.theta)

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Integers to spikes (or levels) of the same shape, if no potential can overflow."""
        (x,) = inputs
        if not x.kind.is_integer or not is_integer(self.theta, self.bias):
            raise RuleBrokenError(f"needs integers, not {x}")
        if fault := self._option_fault():
            raise RuleBrokenError(fault)
        if not self._fits(x.shape):
            raise RuleBrokenError(
                f"theta {self.theta.shape}, bias {self.bias.shape} or reset_by do not fit {x}"
            )
        if (self.theta < 0).any() or (np.diff(self.theta, axis=0) < 0).any():
            raise RuleBrokenError("theta must not be negative, and must rise from level to level")
        if self.reset_by is not None and not (is_integer(self.reset_by) and (self.reset_by > 0).all()):
            raise RuleBrokenError("reset_by must be integers above zero")
        self.potential_bounds(x)
        return (Type(x.shape, levels(self.levels)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The membrane potential v, and the synaptic current u if it decays."""
        (x,) = inputs
        limit = 2 ** (self.state_bits - 1) - 1
        names = ("v",) if self.current_decay is None else ("u", "v")
        return {name: Type(x.shape, current(-limit, limit)) for name in names}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Decay, integrate, fire, reset."""
        u = inputs[0].astype(np.int64) << self.fraction_bits
        after: dict[str, Array] = {}
        if self.current_decay is not None:
            u = self._leak(state["u"], self.current_decay) + u
            after["u"] = u
        v = self._leak(state["v"], self.decay) + u + self.bias
        s = sum((v > theta).astype(np.int64) for theta in self.theta)
        after["v"] = np.where(s > 0, 0, v) if self.reset_by is None else v - s * self.reset_by
        return (np.asarray(s),), after

    def dense_operations(self, *inputs: Type) -> int:
        """One update per neuron."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every neuron is updated in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)

    def potential_bounds(self, x: Type) -> tuple[int, int]:
        """The interval of every u and v, before a reset and after it, for inputs of type ``x``.

        Raises:
            RuleBrokenError: it leaves the state's width, or has no end.
        """
        lo, hi = x.kind.bounds
        reach_u = (lo << self.fraction_bits, hi << self.fraction_bits)
        if self.current_decay is not None:
            reach_u = self._grow(reach_u, self.current_decay)
        drive = (reach_u[0] + int(self.bias.min()), reach_u[1] + int(self.bias.max()))
        cap = int(self.theta[0].max()) if self.reset_by is None else None
        low, high = self._grow(drive, self.decay, cap, self._soft_floor())
        return min(low, reach_u[0]), max(high, reach_u[1])

    def _option_fault(self) -> str:
        decays = (self.decay, 0 if self.current_decay is None else self.current_decay)
        if not all(0 <= decay <= DECAY_ONE for decay in decays):
            return f"decays {decays} are not within 0..{DECAY_ONE}"
        if self.fraction_bits < 0 or self.horizon < 0:
            return "fraction_bits and horizon must not be negative"
        if self.reset != ("hard" if self.reset_by is None else "soft"):
            return "a soft reset needs reset_by, and a hard one has none"
        return ""

    def _fits(self, shape: tuple[int, ...]) -> bool:
        parameters = [array for array in (self.theta[0], self.bias, self.reset_by) if array is not None]
        try:
            return np.broadcast_shapes(shape, *(array.shape for array in parameters)) == shape
        except ValueError:
            return False

    def _soft_floor(self) -> int:
        """The least that a soft reset leaves: just over the k-th threshold, less k times ``reset_by``."""
        if self.reset_by is None:
            return 0
        left = [theta + 1 - k * self.reset_by for k, theta in enumerate(self.theta, 1)]
        return min(0, *(int(potential.min()) for potential in left))

    def _grow(
        self, drive: tuple[int, int], decay: int, cap: int | None = None, floor: int = 0
    ) -> tuple[int, int]:
        """Bounds of a decaying sum of drives.

        What is carried to the next step is at most ``cap``, since a hard reset takes the rest, and
        a soft reset leaves no less than ``floor``.
        """
        limit = 2 ** (self.state_bits - 1) - 1
        low, high = floor, 0
        for _ in range(self.horizon or _MAX_BOUND_STEPS):
            carried = high if cap is None else min(high, cap)
            before = (low, high)
            low = min(low, -(-low * (DECAY_ONE - decay) // DECAY_ONE) + drive[0])
            high = max(high, carried * (DECAY_ONE - decay) // DECAY_ONE + drive[1])
            if low < -limit or high > limit:
                raise RuleBrokenError(
                    f"the potential may reach {low}..{high}, outside the {self.state_bits}-bit state"
                )
            if before == (low, high):
                return low, high
        if self.horizon:
            return low, high
        raise RuleBrokenError("the potential has no bound: the neuron does not leak and is never reset")

    @staticmethod
    def _leak(state: Array, decay: int) -> Array:
        return divide_toward_zero(state * (DECAY_ONE - decay), DECAY_ONE)
