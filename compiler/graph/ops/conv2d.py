"""Convolution over two axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.op import register


@register
@dataclass(frozen=True, eq=False)
class Conv2d(Convolution):
    """Cross-correlation of [channels, height, width].

    >>> import numpy as np
    >>> from spikeloom.compiler.graph.kinds import SPIKES, Type
    >>> conv = Conv2d(np.full((1, 1, 3, 3), -2, np.int8), None, (1, 1), (1, 1), (1, 1))
    >>> conv.infer(Type((1, 4, 4), SPIKES))
    (current(-18,0)[1,4,4],)
    """

    name: ClassVar[str] = "conv2d"
    axes: ClassVar[int] = 2
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1, 1)
