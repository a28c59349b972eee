"""Numbers in the arguments of a recording that are sizes: products of time steps, samples and a constant.

Two recordings of other sizes tell: a number that is 15 with 5 steps of 3 samples and 14 with 7 of 2 is steps
times samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spikeloom.compiler.frontends.torch.recorded.file import Recording

POWERS = ((1, 0), (0, 1), (1, 1))


class DifferentCallsError(Exception):
    """Two recordings are not the same calls with other sizes; the text says where."""


@dataclass(frozen=True)
class Size:
    """``factor`` times the steps, the samples, or both."""

    factor: int
    of_steps: int
    of_batch: int

    def at(self, steps: int, batch: int) -> int:
        """The number for these sizes.

        >>> Size(2, 1, 1).at(5, 3)
        30
        """
        return int(self.factor * steps**self.of_steps * batch**self.of_batch)


def same_calls(first: Recording, second: Recording) -> Recording:
    """Both recordings as one, with a :class:`Size` for each number that differs between them.

    Raises:
        DifferentCallsError: they differ in more than sizes.
    """
    if len(first.calls) != len(second.calls) or first.output != second.output:
        raise DifferentCallsError(f"{len(first.calls)} and {len(second.calls)} calls")
    calls = []
    for a, b in zip(first.calls, second.calls, strict=True):
        try:
            calls.append({key: _merged(a[key], b[key], first, second) for key in a})
        except (DifferentCallsError, KeyError) as error:
            name = a.get("function", "a neuron layer")
            raise DifferentCallsError(f"{a.get('file')}:{a.get('line')}: {name}: {error}") from error
    return Recording(first.steps, first.batch, calls, first.output)


def _merged(a: Any, b: Any, first: Recording, second: Recording) -> Any:
    if isinstance(a, Mapping) and isinstance(b, Mapping) and a.keys() == b.keys():
        return {key: _merged(a[key], b[key], first, second) for key in a}
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [_merged(x, y, first, second) for x, y in zip(a, b, strict=True)]
    if type(a) is type(b) and a == b:
        return a
    if type(a) is int and type(b) is int:
        for steps, batch in POWERS:
            unit = first.steps**steps * first.batch**batch, second.steps**steps * second.batch**batch
            factor = a // unit[0]
            if unit[0] != unit[1] and (factor * unit[0], factor * unit[1]) == (a, b):
                return Size(factor, steps, batch)
    raise DifferentCallsError(f"{a!r} and {b!r}")
