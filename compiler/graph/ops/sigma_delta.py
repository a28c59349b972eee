"""A neuron that sends how its activation changed: sigma-delta coding in integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.arithmetic import is_integer
from spikeloom.compiler.graph.kinds import Type, current
from spikeloom.compiler.graph.op import Array, RuleBrokenError, StatefulOp, Work, register

STATE_LIMIT = 2**23 - 1
"""The largest magnitude of the sum: 24 bits with sign, as the chip's states have."""
WRAP = 2**24
"""What arrives in a step is known up to multiples of it, as in a dendritic accumulator of 24 bits."""


@register
@dataclass(frozen=True, eq=False)
class SigmaDelta(StatefulOp):
    """Sums what arrives, applies ReLU, and sends by how much that differs from what was sent so far.

        a <- wrap(x) << input_shift
        sigma <- clip(sigma + a, +-STATE_LIMIT)     if integrates ;  sigma <- a  otherwise
        act <- max(sigma + bias, 0)                 if rectifies ;  act <- sigma + bias  otherwise
        d <- act - sent ;  m <- d where |d| >= threshold, else 0 ;  sent <- sent + m
        y <- clip(m >> output_shift, +-limit)

    Messages are numbers of either sign, and 0 where little changed. These are the fixed-point models
    ``SigmaDelta`` and ``Delta`` of lava-nc 0.10.0 (``proc/sdn/models.py``), whose activation less its
    residue is ``sent`` here. Lava keeps 32 bits; the two clips and ``wrap``, into 24 bits with sign, are what
    the chip holds, and part of the meaning where a number is so large. As in Lava, the digits that the
    shift drops from a message are not sent later.

    Attributes:
        threshold: state units.
        bias: integers that broadcast against the input, in state units.
        output_shift: binary digits of the state below one unit of a message.
        input_shift: likewise, of the input.
        integrates: whether inputs are changes, to be summed; else they are the value itself.
        rectifies: whether the activation is ReLU; else the identity.
        limit: the largest magnitude of a message.

    >>> op = SigmaDelta(threshold=8, bias=np.array(0), output_shift=1)
    >>> state, sent = {name: np.zeros((1, 1), np.int64) for name in ("sigma", "sent")}, []
    >>> for change in (6, 4, 0, -20):
    ...     (y,), state = op.step((np.array([[change]]),), state)
    ...     sent.append(int(y[0, 0]))
    >>> sent
    [0, 5, 0, -5]
    """

    name: ClassVar[str] = "sigma_delta"
    work: ClassVar[Work] = "addition"

    threshold: int
    bias: Array
    output_shift: int
    input_shift: int = 0
    integrates: bool = True
    rectifies: bool = True
    limit: int = 2**15 - 1

    def infer(self, *inputs: Type) -> tuple[Type, ...]:
        """Integers to messages of the same shape, within the limit on both sides."""
        (x,) = inputs
        if not x.kind.is_integer or not is_integer(self.bias):
            raise RuleBrokenError(f"needs integers, not {x}")
        if self.threshold < 0 or self.output_shift < 0 or self.input_shift < 0 or not 0 < self.limit < 2**23:
            raise RuleBrokenError(f"a threshold of {self.threshold}, or another setting, is out of range")
        try:
            fits = np.broadcast_shapes(x.shape, self.bias.shape) == x.shape
        except ValueError:
            fits = False
        if not fits:
            raise RuleBrokenError(f"the bias {self.bias.shape} does not broadcast against {x}")
        arrives = max(map(abs, x.kind.bounds))
        if arrives >= 2**31 - WRAP or self._largest_activation(x) >= 2**25:
            raise RuleBrokenError(f"{x} with biases up to {int(np.abs(self.bias).max())} leaves the state")
        return (Type(x.shape, current(-self.limit, self.limit)),)

    def states(self, *inputs: Type) -> dict[str, Type]:
        """The sum of what arrived, where it is one, and the sum of what was sent."""
        (x,) = inputs
        sent = self._largest_activation(x)
        held = {"sigma": Type(x.shape, current(-STATE_LIMIT, STATE_LIMIT))} if self.integrates else {}
        return held | {"sent": Type(x.shape, current(-sent, sent))}

    def step(
        self, inputs: tuple[Array, ...], state: dict[str, Array]
    ) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Sum, rectify, compare, send."""
        value, after = wrapped(inputs[0].astype(np.int64)) << self.input_shift, {}
        if self.integrates:
            value = np.clip(state["sigma"] + value, -STATE_LIMIT, STATE_LIMIT)
            after["sigma"] = value
        activation = value + self.bias
        if self.rectifies:
            activation = np.maximum(activation, 0)
        change = activation - state["sent"]
        message = np.where(np.abs(change) >= self.threshold, change, 0)
        after["sent"] = state["sent"] + message
        return (np.clip(message >> self.output_shift, -self.limit, self.limit),), after

    def dense_operations(self, *inputs: Type) -> int:
        """One update per element."""
        return inputs[0].size

    def operations(self, *inputs: Array) -> NDArray[np.int64]:
        """Every element is updated in every step."""
        return np.full(len(inputs[0]), inputs[0][0].size, np.int64)

    def _largest_activation(self, x: Type) -> int:
        """The largest magnitude of an activation, and so of what was sent."""
        arrives = min(max(map(abs, x.kind.bounds)), WRAP // 2) << self.input_shift
        if arrives >= 2**30:
            raise RuleBrokenError(f"{x} shifted by {self.input_shift} leaves 31 bits")
        return (STATE_LIMIT if self.integrates else arrives) + int(np.abs(self.bias).max(initial=0))


def wrapped(sums: Array) -> Array:
    """Sums as an accumulator of 24 bits with sign holds them.

    >>> wrapped(np.array([5, 2**23, -(2**23) - 1])).tolist()
    [5, -8388608, 8388607]
    """
    held: Array = (sums + WRAP // 2) % WRAP - WRAP // 2
    return held
