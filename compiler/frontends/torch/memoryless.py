"""Graded neurons without a memory, known by what they do: round(clip(gain x, 0, levels)) / divisor.

Spike-driven Transformer V3 and QSD-Transformer train such quantizers in the place of neurons, and write
them in different ways, with different rounding. A module is taken for one if it has no parameters, works
element by element, and rises in equal steps at (k - 1/2) / gain.
"""

from __future__ import annotations

import copy
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from spikeloom.compiler.graph.ops.neuron import Neuron

REACH = 64.0
POINTS = 4096
MOST_LEVELS = 64
BISECTIONS = 60
TOLERANCE = 1e-6

_KNOWN: WeakKeyDictionary[nn.Module, Neuron | None] = WeakKeyDictionary()


def identify(module: nn.Module) -> Neuron | None:
    """The equation of a module that is such a neuron; None for any other.

    >>> class Quantizer(nn.Module):
    ...     def forward(self, x: Tensor) -> Tensor:
    ...         return torch.round(torch.clamp(x, 0, 4)) / 4
    >>> found = identify(Quantizer())
    >>> found.levels, found.gain, found.divisor, found.rounding
    (4, 1.0, 4.0, 'half_even')
    >>> identify(nn.ReLU()) is None
    True
    """
    if module not in _KNOWN:
        _KNOWN[module] = _identify(module)
    return _KNOWN[module]


def _identify(module: nn.Module) -> Neuron | None:
    own = not type(module).__module__.startswith("torch.")
    bare = not any(True for _ in module.parameters()) and not any(True for _ in module.buffers())
    if not own or not bare or hasattr(module, "v_threshold"):
        return None
    try:
        twin = copy.deepcopy(module).eval()
        return _fit(twin)
    except Exception:  # whatever the module's own code raises: it is something else
        return None


def _fit(module: nn.Module) -> Neuron | None:
    grid = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
    seen = _values(module, grid)
    steps = torch.unique(seen)
    levels = len(steps) - 1
    if not 2 <= levels <= MOST_LEVELS or steps[0] != 0 or (seen.diff() < 0).any():
        return None
    step = float(steps[-1]) / levels
    if (steps - step * torch.arange(levels + 1)).abs().max() > TOLERANCE * step:
        return None
    edges = [_edge(module, grid, seen, (k - 0.5) * step) for k in range(1, levels + 1)]
    gain = (levels - 1) / (edges[-1] - edges[0])
    off = [abs(gain * edge - (k - 0.5)) for k, edge in enumerate(edges, 1)]
    if max(off) > TOLERANCE:
        return None
    gain = round(gain) if abs(gain - round(gain)) < TOLERANCE else gain
    ties = torch.tensor([(k - 0.5) / gain for k in range(1, levels + 1)], dtype=torch.float64)
    up = (_values(module, ties) / step).round() == torch.arange(1, levels + 1)
    even = torch.arange(1, levels + 1) % 2 == 0
    rounding: Any = "half_up" if bool(up.all()) else "half_even" if bool((up == even).all()) else None
    if rounding is None:
        return None
    return Neuron(0.0, float(gain), 1.0, levels=levels, rounding=rounding, divisor=round(1 / step, 9))


@torch.no_grad()
def _values(module: nn.Module, x: Tensor) -> Tensor:
    """What the module makes of each number; refused if its neighbours change that."""
    y: Tensor = module(x.reshape(1, 1, 1, -1))
    turned: Tensor = module(x.flip(0).reshape(1, 1, -1, 1))
    if y.shape != (1, 1, 1, len(x)) or not torch.equal(turned.reshape(-1).flip(0), y.reshape(-1)):
        raise ValueError("it does not work element by element")
    return y.reshape(-1)


def _edge(module: nn.Module, grid: Tensor, seen: Tensor, half: float) -> float:
    """Where the values rise over ``half``."""
    first = int((seen > half).to(torch.int8).argmax())
    low, high = float(grid[first - 1]), float(grid[first])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = bool(_values(module, torch.tensor([middle], dtype=torch.float64))[0] > half)
        low, high = (low, middle) if above else (middle, high)
    return high
