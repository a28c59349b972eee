"""A network of points of SpikePoint's kind: maps of points that spike, and the largest over all of them.

SpikePoint (Ren et al., ICLR 2024; no code was found under its name) groups events around centres and lets
spiking maps of points, with shortcuts, compute features that are pooled by their maximum, first in a group
and then over groups. What is grouped (farthest points, nearest neighbours) is chosen outside of the network:
here consecutive events of a window are a group, and a point holds its place in it and the group's mean.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn


class PointMap(nn.Module):
    """A map of each point, batch norm, neurons, on [T, B, channels, points]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = layer.Conv1d(inputs, outputs, 1, bias=False, step_mode="m")
        self.norm = layer.BatchNorm1d(outputs, step_mode="m")
        self.lif = neuron.LIFNode(tau=2.0, detach_reset=True, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        """Spikes."""
        spikes: Tensor = self.lif(self.norm(self.conv(x)))
        return spikes


class Shortcut(nn.Module):
    """Two maps of points, spikes added to spikes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = PointMap(width, width // 2), PointMap(width // 2, width)

    def forward(self, x: Tensor) -> Tensor:
        """Sums of spikes."""
        summed: Tensor = x + self.second(self.first(x))
        return summed


class Points(nn.Module):
    """Clouds [T, B, 4, groups * members] to a number for each class, at each time step."""

    def __init__(self, groups: int, width: int, classes: int) -> None:
        super().__init__()
        self.groups = groups
        self.local = nn.Sequential(PointMap(8, width), Shortcut(width))
        self.whole = nn.Sequential(PointMap(width, 2 * width), Shortcut(2 * width))
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [T, B, classes]."""
        grouped: Tensor = x.unflatten(3, (self.groups, -1))  # type: ignore[no-untyped-call]
        centre = grouped.mean(4, keepdim=True)
        points = torch.cat([grouped - centre, centre.expand_as(grouped)], 2)
        features = self.local(points.flatten(3)).unflatten(3, (self.groups, -1))
        pooled = self.whole(features.amax(4)).amax(3)
        logits: Tensor = self.head(pooled)
        return logits


def build(groups: int = 32, width: int = 64, classes: int = 11) -> nn.Module:
    """A network for clouds of 32 groups."""
    torch.manual_seed(0)
    return Points(groups, width, classes)
