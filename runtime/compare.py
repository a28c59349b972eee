"""Engines side by side: the same spikes in every neuron layer, or the first that differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.compiler.graph.op import Array


@dataclass(frozen=True)
class Divergence:
    """The first spike on which an engine differs from the first engine.

    Attributes:
        engine: which one differs.
        sample, step, layer: where; ``layer`` is "output" for the network's output.
        neuron: index within the layer.
        wanted, got: what the first engine gave and what this one gave.
    """

    engine: str
    sample: str
    step: int
    layer: str
    neuron: tuple[int, ...]
    wanted: int
    got: int


@dataclass
class EngineComparison:
    """Result of :func:`compare_engines`.

    Attributes:
        engines: names; the first is what the others are compared with.
        samples: how many were run.
        cells: what was compared: neurons, times steps, samples and engines, and the outputs.
        mismatches: cells that differ.
        layers: mismatches by layer.
        first: the first divergence, or None.
    """

    engines: tuple[str, ...]
    samples: int = 0
    cells: int = 0
    mismatches: int = 0
    layers: dict[str, int] | None = None
    first: Divergence | None = None

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object; ``first`` is absent if nothing differs."""
        document = asdict(self)
        return document if self.first else {key: v for key, v in document.items() if key != "first"}


def compare_engines(
    engines: Mapping[str, Engine], batches: Iterable[tuple[str | list[str], Array]]
) -> EngineComparison:
    """Run engines on the same frames and compare every neuron layer and the output, exactly.

    Each batch is run in two consecutive calls, so that an engine which loses its state is found.

    Args:
        engines: by name; the first is the reference.
        batches: names of the samples (or one name for all) and frames [steps, samples, ...].
    """
    names = tuple(engines)
    result = EngineComparison(names, layers={})
    for labels, frames in batches:
        traces = {name: _run_in_two_calls(engine, frames) for name, engine in engines.items()}
        result.samples += frames.shape[1]
        samples = [labels] * frames.shape[1] if isinstance(labels, str) else labels
        for name in names[1:]:
            _compare(result, name, samples, traces[names[0]], traces[name])
    return result


def _run_in_two_calls(engine: Engine, frames: Array) -> Trace:
    engine.reset(frames.shape[1])
    half = max(1, len(frames) // 2)
    parts = [engine.run(part) for part in (frames[:half], frames[half:]) if len(part)]
    spikes = {name: np.concatenate([part.spikes[name] for part in parts]) for name in parts[0].spikes}
    return Trace(np.concatenate([part.output for part in parts]), spikes)


def _compare(result: EngineComparison, engine: str, samples: list[str], wanted: Trace, got: Trace) -> None:
    pairs: list[tuple[str, Array, Array]] = [
        (layer, spikes, got.spikes[layer]) for layer, spikes in wanted.spikes.items()
    ]
    found: list[Divergence] = []
    for layer, expected, actual in [*pairs, ("output", wanted.output, got.output)]:
        differs = expected != actual
        result.cells += expected.size
        count = int(differs.sum())
        assert result.layers is not None
        result.layers[layer] = result.layers.get(layer, 0) + count
        result.mismatches += count
        if count:
            step, sample, *neuron = map(int, np.argwhere(differs)[0])
            at = (step, sample, *neuron)
            found.append(
                Divergence(
                    engine, samples[sample], step, layer, tuple(neuron), int(expected[at]), int(actual[at])
                )
            )
    if found and result.first is None:
        result.first = min(found, key=lambda divergence: divergence.step)
