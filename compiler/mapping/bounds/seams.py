"""How few messages need layers with windows: a core has room for so many neurons, and its tiles have seams.

Two bounds, both over whole cores. Each looks for prices such that on no core the neurons there, each at its
price, are worth more than the spikes that arrive. Then what all neurons are worth is at most what arrives on
all cores, whatever their number.

*A window over all channels*, S to T. On a core let T have t neurons, at most u of which share a position
(what synaptic memory holds of the kernel's outputs), and let S have s. With C channels of S, the core hears
at least C F(t / u) of it, F being the fewest positions that so many positions read (`windows.py`). If

    p t - q s <= max(C F(t / u) - s, 0)    for all t + s <= neurons of a core

the messages are at least p |T| - q |S|. The worst s is the largest, so that p follows from q.

*A window over each channel by itself*, S to D, where S reads all channels of X. If a core holds S at b
positions, it hears at least C F'(b) spikes of X, with C channels of X: that pays only if S has many channels
there, while D wants many positions of few. Let d and w be the neurons of D and S of one channel, w <= b. With
the rate r of S, and any x up to that of X, if

    p d - r (F(d) - w) - q w <= x C F'(b) (l / channels + (1 - l) (d + w) / neurons),    0 <= l <= 1

for every channel, then in sum over the channels of a core, of which there are at most so many and which share
its neurons, the worth p d - q w is at most what arrives. Messages of S and X together are at least
p |D| - q |S| - x |X|, since each spike of X can be heard once where it comes from. p is the largest for which
this holds with w = 0. Both sides are linear in w, so that the largest w gives q.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.mapping.bounds.windows import Windows, windows_of
from spikeloom.compiler.mapping.chip import Chip
from spikeloom.compiler.mapping.network import Network, Population, Projection

Values = NDArray[np.float64]

SHARES = np.linspace(0, 1, 11)
"""What is tried for q, in spikes of a neuron, and for l."""

PARTS = (1.0, 0.5, 0.25)
"""What is tried for x, in rates of X."""

EXACT, CELLS = 64, 256
"""Numbers of neurons are looked at one by one up to so many, then in so many cells, each at its worst end."""


def least_by_seams(network: Network, chip: Chip, population: Population) -> float:
    """Messages before windows over all channels, if every neuron of a population spikes once."""
    return max(
        (
            _over_all(network, chip, population, network.projections[n])
            for n in network.out_of(population.name)
        ),
        default=0.0,
    )


def _over_all(network: Network, chip: Chip, source: Population, projection: Projection) -> float:
    windows = windows_of(projection)
    if windows is None or not windows.whole or projection.target == source.name:
        return 0.0
    target = network.population(projection.target)
    channels = target.size // windows.positions
    inner = windows.inner / windows.positions
    return max(
        _priced(chip, windows, source.size, target.size, channels),
        # beside a border a neuron has fewer weights: only the others are counted
        _priced(
            chip, windows, source.size, inner * target.size, _fitting(network, chip, projection, channels)
        ),
    )


def _priced(chip: Chip, windows: Windows, sources: float, targets: float, together: int) -> float:
    """The worth of all neurons at the best price of a source neuron."""
    held = np.arange(1.0, chip.neurons + 1)
    heard = windows.channels.size * windows.spread(held / together)
    local = np.minimum(chip.neurons - held, heard)
    prices = [float(((heard - (1 - price) * local) / held).min()) for price in SHARES]
    worth = [p * targets - q * sources for p, q in zip(prices, map(float, SHARES), strict=True)]
    return max(0.0, *worth)


def _fitting(network: Network, chip: Chip, projection: Projection, channels: int) -> int:
    """Channels of the target whose weights fit a core, if each has its own."""
    memory = chip.limit("synaptic_memory")
    positions = {axis.target for group in projection.source_axes[1:] for axis in group}
    followed = {axis.target for axis in projection.kernel_axes if axis.target is not None}
    own = prod(projection.target_sizes[axis] for axis in followed) == channels
    if memory is None or followed & positions or not own:
        return channels
    read = (axis.source for axis in projection.kernel_axes if axis.target is None)
    row = prod(1 if number is None else projection.axes[number].taps for number in read)
    bits = row * network.kernel(projection.kernel).bits
    return min(channels, max(memory.value * chip.encoding.word_bits // bits, 1))


def pairs_by_seams(
    network: Network, chip: Chip, rates: Mapping[str, float]
) -> Iterator[tuple[str, str, float]]:
    """Populations S and X before a window over each channel, and messages a step of the two together."""
    for source in network.placed:
        for number in network.out_of(source.name):
            windows = windows_of(network.projections[number])
            if windows is None or not _is_depthwise(network, source, network.projections[number], windows):
                continue
            for name, before in _read_whole(network, source):
                feeder = network.population(name)
                yield source.name, name, _pair(chip, source, windows, feeder, before, rates)


def _is_depthwise(network: Network, source: Population, projection: Projection, windows: Windows) -> bool:
    """Whether each channel of the target, which is another population, reads one channel of the source."""
    axis = windows.channels
    if not axis.is_identity or axis.offset or projection.target == source.name:
        return False
    if axis.target is None or projection.target_sizes[axis.target] != axis.size:
        return False
    return network.population(projection.target).size == source.shape[0] * windows.positions


def _read_whole(network: Network, population: Population) -> Iterator[tuple[str, Windows]]:
    """The populations on cores of which a population reads all channels, at its own rows and columns."""
    for number in network.into(population.name):
        projection = network.projections[number]
        windows = windows_of(projection)
        placed = network.population(projection.source).role != "input"
        if windows is None or not windows.whole or not placed or projection.source == population.name:
            continue
        own = range(len(projection.target_grid[0]), len(projection.target_sizes))
        followed = {axis.target for group in projection.source_axes[1:] for axis in group}
        if followed == set(own) and len(own) == len(population.shape) - 1:
            yield projection.source, windows


def _pair(
    chip: Chip,
    source: Population,
    windows: Windows,
    feeder: Population,
    before: Windows,
    rates: Mapping[str, float],
) -> float:
    low, high = _cells(chip.neurons)
    rate, channels = rates[source.name], source.shape[0]
    most = min(chip.neurons, windows.positions)
    price = rate * float(windows.spread(np.array([float(most)]))[0]) / most
    least, largest = low[low <= most], np.minimum(high[low <= most], most)
    needs, needs_most = windows.spread(least)[:, None], windows.spread(largest)[:, None]
    own = np.minimum(low, needs)
    share = (least[:, None] + own) / chip.neurons
    saved = np.minimum(
        price * largest[:, None] - rate * np.maximum(needs - high, 0), rate * np.minimum(high, needs_most)
    )
    best = 0.0
    for part in PARTS:
        arriving = part * rates[feeder.name] * before.channels.size * before.spread(low)
        wanted = [
            np.where(share <= 1, (saved - arriving * (even / channels + (1 - even) * share)) / own, 0).max(0)
            for even in SHARES
        ]
        worth = price * channels * windows.positions - part * rates[feeder.name] * feeder.size
        best = max(best, worth - max(float(np.min(wanted, 0).max()), 0.0) * source.size)
    return best


def _cells(most: int) -> tuple[Values, Values]:
    """Cells of the numbers from 1 to ``most``: the least and the largest number of each."""
    fine = np.arange(1, min(EXACT, most) + 1)
    low = np.unique(np.concatenate([fine, np.geomspace(1, most, CELLS).astype(int)]))
    return low.astype(float), np.append(low[1:] - 1, most).astype(float)
