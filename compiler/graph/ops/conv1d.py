"""Convolution along one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spikeloom.compiler.graph.convolution import Convolution
from spikeloom.compiler.graph.op import register


@register
@dataclass(frozen=True, eq=False)
class Conv1d(Convolution):
    """Cross-correlation of [channels, length]; a kernel of 1 is a linear map of every token."""

    name: ClassVar[str] = "conv1d"
    axes: ClassVar[int] = 1
