"""A model that is called once for all time steps, rounding as if it were stepped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from spikeloom.compiler.frontends.torch.along_time import recur
from spikeloom.compiler.frontends.torch.attention import attend_before
from spikeloom.compiler.frontends.torch.capture import Capture
from spikeloom.compiler.frontends.torch.operands import Memory

ATTENTION = "scaled_dot_product_attention"

SLICED = frozenset(
    {"conv1d", "conv2d", "conv3d", "linear", "matmul", "__matmul__", "bmm", "batch_norm", "mean", "sum",
     "layer_norm", "rms_norm", "softmax", "avg_pool2d", "adaptive_avg_pool2d", ATTENTION}
)  # fmt: skip
"""Functions whose float results may depend on how many rows are computed together."""

CURVES = frozenset({"elu", "exp", "gelu", "log_sigmoid", "logsigmoid", "sigmoid", "silu", "softplus", "tanh"})
"""Functions of single numbers that PyTorch rounds differently at the end of a tensor than within."""

PRODUCTS = frozenset({"matmul", "__matmul__", "bmm"})
"""Those whose second argument may have a time axis too; in others it is a weight."""


class OneStepAtATime(TorchFunctionMode):
    """While this is open, layers compute the time steps of their input one after the other.

    A model is then called once for all steps, and still rounds as if it were stepped. Time must be the
    outer part of the first axis, as in [T, B, ...] and [T * B, ...]; in a model whose input has an axis
    of time, it may also be axis 1 behind the samples, or the last of [B, channels, T]. A linear memory
    that is computed in frequencies is computed by its recurrence.

    Args:
        steps, batch: of the input; a batch that is a multiple of the steps could be taken for them.
        found: what was captured of the model.
    """

    def __init__(self, steps: int, batch: int, found: Capture | None = None) -> None:
        super().__init__()
        if steps > 1 and batch % steps == 0:
            raise ValueError(f"a batch of {batch} cannot be told from {steps} steps")
        self._steps, self._batch = steps, batch
        self._timed = found is not None and found.input_shape.lead.has_time
        self._lasting = {steps}
        self._memories: tuple[Memory, ...] = ()
        if found is not None:
            self._lasting |= {steps + more for more in found.graph.overtime.values()}
            self._memories = found.memories
        self._spectra: list[tuple[Tensor, Tensor, Memory | None]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Slice the tensors that have a time axis, call, and join the results."""
        keywords = dict(kwargs or {})
        name = func.__name__
        if self._memories and name in ("fft_rfft", "fft_irfft", "mul", "__mul__"):
            return self._in_frequencies(func, args, keywords)
        if name == "conv1d" and self._timed and (along := _Window.of(args, keywords, self)) is not None:
            return torch.cat([func(window, *along.stored) for window in along.windows()], -1)
        if name == ATTENTION and self._attends_before(*args[:1]):
            return attend_before(args, keywords)
        if name not in SLICED | CURVES or not args:
            return func(*args, **keywords)
        axis = self._volume(*args[:2]) if name == "conv3d" else self._axis(name, args[0])
        if axis is None and (name in CURVES or name in ("layer_norm", "rms_norm")):
            axis = self._among(args[0])
        if _reduces_time(func, args, keywords, axis):
            return func(*args, **keywords)
        if axis is None:
            return func(*args, **keywords)
        return self._sliced(func, axis, args, keywords)

    def lasts(self, steps: int) -> bool:
        """Whether that is a number of time steps of a value."""
        return steps in self._lasting

    def is_batch(self, size: int) -> bool:
        """Whether that is the number of samples."""
        return size == self._batch

    def _sliced(self, func: Any, axis: int, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Tensor:
        size = args[0].shape[axis]
        count = size if axis else self._count(args[0])
        operands = {ATTENTION: 3}.get(func.__name__, 2 if func.__name__ in PRODUCTS else 1)
        sliced = [a.ndim > axis and a.shape[axis] == size and a.ndim > 1 for a in args[:operands]]
        columns = [
            [
                part.contiguous() if axis else part for part in a.chunk(count, axis)
            ]  # as one step lies in memory
            if index < operands and sliced[index]
            else (a,) * count
            for index, a in enumerate(args)
        ]
        return torch.cat([func(*row, **keywords) for row in zip(*columns, strict=True)], axis)

    def _axis(self, name: str, x: Any) -> int | None:
        """Where time stands in a tensor."""
        if self._steps == 1 or not isinstance(x, Tensor) or x.ndim < 2:
            return None
        if self._count(x):
            return 0
        if not self._timed or not self.is_batch(x.shape[0]):
            return None
        if name == "batch_norm":
            return x.ndim - 1 if x.ndim == 3 and self.lasts(x.shape[-1]) else None
        return 1 if self.lasts(x.shape[1]) else None

    def _attends_before(self, x: Tensor) -> bool:
        """Whether tokens [B, heads, T, features] attend along time."""
        timed = self._steps > 1 and self._timed and x.ndim == 4 and self.is_batch(len(x))
        return timed and self.lasts(x.shape[2]) and not self.lasts(x.shape[1])

    def _among(self, x: Any) -> int | None:
        """Where time stands behind the samples, among a sample's own axes."""
        if self._steps == 1 or not self._timed or not isinstance(x, Tensor) or not self.is_batch(len(x)):
            return None
        return next((axis for axis in range(1, x.ndim) if self.lasts(x.shape[axis])), None)

    def _volume(self, x: Tensor, weight: Tensor) -> int | None:
        """Where time stands in a volume: along it, the kernel has one element."""
        if self._steps == 1 or not self.is_batch(x.shape[0]):
            return None
        places = (n for n in (4, 3, 2) if weight.shape[n] == 1 and self.lasts(x.shape[n]))
        return next(places, None)

    def _count(self, x: Tensor) -> int:
        """The time steps in the first axis; 0 if it is none."""
        if x.shape[0] % self._steps == 0:
            return self._steps
        fitting = (n for n in self._lasting if x.shape[0] in (n, n * self._batch))
        return next(fitting, 0)

    def _in_frequencies(self, func: Any, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        """Follow a transform, a product with a kernel, and compute the way back by the recurrence."""
        if func.__name__ == "fft_rfft":
            result = func(*args, **keywords)
            self._spectra.append((result, args[0], None))
            return result
        known = [entry for entry in self._spectra if any(entry[0] is a for a in args)]
        if not known:
            return func(*args, **keywords)
        ((_, u, memory),) = known
        if func.__name__ == "fft_irfft":
            assert memory is not None
            points = keywords.get("n", args[1] if len(args) > 1 else None)
            return _by_recurrence(memory, u, points)
        result = func(*args, **keywords)
        kernel = next(a for a in args if a is not known[0][0])
        (memory,) = (m for m in self._memories if torch.equal(m.kernel, kernel.reshape(m.kernel.shape)))
        self._spectra.append((result, u, memory))
        return result


@dataclass(frozen=True)
class _Window:
    """A convolution along the last axis, time: its windows one after the other, and what is stored."""

    x: Tensor
    stored: tuple[Any, ...]
    taps: int
    dilation: int
    steps: int

    @staticmethod
    def of(args: tuple[Any, ...], keywords: Mapping[str, Any], mode: OneStepAtATime) -> _Window | None:
        """None if the convolution is not along time."""
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        given = {**dict(zip(names, args, strict=False)), **keywords}
        x, weight = given["input"], given["weight"]
        single = {
            name: value[0] if isinstance(value, (tuple, list)) else value for name, value in given.items()
        }
        padding, dilation = single.get("padding", 0), single.get("dilation", 1)
        taps = weight.shape[2]
        steps = x.shape[-1] + 2 * padding - dilation * (taps - 1)
        if x.ndim != 3 or not mode.is_batch(x.shape[0]) or not mode.lasts(steps):
            return None
        stored = (weight, given.get("bias"), 1, 0, 1, given.get("groups", 1))
        return _Window(functional.pad(x, (padding, padding)), stored, taps, dilation, steps)

    def windows(self) -> Iterator[Tensor]:
        """What each step looks at, [batch, channels, taps]."""
        for step in range(self.steps):
            span = slice(step, step + self.dilation * (self.taps - 1) + 1, self.dilation)
            yield self.x[:, :, span].contiguous()


def _by_recurrence(memory: Memory, u: Tensor, points: int) -> Tensor:
    """The states [batch, n, points] of a memory for inputs [batch, 1, steps]; zeros after them."""
    m = torch.zeros(len(u), len(memory.matrix))
    states = []
    for now in u.unbind(-1):
        m = recur(memory.matrix, m, functional.linear(now.contiguous(), memory.given) * 1.0)
        states.append(m)
    return functional.pad(torch.stack(states, -1), (0, points - len(states)))


def _reduces_time(func: Any, args: tuple[Any, ...], keywords: Mapping[str, Any], time: int | None) -> bool:
    if func.__name__ not in ("mean", "sum", "softmax"):
        return False
    dims = keywords.get("dim", args[1] if len(args) > 1 else None)
    listed = [dims] if isinstance(dims, int) else dims
    return listed is None or any(axis % args[0].ndim == (time or 0) for axis in listed)
