"""A spiking neuron with real-valued parameters, as it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.equations.program import read_program
from spikeloom.compiler.graph.kinds import REAL, Type, levels
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register
from spikeloom.compiler.graph.ops.equation_neuron import EquationNeuron
from spikeloom.errors import InputError

Reset = Literal["hard", "soft"]
Rounding = Literal["half_up", "half_even"]


@register
@dataclass(frozen=True, eq=False)
class Neuron(StatefulOp):
    """The membrane equation that covers IF, LIF (both input conventions), PLIF, I-LIF and MultiSpike.

    h = decay * v + gain * x + drift ;  s = 1 if h >= threshold else 0 (h > threshold where strict)
    with a synaptic current (CUBA): u' = current_decay * u + gain * x ;  h = decay * v + u' + drift
    graded: s = round(clip(h / threshold, 0, levels)) ;  the value that goes on is s / divisor
    v' = v_reset where s, else h (hard) ;  v' = h - s * reset_by (soft; the threshold if it is not given)

    A LIF of time constant tau that divides its input by tau has decay = 1 - 1/tau, gain = 1/tau
    and drift = v_reset/tau. State v starts at v_reset (hard) or 0 (soft). MultiSpike of Spike-driven
    Transformer V3 and QSD-Transformer has no memory: decay = 0.

    Attributes:
        decay, gain, drift, threshold, v_reset: numbers in units of the membrane potential.
        reset: what a spike does to the potential.
        levels: the largest spike; 1 for plain spikes.
        rounding: of graded spikes: where half a level goes, up or to the even neighbour.
        divisor: what graded spikes are divided by.
        strict: whether a potential of exactly the threshold stays silent (one level).
        current_decay: what is left of the synaptic current after a step; None if there is none.
        reset_by: what a soft reset subtracts. A reset that comes one step late, after the leak (snnTorch),
            subtracts threshold / decay.
        late: whether the trained neuron keeps its potential as it was before the reset until the next step
            (snnTorch's ``reset_delay``). It changes no spike; whoever looks at potentials must know.
    """

    name: ClassVar[str] = "neuron"
    work: ClassVar[Work] = "update"

    decay: float
    gain: float
    threshold: float
    drift: float = 0.0
    reset: Reset = "hard"
    v_reset: float = 0.0
    levels: int = 1
    rounding: Rounding = "half_up"
    divisor: float = 1.0
    strict: bool = False
    current_decay: float | None = None
    reset_by: float | None = None
    late: bool = False

    @staticmethod
    def from_equations(
        states: Sequence[str],
        update: Sequence[str],
        fire: str,
        reset: Sequence[str] = (),
        parameters: Mapping[str, Array] | None = None,
    ) -> EquationNeuron:
        """Declare a neuron by its equations, in the language of :mod:`~spikeloom.compiler.graph.equations`.

        Args:
            states: ``"v = 0"`` for each state: its name and where it starts.
            update: assignments in order, to states or to names that last for the step; ``x`` is the input.
            fire: what is sent: comparisons (1 or 0), sums and differences of them, or a rounding.
            reset: assignments to states, in order; ``s`` is what was sent.
            parameters: arrays that differ from channel to channel, by the name they have in the equations;
                they broadcast against a sample.

        Raises:
            InputError: SL0308, an equation cannot be read.

        >>> adaptive = Neuron.from_equations(
        ...     states=["v = 0", "a = 0"],
        ...     update=["v = 0.75 * v + x"],
        ...     fire="v >= 1 + 0.5 * a",
        ...     reset=["v = v - s", "a = 0.9 * a + s"],
        ... )
        >>> adaptive.fire
        'v >= 1 + 0.5 * a'
        """
        named = {name: np.asarray(value, np.float64) for name, value in (parameters or {}).items()}
        values = np.stack(np.broadcast_arrays(*named.values())) if named else None
        texts = (tuple(states), tuple(update), fire, tuple(reset), tuple(named))
        neuron = EquationNeuron(*texts, values)
        try:
            read_program(*texts)
            neuron.infer(Type(() if values is None else values.shape[1:], REAL))
        except ValueError as error:
            raise InputError.of(
                "SL0308",
                "Neuron.from_equations",
                str(error),
                remedy="see docs/neurons.md for what an equation may hold",
            ) from error
        return neuron

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any current to spikes of its shape; divided ones are real."""
        if self.levels < 1 or self.divisor <= 0:
            raise RuleBrokenError(f"{self.levels} levels, divided by {self.divisor}")
        if self.threshold <= self.v_reset:
            raise RuleBrokenError(f"threshold {self.threshold} is not above v_reset {self.v_reset}")
        if self.strict and self.levels > 1:
            raise RuleBrokenError("levels round; they are not strict")
        if self.reset_by is not None and (self.reset != "soft" or self.reset_by <= 0):
            raise RuleBrokenError(f"a {self.reset} reset subtracts {self.reset_by}")
        return (Type(inputs[0].shape, levels(self.levels) if self.divisor == 1 else REAL),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The membrane potential v, and the synaptic current u if it decays."""
        names = ("v",) if self.current_decay is None else ("u", "v")
        return {name: Type(inputs[0].shape, REAL) for name in names}

    @property
    def subtracted(self) -> float:
        """What a soft reset subtracts for a spike."""
        return self.threshold if self.reset_by is None else self.reset_by

    @property
    def initial_potential(self) -> float:
        """The potential before the first step."""
        return self.v_reset if self.reset == "hard" else 0.0

    def initial(self, *inputs: Type) -> dict[str, Array]:
        """The resting potential, and no current."""
        current = {} if self.current_decay is None else {"u": np.zeros(inputs[0].shape)}
        return {**current, "v": np.full(inputs[0].shape, self.initial_potential)}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Integrate, fire, reset."""
        after = self.integrate(inputs[0], state)
        h = after["v"]
        s = self._fired(h)
        after["v"] = np.where(s > 0, self.v_reset, h) if self.reset == "hard" else h - s * self.subtracted
        return (s / self.divisor if self.divisor != 1 else s,), after

    def integrate(self, x: Array, state: Mapping[str, Array]) -> dict[str, Array]:
        """The states after the input has come and before a reset.

        >>> Neuron(decay=0.5, gain=1.0, threshold=1.0).integrate(np.array([3.0]), {"v": np.array([2.0])})
        {'v': array([4.])}
        """
        u, after = self.gain * x, {}
        if self.current_decay is not None:
            after["u"] = u = self.current_decay * state["u"] + u
        return {**after, "v": self.decay * state["v"] + u + self.drift}

    @property
    def memoryless(self) -> bool:
        """Whether nothing is carried from step to step."""
        return self.decay == 0 and self.current_decay is None

    def _fired(self, h: Array) -> Array:
        if self.levels == 1:
            return (h > self.threshold if self.strict else h >= self.threshold).astype(h.dtype)
        graded = np.clip(h / self.threshold, 0, self.levels)
        rounded: Array = np.rint(graded) if self.rounding == "half_even" else np.floor(graded + 0.5)
        return rounded

    def dense_operations(self, *inputs: Type) -> int:
        """One update per neuron."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every neuron is updated in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)
