"""Runs a network on several engines in consecutive chunks and lists where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spikeloom.compiler.graph.engine import Engine, Trace
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array
from spikeloom.runtime.engines.event.engine import EventEngine
from spikeloom.runtime.engines.onnx import Mode, OnnxEngine
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.targets.onnx.forms import SequenceWriter, StepWriter
from spikeloom.targets.onnx.model import build_model
from spikeloom.targets.onnx.writer import Writer

FORMS: tuple[Mode, ...] = ("step", "sequence")
WRITERS: dict[Mode, type[Writer]] = {"step": StepWriter, "sequence": SequenceWriter}


def engines(graph: Graph, forms: Sequence[Mode] = FORMS) -> dict[str, Engine]:
    """The reference, the ONNX engine in some of its forms, and the event engine."""
    made: dict[str, Engine] = {"reference": ReferenceEngine(graph)}
    for form in forms:
        model = build_model(graph, WRITERS[form]).SerializeToString()
        made[form] = OnnxEngine(model, model, graph, mode=form)
    return {**made, "event": EventEngine(graph)}


def disagreements(
    graph: Graph, frames: Array, cuts: Sequence[int] = (), forms: Sequence[Mode] = FORMS
) -> list[str]:
    """Everything in which an engine differs from the reference, over chunks cut at these steps.

    Compared are the output, every spike of every layer, and after each chunk every state.
    """
    first, *others = engines(graph, forms).items()
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
