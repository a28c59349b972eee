"""A sample, and samples in a fixed order: each a sequence of frames, maybe labelled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from spikeloom.compiler.graph.op import Array
from spikeloom.errors import InputError, Problem, counted
from spikeloom.runtime.events.stream import DropReport

_BAD_SAMPLES = 20


@dataclass(frozen=True, eq=False)
class Sample:
    """One input of the network.

    Attributes:
        name: unique within its source.
        frames: [T, ...], one frame a time step: uint8, or wider where they hold tokens.
        label: its class, or None.
        report: what was dropped while the frames were made.
    """

    name: str
    frames: Array
    label: int | None = None
    report: DropReport = field(default_factory=DropReport)


class Samples(ABC):
    """Samples in a fixed order, each made when it is asked for; its errors are raised then.

    Attributes:
        names: the samples' names, known without making them.
    """

    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return self._sample(range(len(self))[index])

    def __iter__(self) -> Iterator[Sample]:
        return self.at(range(len(self)))

    def at(self, indices: Sequence[int]) -> Iterator[Sample]:
        """The samples at these indices, in this order.

        Raises:
            InputError: a sample cannot be made; those after it are made too, to name what is wrong with
                them all, until :data:`_BAD_SAMPLES` are bad.
        """
        for place, index in enumerate(indices):
            try:
                sample = self[index]
            except InputError as error:
                raise self._all(error, indices[place + 1 :]) from error
            yield sample

    def _all(self, error: InputError, indices: Sequence[int]) -> InputError:
        """The error of a sample, with what is wrong with the samples after it."""
        problems = [*error.problems]
        bad = 1
        for place, index in enumerate(indices):
            if bad == _BAD_SAMPLES:
                what = f"{counted(len(indices) - place, 'more sample')} not looked at"
                problems.append(Problem(problems[-1].code, self.names[index], what))
                break
            try:
                self[index]
            except InputError as another:
                problems += another.problems
                bad += 1
        return InputError(problems)

    def followed_by(self, empty: Array) -> Samples:
        """The same samples, each with these empty frames [n, ...] behind it, on which a network runs on."""
        return _Followed(self, empty) if len(empty) else self

    @abstractmethod
    def _sample(self, index: int) -> Sample:
        """Make the sample at ``index``, 0 ≤ index < len(self)."""


class _Followed(Samples):
    def __init__(self, samples: Samples, empty: Array) -> None:
        self.names = samples.names
        self._samples, self._empty = samples, empty

    def _sample(self, index: int) -> Sample:
        sample = self._samples[index]
        return replace(sample, frames=np.concatenate([sample.frames, self._empty]))
