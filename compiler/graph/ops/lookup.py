"""A function of single integers, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import check_accumulator, is_integer
from spikeloom.compiler.graph.kinds import Type, current
from spikeloom.compiler.graph.op import Array, Op, RuleBrokenError, Work, register


@register
@dataclass(frozen=True, eq=False)
class Lookup(Op):
    """y = table[clip(x, lo, lo + len(table) - 1) - lo]: sigmoid, exponential ... of fixed-point numbers.

    Attributes:
        lo: the integer of the first entry.
        table: integers [n].

    >>> Lookup(-1, np.array([5, 0, 7])).evaluate(np.array([[-9, 0, 1]]))
    (array([[5, 0, 7]]),)
    """

    name: ClassVar[str] = "lookup"
    work: ClassVar[Work] = "host"

    lo: int
    table: Array

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Integers to integers of the same shape, those that the reachable entries hold."""
        (x,) = inputs
        if not x.kind.is_integer or not is_integer(self.table) or self.table.ndim != 1 or not len(self.table):
            raise RuleBrokenError(f"a table {self.table.dtype}{self.table.shape} does not take {x}")
        first, last = self._place(np.array(x.kind.bounds))
        reached = self.table[first : last + 1]
        low, high = int(reached.min()), int(reached.max())
        check_accumulator(low, high)
        return (Type(x.shape, current(low, high)),)

    def evaluate(self, *inputs: Array) -> tuple[Array, ...]:
        """Look up."""
        return (self.table.astype(np.int64)[self._place(inputs[0])],)

    def dense_operations(self, *inputs: Type) -> int:
        """One per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element, whatever it is."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)

    def _place(self, x: Array) -> Array:
        return np.clip(x.astype(np.int64) - self.lo, 0, len(self.table) - 1)
