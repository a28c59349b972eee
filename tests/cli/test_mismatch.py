"""A bundle whose ONNX form is not that of its graph: found, located, exit status 3."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.bundle import Bundle, read_bundle, write_bundle
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.target import find_target
from spikeloom.runtime.engines.reference import ReferenceEngine
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from tests.cli.conftest import Workshop
from tests.cli.terminal import spikeloom

LAYER, NEURON = "attention.k.0", "attention.k.2"


def sabotaged(graph: Graph) -> Graph:
    """The graph with other weights in one output channel of a layer."""
    [node] = [node for node in graph.nodes if node.name == LAYER]
    weight = node.op.weight.copy()  # type: ignore[attr-defined]
    weight[0] = -weight[0]
    other = replace(node, op=replace(node.op, weight=weight))  # type: ignore[call-arg]
    return graph.replace(nodes=tuple(other if one is node else one for one in graph.nodes))


@pytest.fixture(scope="module")
def honest(bundle: Path) -> Bundle:
    return read_bundle(bundle)


@pytest.fixture(scope="module")
def lying(honest: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with the ONNX form of the sabotaged graph, its hashes as they should be."""
    path = tmp_path_factory.mktemp("lying") / "lying.loom"
    forms = find_target("onnx").artifacts(sabotaged(honest.graph))
    members = {**honest.members, **{f"onnx/{name}": data for name, data in forms.items()}}
    about = {key: value for key, value in honest.manifest.items() if key not in ("format", "members", "seal")}
    write_bundle(path, members, about)
    return path


def test_the_first_divergence_is_named(workshop: Workshop, lying: Path, honest: Bundle) -> None:
    answer = spikeloom("verify", lying, "--events", workshop.test, "--json", expect=3)
    samples = recordings(workshop.test, FrameRecipe.from_toml(workshop.recipe))
    frames = np.stack([sample.frames for sample in samples], 1)
    wanted, got = (run(graph, frames) for graph in (honest.graph, sabotaged(honest.graph)))
    step, sample, *neuron = map(int, np.argwhere(wanted[NEURON] != got[NEURON])[0])
    assert answer.json["first"] == {
        "engine": "onnx",
        "sample": samples.names[sample],
        "step": step,
        "layer": NEURON,
        "neuron": neuron,
        "wanted": int(wanted[NEURON][step, sample, *neuron]),
        "got": int(got[NEURON][step, sample, *neuron]),
    }
    counts = {layer: int((wanted[layer] != got[layer]).sum()) for layer in wanted}
    assert answer.json["layers"].items() >= counts.items()
    assert counts["attention.q.2"] == 0
    assert answer.json["mismatches"] == sum(answer.json["layers"].values()) >= sum(counts.values()) > 0


def run(graph: Graph, frames: np.ndarray) -> dict[str, np.ndarray]:
    engine = ReferenceEngine(graph)
    engine.reset(frames.shape[1])
    return dict(engine.run(frames).spikes)


def test_it_is_printed(lying: Path, workshop: Workshop) -> None:
    answer = spikeloom("verify", lying, "--events", workshop.test, "--engines", "onnx,reference", expect=3)
    assert f"the first: reference at sample 0.bs2, step 0, layer {NEURON}, neuron [0, " in answer.out
    assert "mismatches" in answer.out


def test_the_stored_traces_find_it_too(lying: Path) -> None:
    answer = spikeloom("verify", lying, "--json", expect=3)
    assert answer.json["first"]["layer"] == NEURON
