"""The benchmark: engines and peers on the same network, in turn, in one process."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.benchmarks.apart import cost_of_compiling, peak_of_run
from spikeloom.benchmarks.bound import Limits, measure_limits
from spikeloom.benchmarks.float_onnx import float_session
from spikeloom.benchmarks.lava import against_lava
from spikeloom.benchmarks.networks import BenchNetwork, dense_layer, spikformer_8_768
from spikeloom.benchmarks.peers import Contender, missing, torch_peers, unequal, versions
from spikeloom.benchmarks.throughput import throughput
from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.target import find_target
from spikeloom.errors import MismatchError
from spikeloom.runtime.bench import machine
from spikeloom.runtime.engines.event.engine import EventEngine
from spikeloom.runtime.engines.onnx import OnnxEngine
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.runtime.session import run_from_reset

EVENT, ONNX, ONNX_STEP = "event, int8", "onnx, int8", "onnx step by step, int8"
EVENT_STEP = "event step by step, int8"
ORT_FLOAT = "ONNX Runtime, float32"
ORT_INT8 = "ONNX Runtime, int8"
LAYER_SIZES = (1024, 2048, 4096)
_CALLS = 20


@dataclass(frozen=True)
class Race:
    """Times of contenders on one network.

    Attributes:
        network: its name.
        seconds: of each round, by contender.
    """

    network: str
    seconds: Mapping[str, list[float]]

    def ratio(self, peer: str, name: str) -> dict[str, float]:
        """How many times as fast as a peer: median, smallest and largest over the rounds."""
        rounds = [a / b for a, b in zip(self.seconds[peer], self.seconds[name], strict=True)]
        return {"median": median(rounds), "min": min(rounds), "max": max(rounds)}

    def to_json(self, limit: float) -> dict[str, Any]:
        """Each contender with its ratios to every other, and its share of the machine's bound."""
        rows = [
            {
                "name": name,
                "seconds": {"median": median(times), "min": min(times), "max": max(times)},
                "share_of_bound": limit / median(times),
                "times_as_fast_as": {peer: self.ratio(peer, name) for peer in self.seconds if peer != name},
            }
            for name, times in self.seconds.items()
        ]
        return {"network": self.network, "bound_seconds": limit, "contenders": rows}


def run_suite(
    networks: Mapping[str, Callable[[], BenchNetwork]],
    rounds: int,
    compiles: bool,
    say: Callable[[str], None] = lambda text: None,
    sizes: Sequence[int] = LAYER_SIZES,
    large: bool = False,
    lava: bool = False,
) -> dict[str, Any]:
    """Time every network; returns the document that is printed and saved.

    One thread and batch 1, processor time of the process, except for the second core, which is timed by
    the clock. Before a network is timed, its engines are compared with the reference: a difference ends
    the benchmark. The load of the machine (of other processes too, over five minutes) is noted before and
    after. With ``large``, peak memory and the time to compile of Spikformer-8-768 are measured as well;
    with ``lava``, layers under Lava's simulation, where its environment exists.

    Raises:
        MismatchError: SL0802, an engine gives other spikes than the reference.
    """
    load = os.getloadavg()[1]
    say("limits of the machine")
    limits = measure_limits()
    documents = []
    for make in networks.values():
        network = make()
        say(network.name)
        documents.append(_time_network(network, limits, rounds, compiles))
    layers = []
    for size in sizes:
        say(f"layer {size} x {size}")
        layers.append(_time_layer(dense_layer(size), limits, rounds))
    extra: dict[str, Any] = {}
    if large:
        say("peak memory, time to compile")
        extra = {"memory": peak_of_run(spikformer_8_768()), "compile": cost_of_compiling()}
    if lava:
        say("Lava")
        extra["lava"] = against_lava(rounds)
    return {
        **extra,
        "machine": machine(),
        "load": [load, os.getloadavg()[1]],
        "versions": {**versions(), "python": platform.python_version()},
        "missing": missing(),
        "left_out": unequal(),
        "rounds": rounds,
        "limits": limits.to_json(),
        "networks": documents,
        "layers": layers,
    }


def _time_network(network: BenchNetwork, limits: Limits, rounds: int, compiles: bool) -> dict[str, Any]:
    _require_equal(network, _engines(network))
    engines = _engines(network, records=False)  # as no peer keeps the spikes of its layers
    runs: dict[str, Contender] = {name: _from_reset(engine) for name, engine in engines.items()}
    runs[EVENT_STEP] = _step_by_step(engines[EVENT])
    runs[ORT_FLOAT] = float_session(network)
    runs.update(torch_peers(network, compiles and not network.streamed))
    outputs = _outputs(network, runs)
    race = _race(network.name, runs, network.frames, rounds, process_time)
    rates = network.rates.values()
    return {
        **race.to_json(limits.of(network)),
        "steps": len(network.frames),
        "products": network.products,
        "updates": network.updates,
        "weights": network.weights,
        "firing_rates": {"min": min(rates), "max": max(rates)},
        "outputs": outputs,
        "second_core": _second_core(network, rounds),
        "throughput": None if network.streamed else throughput(network, EVENT, ORT_FLOAT, compiles),
    }


