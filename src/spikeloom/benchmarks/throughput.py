"""Samples a second with all threads of the machine, each contender at the batch that suits it best."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.benchmarks.float_onnx import float_session
from spikeloom.benchmarks.networks import BenchNetwork
from spikeloom.benchmarks.peers import Contender, torch_peers
from spikeloom.runtime.engines.event.engine import EventEngine
from spikeloom.runtime.session import run_from_reset

BATCHES = (1, 8, 32)
_ROUNDS = 3


def throughput(network: BenchNetwork, event: str, float_onnx: str, compiles: bool) -> dict[str, Any]:
    """By contender: samples a second by the clock at the best of :data:`BATCHES`, and that batch.

    ONNX Runtime's float graph is made for one sample; all contenders run in turn, batch by batch.
    """
    threads = os.cpu_count() or 1
    engine = EventEngine(network.graph, threads, records=False)
    runs: dict[str, Contender] = {event: lambda frames: run_from_reset(engine, frames).output}
    single = {float_onnx: float_session(network, threads)}
    runs |= torch_peers(network, compiles, threads)
    rates: dict[str, tuple[float, int]] = {}
    for batch in BATCHES:
        frames = np.repeat(network.frames, batch, axis=1)
        for name, rate in _rates({**(single if batch == 1 else {}), **runs}, frames, perf_counter).items():
            rates[name] = max(rates.get(name, (0.0, batch)), (rate, batch))
    found = {name: {"samples_a_second": rate, "batch": batch} for name, (rate, batch) in rates.items()}
    return {"threads": threads, "contenders": found}


def _rates(
    runs: Mapping[str, Contender], frames: NDArray[np.uint8], clock: Callable[[], float]
) -> dict[str, float]:
    """Samples a second of each contender: medians over rounds in turn, after a run that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(frames)
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            start = clock()
            run(frames)
            seconds[name].append(clock() - start)
    return {name: frames.shape[1] / median(times) for name, times in seconds.items()}
