"""A spiking neuron whose equations its user declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import EXACT_FLOAT64, is_integer
from spikeloom.compiler.graph.equations.expression import EquationError
from spikeloom.compiler.graph.equations.fixed_point import FixedPoint, Integers, Intervals
from spikeloom.compiler.graph.equations.program import Program, read_program
from spikeloom.compiler.graph.equations.real import step_real
from spikeloom.compiler.graph.kinds import Kind, Type, current, levels, sums
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

DRY_BITS, DRY_LIMIT = 8, 2**20
MOST_SENT = 255


@register
@dataclass(frozen=True, eq=False)
class EquationNeuron(StatefulOp):
    """A neuron as its update, fire and reset say (:mod:`spikeloom.compiler.graph.equations`).

        update: assignments, in order ;  s = fire ;  reset: assignments, in order

    In integers every state is a fixed-point number of ``fraction_bits`` binary digits within the limit,
    and the input is brought to that form first:

        x <- (x * gain + bias + half) >> shift,  half = 2**(shift - 1)

    The type rule proves that float64 holds every number in between, whatever the states are.

    Attributes:
        states_at_start: ``"v = 0"`` for each state: its name and where it starts.
        update, fire, reset: the equations; ``x`` is the input, ``s`` the spike.
        parameters: names of constants that differ from channel to channel.
        values: [parameters, ...], the rest broadcasts against the input; or None.
        fraction_bits, limit: of the integer states; 0 in a float graph.
        gain, bias: integers that broadcast against the input; None in a float graph.
        shift: binary digits that the input loses.

    >>> adaptive = EquationNeuron(
    ...     ("v = 0", "a = 0"), ("v = 0.5 * v + x",), "v >= 1 + a", ("v = v - s", "a = 0.5 * a + s")
    ... )
    >>> state, fired = {name: np.zeros(1) for name in "va"}, []
    >>> for _ in range(4):
    ...     (spike,), state = adaptive.step((np.array([1.2]),), state)
    ...     fired.append(int(spike[0]))
    >>> fired
    [1, 0, 1, 0]
    """

    name: ClassVar[str] = "equation_neuron"
    work: ClassVar[Work] = "update"

    states_at_start: tuple[str, ...]
    update: tuple[str, ...]
    fire: str
    reset: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    values: Array | None = None
    fraction_bits: int = 0
    limit: int = 0
    gain: Array | None = None
    bias: Array | None = None
    shift: int = 0

    @cached_property
    def program(self) -> Program:
        """The equations, read.

        Raises:
            RuleBrokenError: they cannot be.
        """
        try:
            return read_program(self.states_at_start, self.update, self.fire, self.reset, self.parameters)
        except EquationError as error:
            raise RuleBrokenError(str(error)) from error

    @property
    def constants(self) -> Mapping[str, Array]:
        """The parameters by name, in float64."""
        rows = () if self.values is None else self.values.astype(np.float64)
        return dict(zip(self.parameters, rows, strict=True))

    @property
    def memoryless(self) -> bool:
        """Whether nothing is carried from step to step."""
        return not self.states_at_start

    @property
    def half(self) -> int:
        """What is added before the shift of the input, so that it rounds to the nearest."""
        return (1 << self.shift) // 2

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Any current to spikes, levels or signed spikes of its shape."""
        (x,) = inputs
        self._check_parameters(x)
        if not x.kind.is_integer or self.limit == 0:
            low, high = self._sent(DRY_BITS, DRY_LIMIT, (-DRY_LIMIT, DRY_LIMIT))[0]
            return (Type(x.shape, _kind(low, high)),)
        self._check_fixed_point(x)
        drive = self._drive_bounds(x)
        (low, high), largest = self._sent(self.fraction_bits, self.limit, drive)
        if max(largest, *map(abs, drive)) >= EXACT_FLOAT64:
            raise RuleBrokenError(f"numbers up to {largest} are not exact in float64")
        return (Type(x.shape, _kind(low, high)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """Those that are declared."""
        shape, kind = inputs[0].shape, current(-self.limit, self.limit)
        real = Kind("real")
        return {name: Type(shape, kind if self.limit else real) for name in self.program.states}

    def initial(self, *inputs: Type) -> dict[str, Array]:
        """Where each is declared to start."""
        one = 2.0**self.fraction_bits
        starts = {name: np.full(inputs[0].shape, start) for name, start in self.program.states.items()}
        if not self.limit:
            return starts
        return {name: np.rint(start * one).astype(np.int64) for name, start in starts.items()}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Update, fire, reset."""
        (x,) = inputs
        if not self.limit:
            spikes, after = step_real(self.program, x, state, self.constants)
            return (spikes,), after
        assert self.gain is not None
        assert self.bias is not None
        drive = (x.astype(np.int64) * self.gain + self.bias + self.half) >> self.shift
        walk = FixedPoint(Integers(), self.fraction_bits, self.limit)
        sent, after = walk.step(self.program, drive, state, self.constants)
        held = {name: np.array(np.broadcast_to(value, x.shape)) for name, value in after.items()}
        return (np.array(np.broadcast_to(sent, x.shape)),), held

    def dense_operations(self, *inputs: Type) -> int:
        """One update per neuron."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every neuron is updated in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)

    def _check_parameters(self, x: Type) -> None:
        stored = 0 if self.values is None else len(self.values)
        if stored != len(self.parameters):
            raise RuleBrokenError(f"{len(self.parameters)} parameters have {stored} values")
        arrays = [*self.constants.values(), *(a for a in (self.gain, self.bias) if a is not None)]
        try:
            fits = np.broadcast_shapes(x.shape, *(array.shape for array in arrays)) == x.shape
        except ValueError:
            fits = False
        if not fits or not all(np.isfinite(array).all() for array in arrays):
            raise RuleBrokenError(f"the parameters do not fit {x}, or are no numbers")

    def _check_fixed_point(self, x: Type) -> None:
        if self.gain is None or self.bias is None or not is_integer(self.gain, self.bias):
            raise RuleBrokenError("an integer neuron needs an integer gain and bias")
        if not 0 <= self.fraction_bits <= 30 or not 0 <= self.shift <= 52 or not 0 < self.limit < 2**31:
            raise RuleBrokenError(
                f"{self.fraction_bits} fraction bits, a shift of {self.shift}, a limit of {self.limit}"
            )
        starts = self.initial(x).values()
        if any(np.abs(start).max() > self.limit for start in starts if start.size):
            raise RuleBrokenError(f"a state starts outside of its limit {self.limit}")

    def _drive_bounds(self, x: Type) -> tuple[int, int]:
        """The interval of the input as a fixed-point number."""
        assert self.gain is not None
        assert self.bias is not None
        ends = [end * int(factor) for end in x.kind.bounds for factor in (self.gain.min(), self.gain.max())]
        low, high = min(ends) + int(self.bias.min()), max(ends) + int(self.bias.max()) + self.half
        if max(-low, high) >= EXACT_FLOAT64:
            raise RuleBrokenError(f"an input within {low}..{high} is not exact in float64")
        return low >> self.shift, high >> self.shift

    def _sent(self, fraction_bits: int, limit: int, drive: tuple[int, int]) -> tuple[tuple[int, int], int]:
        """Bounds of what is sent, and the largest number on the way to it."""
        arithmetic = Intervals()
        states = dict.fromkeys(self.program.states, (-limit, limit))
        walk = FixedPoint(arithmetic, fraction_bits, limit)
        try:
            sent, _ = walk.step(self.program, drive, states, self.constants)
        except (ValueError, OverflowError) as error:
            raise RuleBrokenError(str(error)) from error
        if max(-sent[0], sent[1]) > MOST_SENT:
            raise RuleBrokenError(f"spikes within {sent[0]}..{sent[1]}; {MOST_SENT} are the limit")
        return sent, arithmetic.largest


def _kind(low: int, high: int) -> Kind:
    return levels(max(1, high)) if low >= 0 else sums(low, max(0, high))
