"""Streams without an end: sliding windows over the frames, and when the network is reset."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.accumulate import Accumulate
from spikeloom.compiler.graph.ops.step_affine import StepAffine
from spikeloom.compiler.graph.ops.step_rescale import StepRescale
from spikeloom.compiler.graph.ops.time_gate import TimeGate
from spikeloom.compiler.graph.ops.time_mean import TimeMean
from spikeloom.errors import InputError, Problem, counted

Reset = Literal["window", "never"]

_COUNTS_STEPS = (Accumulate, StepAffine, StepRescale, TimeGate, TimeMean)


@dataclass(frozen=True)
class Windows:
    """Which frames of an endless stream make a window, and what is reset.

    A window is the latest T frames, T being the steps of the recipe; a new one is given every ``stride``
    frames, the first after T.

    - reset «window»: each window is run from rest, so that it gives, to the last bit, what a recording of
      these T frames gives. Frames that lie in several windows are run as often: T / stride times the work.
    - reset «never»: each frame is run once and the state goes on; the evidence of a window is the sum of
      its outputs. Only for networks whose bounds hold for any number of steps.

    Attributes:
        stride: frames from window to window, 1 to T; None for T.
        reset: «window» or «never».
    """

    stride: int | None = None
    reset: Reset = "window"


@dataclass(frozen=True)
class WindowResult:
    """One window of a stream.

    Attributes:
        first_frame: number of its first frame, counted from the stream's first.
        start_us, end_us: times of the stream that it covers, the end excluded; None where frames have no
            duration.
        evidence: for each class, in the model's units.
        prediction: the class with the most evidence.
        spikes: neurons that fired, over all steps of the window, by layer; without resets, over the steps
            since the window before.
    """

    first_frame: int
    start_us: int | None
    end_us: int | None
    evidence: NDArray[np.float64]
    prediction: int
    spikes: Mapping[str, int]


def check_windows(windows: Windows, steps: int, graph: Graph, where: object) -> int:
    """The stride in frames, if windows of these ``steps`` are possible with this network.

    Raises:
        InputError: SL0901, the stride or the reset rule is none; SL0803, the network must be reset and
            is not to be.
    """
    stride = steps if windows.stride is None else windows.stride
    problems = []
    if not 1 <= stride <= steps:
        what = "the stride of windows is malformed"
        problems.append(Problem("SL0901", str(where), what, f"1 to {counted(steps, 'frame')}", str(stride)))
    if windows.reset not in get_args(Reset):
        what = "there is no such reset rule"
        problems.append(Problem("SL0901", str(where), what, " or ".join(get_args(Reset)), str(windows.reset)))
    elif windows.reset == "never":
        problems += needs_resets(graph)
    if problems:
        raise InputError(problems)
    return stride


def needs_resets(graph: Graph) -> list[Problem]:
    """Nodes whose meaning, or whose proof that nothing overflows, ends with the sample."""
    remedy = 'reset it for each window: reset "window"'
    return [
        Problem("SL0803", n.name, f"{n.op.name} runs for a sample and must then be reset", remedy=remedy)
        for n in graph.nodes
        if isinstance(n.op, _COUNTS_STEPS) or getattr(n.op, "horizon", False)
    ]


class Latest:
    """The latest arrays of a stream, ``size`` of them at most.

    >>> latest = Latest(2, (1,), np.int64)
    >>> for number in range(3):
    ...     latest.add(np.array([number]))
    >>> latest.full, latest.stacked().tolist(), int(latest.total()[0])
    (True, [[1], [2]], 3)
    """

    def __init__(self, size: int, shape: tuple[int, ...], dtype: type) -> None:
        self._shape, self._dtype = shape, dtype
        self._held: deque[Array] = deque(maxlen=size)

    @property
    def full(self) -> bool:
        """Whether there are ``size`` of them."""
        return len(self._held) == self._held.maxlen

    def add(self, array: Array) -> None:
        """Take the next, and forget the oldest where there is no room."""
        self._held.append(array)

    def stacked(self) -> Array:
        """All of them [n, ...], oldest first."""
        return np.stack(self._held) if self._held else np.zeros((0, *self._shape), self._dtype)

    def total(self) -> Array:
        """Their sum [...]."""
        return np.asarray(sum(self._held, np.zeros(self._shape, self._dtype)))

    def clear(self) -> None:
        """Forget them all."""
        self._held.clear()

    def refill(self, arrays: Array) -> None:
        """Hold these [n, ...] instead."""
        self._held.clear()
        self._held.extend(arrays)
