"""What the machine could do at best: measured at the start of every benchmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import process_time

import numpy as np

from spikeloom.benchmarks.networks import BenchNetwork

_SECONDS = 0.3


@dataclass(frozen=True)
class Limits:
    """Of one core.

    Attributes:
        products: 8-bit products a second, of the best of several large dense products.
        bandwidth: bytes a second that are read from memory.
        update: seconds for one neuron update whose data is in the cache.
    """

    products: float
    bandwidth: float
    update: float

    def to_json(self) -> dict[str, float]:
        """As a JSON object."""
        return asdict(self)

    def of(self, network: BenchNetwork) -> float:
        """Seconds that a dense execution of a run of the network needs at least.

        The products at the peak, or the weights from memory where that takes longer, and the updates.
        Activity that is skipped can go below it.
        """
        reads = len(network.frames) if network.streamed else 1
        work = max(network.products / self.products, reads * network.weights / self.bandwidth)
        return work + network.updates * self.update


def measure_limits() -> Limits:
    """Measure them, in about two seconds."""
    return Limits(_products(), _bandwidth(), _update())


def _fastest(function: Callable[[], object]) -> float:
    """Seconds of the fastest of the calls that fit the time."""
    function()
    best, end = float("inf"), process_time() + _SECONDS
    while process_time() < end:
        start = process_time()
        function()
        best = min(best, process_time() - start)
    return best


def _products() -> float:
    from spikeloom.compiler.graph.kinds import SPIKES
    from spikeloom.runtime.engines.event.dense import Product

    rng = np.random.default_rng(0)
    rates = []
    for rows, inputs, outputs in ((512, 1024, 1024), (1024, 512, 512), (256, 2048, 2048)):
        x = rng.integers(0, 2, (rows, inputs), np.uint8)
        y = np.empty((rows, outputs), np.int32)
        run = Product.of(rng.integers(-127, 128, (inputs, outputs), np.int8), None, SPIKES).bind(x, y)
        rates.append(rows * inputs * outputs / _fastest(run))
    return max(rates)


def _bandwidth() -> float:
    block = np.ones(2**25, np.int64)
    return block.nbytes / _fastest(lambda: block.max())


def _update() -> float:
    from spikeloom.runtime.engines.event.kernels.neuron import fire_one_level

    lead = (4, 1, 8, 384)
    x, spikes = np.zeros(lead, np.int32), np.empty(lead, np.uint8)
    v = np.zeros(lead[1:], np.int32)
    theta, bias = np.full((1, 384), 100, np.int32), np.zeros((1, 384), np.int32)
    counts, share = np.empty((4, 1), np.int64), np.array([0.5], np.float32)

    def run() -> None:
        for _ in range(20):
            fire_one_level(x, v, theta, bias, False, share, 64, False, spikes, counts)

    return _fastest(run) / (20 * x.size)
