"""Convolutions over all of time that a model computes in frequencies: linear memories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from spikeloom.compiler.frontends.torch.axes import OWN, Lead, NoCounterpartError
from spikeloom.compiler.frontends.torch.lowering import Lowering
from spikeloom.compiler.frontends.torch.operands import Memory, Operand, Spectrum
from spikeloom.compiler.frontends.torch.rule import Call, rule
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.ops.linear_state import LinearState

TOLERANCE = 1e-4
"""How far an impulse response, transformed back from float32, may be from that of a memory."""


@rule("fft_rfft", any_layout=True)
def transform(lower: Lowering, call: Call) -> Operand:
    """A value in frequencies, padded so far that nothing comes round to the start again."""
    x, points = call.value("self"), call.arguments["n"]
    steps = lower.sizes[0].steps
    along_time = call.arguments["dim"] % len(x.tags) == len(x.tags) - 1 and x.tags == ("B", OWN, "T")
    if not along_time or x.shape != (1,) or points is None or points < 2 * steps - 1:
        raise NoCounterpartError("it is no transform of one channel along time, padded to twice its steps")
    return Spectrum(x)


def filtered(a: Operand, b: Operand) -> Spectrum:
    """A product of frequencies: a convolution."""
    spectrum, kernel = (a, b) if isinstance(a, Spectrum) else (b, a)
    assert isinstance(spectrum, Spectrum)
    if spectrum.kernel is not None or not isinstance(kernel, Tensor) or kernel.ndim != 3 or len(kernel) != 1:
        raise NoCounterpartError("frequencies are multiplied by something else than a kernel [1, n, points]")
    return replace(spectrum, kernel=kernel[0])


@rule("fft_irfft", any_layout=True)
def transform_back(lower: Lowering, call: Call) -> Operand:
    """The recurrence m <- A m + B u whose impulse response is the kernel."""
    spectrum, points = call.arguments["self"], call.arguments["n"]
    if not isinstance(spectrum, Spectrum) or spectrum.kernel is None or points is None:
        raise NoCounterpartError("it transforms something back that is no convolution")
    steps = lower.sizes[0].steps
    memory = _find_memory(spectrum.kernel, points, steps, lower.buffers.values())
    if memory not in lower.memories:
        lower.memories.append(memory)
    x = spectrum.value
    step = replace(x, lead=Lead.BATCH, spread=())
    recurrence = LinearState(memory.matrix.numpy(), np.ones((), np.float32))
    (driven,) = lower.emit(call, Linear(memory.given.numpy()), step, lead=Lead.BATCH)
    (m,) = lower.emit(call, recurrence, driven, lead=Lead.BATCH)
    return replace(m, lead=x.lead, spread=x.spread, margin=(0, points - steps))


def _find_memory(kernel: Tensor, points: int, steps: int, buffers: Iterable[list[Tensor]]) -> Memory:
    """The matrices A and B, stored in one module, whose impulse response B, A B, A A B ... a kernel is.

    Raises:
        NoCounterpartError: no module stores them.
    """
    response = torch.fft.irfft(kernel, n=points)[:, :steps].double()
    n = len(response)
    for stored in buffers:
        real = [buffer for buffer in stored if not buffer.is_complex()]
        matrices = [buffer for buffer in real if buffer.shape == (n, n)]
        vectors = [buffer for buffer in real if buffer.shape == (n, 1)]
        for matrix in matrices:
            for vector in vectors:
                if _responds(matrix.double(), vector.double(), response):
                    return Memory(kernel, matrix.contiguous(), vector.contiguous())
    raise NoCounterpartError(
        "no module stores matrices A and B of a memory m <- A m + B u with this impulse response"
    )


def _responds(matrix: Tensor, vector: Tensor, response: Tensor) -> bool:
    """Whether a memory has that impulse response [n, steps]."""
    scale = response.abs().max()
    for wanted in response.T:
        if not bool((vector[:, 0] - wanted).abs().max() <= TOLERANCE * scale):
            return False
        vector = matrix @ vector
    return True