def _engines(network: BenchNetwork, records: bool = True) -> dict[str, Engine]:
    files = find_target("onnx").artifacts(network.graph)
    forms = (files["step.onnx"], files["sequence.onnx"], network.graph)
    return {
        EVENT: EventEngine(network.graph, records=records),
        ONNX: OnnxEngine(*forms, records=records),
        ONNX_STEP: OnnxEngine(*forms, mode="step", records=records),
    }


def _require_equal(network: BenchNetwork, engines: Mapping[str, Engine]) -> None:
    """Every spike of every layer is that of the reference, or the figures mean nothing."""
    wanted = run_from_reset(ReferenceEngine(network.graph), network.frames)
    for name, engine in engines.items():
        got = run_from_reset(engine, network.frames)
        layers = [layer for layer in wanted.spikes if (wanted.spikes[layer] != got.spikes[layer]).any()]
        if layers or (wanted.output != got.output).any():
            raise MismatchError.of(
                "SL0802", f"{network.name}, {name}", f"differs in {layers or 'its output'}"
            )


def _from_reset(engine: Engine) -> Contender:
    return lambda frames: run_from_reset(engine, frames).output


def _step_by_step(engine: Engine) -> Contender:
    def run(frames: NDArray[np.uint8]) -> object:
        engine.reset(frames.shape[1])
        return np.concatenate([engine.run(frame[None]).output for frame in frames])

    return run


def _race(
    name: str,
    runs: Mapping[str, Contender],
    frames: NDArray[np.uint8],
    rounds: int,
    clock: Callable[[], float],
    calls: int = 1,
) -> Race:
    """All contenders in turn, round by round, after two runs that do not count."""
    for run in runs.values():
        run(frames)
        run(frames)
    seconds: dict[str, list[float]] = {contender: [] for contender in runs}
    for _ in range(rounds):
        for contender, run in runs.items():
            start = clock()
            for _ in range(calls):
                run(frames)
            seconds[contender].append((clock() - start) / calls)
    return Race(name, seconds)


def _outputs(network: BenchNetwork, runs: Mapping[str, Contender]) -> dict[str, float]:
    """How far the outputs of each contender are from the event engine's, relative to their size.

    Zero for what is exact. A float peer rounds elsewhere, and one spike that flips changes what follows.
    """
    wanted = np.asarray(runs[EVENT](network.frames), np.float64).ravel()
    size = float(np.abs(wanted).mean()) or 1.0
    return {
        name: float(np.abs(np.asarray(run(network.frames), np.float64).ravel() - wanted).mean()) / size
        for name, run in runs.items()
    }


def _second_core(network: BenchNetwork, rounds: int) -> dict[str, float]:
    """Samples a second of two workers over those of one, by the clock, on eight samples."""
    frames = np.repeat(network.frames, 8, axis=1)
    engines = {str(workers): EventEngine(network.graph, workers, records=False) for workers in (1, 2)}
    runs = {name: _from_reset(engine) for name, engine in engines.items()}
    return _race(network.name, runs, frames, rounds, perf_counter).ratio("1", "2")


def _time_layer(network: BenchNetwork, limits: Limits, rounds: int) -> dict[str, Any]:
    """A layer on one frame a call: how ONNX Runtime's 8-bit product compares with gathering events.

    Both are the product alone, called on arrays that are there, without neurons.
    """
    from spikeloom.compiler.graph.ops.linear import Linear
    from spikeloom.runtime.engines.event.dense import Product
    from spikeloom.runtime.engines.event.kernels.gather import ROOM, gather_rows
    from spikeloom.runtime.engines.event.kernels.woven import woven

    op = next(node.op for node in network.graph.nodes if isinstance(node.op, Linear))
    inputs = network.graph.types[network.graph.inputs[0]].kind
    y = np.empty((1, len(op.weight)), np.int32)
    matrix = np.array(op.weight.T, np.int8, order="C")
    product = Product.of(matrix, None, inputs)
    dense = [product.bind(frame, y) for frame in network.frames]
    held, room = woven(matrix), np.empty(len(matrix) + ROOM, np.int32)
    bases, total = np.zeros((2, held.shape[1]), np.int32), np.empty(held.shape[1], np.int32)
    bases[1, : len(matrix.T)] = matrix.sum(0)
    gathered = [partial(gather_rows, frame, held, bases, 1, 1.0, room, total, y) for frame in network.frames]

    def by_event(frames: NDArray[np.uint8]) -> object:
        for gather in gathered:
            gather()
        return y

    def by_product(frames: NDArray[np.uint8]) -> object:
        for multiply in dense:
            multiply()
        return y

    runs: dict[str, Contender] = {EVENT: by_event, ORT_INT8: by_product}
    wanted = network.frames[-1] @ matrix.astype(np.int64)
    for name, run in runs.items():
        if (run(network.frames) != wanted).any():
            raise MismatchError.of("SL0802", f"{network.name}, {name}", "differs from the product")
    race = _race(network.name, runs, network.frames, rounds, process_time, _CALLS)
    frames, touched = len(network.frames), float(network.frames.mean()) * matrix.nbytes
    document = race.to_json(frames * touched / limits.bandwidth)
    return {
        **document,
        "frames": frames,
        "input_rate": float(network.frames.mean()),
        "bytes_touched": touched,
    }
