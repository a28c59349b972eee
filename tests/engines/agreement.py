"""Runs a network on several engines in consecutive chunks and lists where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.engine import EventEngine
from spikeloom.runtime.engines.onnx import OnnxEngine
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.onnx import onnx


def engines(graph: Graph) -> dict[str, Engine]:
    """The reference, both ONNX forms, and the event engine."""
    files = onnx().artifacts(graph)
    step, sequence = files["step.onnx"], files["sequence.onnx"]
    return {
        "reference": ReferenceEngine(graph),
        "step": OnnxEngine(step, sequence, graph, mode="step"),
        "sequence": OnnxEngine(step, sequence, graph, mode="sequence"),
        "event": EventEngine(graph),
    }


def disagreements(graph: Graph, frames: NDArray[np.uint8], cuts: Sequence[int] = ()) -> list[str]:
    """Everything in which an engine differs from the reference, over chunks cut at these steps.

    Compared are the output, every spike of every layer, and after each chunk every state.
    """
    first, *others = engines(graph).items()
    for _, engine in (first, *others):
        engine.reset(frames.shape[1])
    found = []
    for number, chunk in enumerate(np.split(frames, list(cuts))):
        wanted = _results(first[1].run(chunk), first[1].state())
        for name, engine in others:
            got = _results(engine.run(chunk), engine.state())
            found += [f"{name}, chunk {number}: {fault}" for fault in _differences(wanted, got)]
    return found


def _results(trace: Trace, state: Mapping[str, Array]) -> dict[str, Array]:
    spikes = {f"spikes of {layer}": array for layer, array in trace.spikes.items()}
    return {"output": trace.output, **spikes, **{f"state {name}": array for name, array in state.items()}}


def _differences(wanted: Mapping[str, Array], got: Mapping[str, Array]) -> list[str]:
    if wanted.keys() != got.keys():
        return [f"has {sorted(got)} instead of {sorted(wanted)}"]
    faults = [f"{name} is {got[name].shape}" for name in wanted if got[name].shape != wanted[name].shape]
    return faults or [
        f"{name} differs in {int((got[name] != wanted[name]).sum())} places"
        for name in wanted
        if (got[name] != wanted[name]).any()
    ]
