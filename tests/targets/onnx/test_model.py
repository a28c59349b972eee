"""The two model files: valid ONNX, with the ends that they promise, the same bytes every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.targets.onnx import onnx as target
from tests.random_networks import RandomNetwork, random_network, spikformer

SEEDS = range(12)
FORMS = {"step": ["batch"], "sequence": ["steps", "batch"]}


def model_of(network: RandomNetwork, form: str) -> onnx.ModelProto:
    return onnx.load_from_string(target().artifacts(network.graph)[f"{form}.onnx"])


def ends(values: object) -> dict[str, tuple[str, list[int | str]]]:
    """Type and shape of each input or output by name."""
    return {
        value.name: (
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim],
        )
        for value in values  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_models_pass_the_checker(seed: int, form: str) -> None:
    onnx.checker.check_model(model_of(random_network(seed), form), full_check=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", SEEDS)
def test_ends_are_as_promised(seed: int, form: str) -> None:
    network = random_network(seed)
    graph, model = network.graph, model_of(network, form)
    lead = FORMS[form]
    (frames,), (evidence,) = graph.inputs, graph.outputs
    inputs, outputs = ends(model.graph.input), ends(model.graph.output)

    assert inputs.pop(frames) == (network.frames.dtype.name, [*lead, *graph.types[frames].shape])
    assert outputs.pop(evidence) == ("int32", [*lead, *graph.types[evidence].shape])
    for node in graph.neurons():
        spikes = graph.types[node.output]
        dtype = "uint8" if spikes.kind.bounds[0] >= 0 else "int8"
        assert outputs.pop(node.output) == (dtype, [*lead, *spikes.shape])
    axes = json.loads({entry.key: entry.value for entry in model.metadata_props}["spikeloom.state_axes"])
    for node, op in graph.stateful():
        for name, kind in op.states(*graph.input_types(node)).items():
            state = f"{node.name}/{name}"
            shape = ["batch", *(kind.shape[axis] for axis in axes.pop(state))]
            assert inputs.pop(state) == ("int32", shape)
            assert outputs.pop(f"{state}'") == ("int32", shape)
    assert (inputs, outputs, axes) == ({}, {}, {})


def test_metadata_and_versions() -> None:
    network = random_network(1)
    for form in FORMS:
        model = model_of(network, form)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert metadata["spikeloom.form"] == form
        assert metadata["spikeloom.graph"] == network.graph.name == "random1"
        assert metadata["spikeloom.profile"] == network.graph.profile == "onnx"
        assert {entry.domain: entry.version for entry in model.opset_import} == {"": 21, "spikeloom": 1}
        assert model.producer_name == "spikeloom"


def test_a_viewer_shows_one_node_per_neuron_layer() -> None:
    network = spikformer(seed=0, size=8, dim=16, depth=1, heads=2, steps=6)
    layers = [node.name for node in network.graph.neurons()]
    step, sequence = (model_of(network, form) for form in FORMS)
    assert [node.name for node in step.graph.node if node.domain == "spikeloom"] == layers
    scans = [node for node in sequence.graph.node if node.op_type == "Scan"]
    assert [node.name for node in scans] == layers
    for scan in scans:
        (body,) = (attribute.g for attribute in scan.attribute if attribute.name == "body")
        assert [(node.domain, node.op_type) for node in body.node] == [("spikeloom", "LIF")]
        assert {a.name: a.i for a in body.node[0].attribute} == {"decay": 2048, "fraction_bits": 6}
    assert [function.name for function in step.functions] == ["LIF"]


@pytest.mark.parametrize("form", FORMS)
def test_slow_operators_are_not_used(form: str) -> None:
    for seed in SEEDS:
        used = {node.op_type for node in model_of(random_network(seed), form).graph.node}
        assert used.isdisjoint({"Conv", "ConvInteger", "QLinearConv", "Loop", "If"})


@pytest.mark.parametrize("seed", SEEDS)
def test_another_implementation_of_onnx_agrees(seed: int) -> None:
    """The models do not depend on ONNX Runtime: onnx's own evaluator gives the same integers."""
    network = random_network(seed)
    graph, frames = network.graph, network.frames
    interpreter = Interpreter(graph)
    interpreter.reset(frames.shape[1])
    reference = [interpreter.step(frame) for frame in frames]
    wanted = {name: np.stack([values[name] for values in reference]) for name in graph.types}

    step, sequence = (model_of(network, form) for form in FORMS)
    state = {
        name: np.zeros((frames.shape[1], *(int(size) for size in shape[1:])), np.int32)
        for name, (_, shape) in ends(step.graph.input).items()
        if name not in graph.inputs
    }
    names = [output.name for output in step.graph.output]
    whole = run(sequence, {graph.inputs[0]: frames, **state})
    for number, frame in enumerate(frames):
        one = run(step, {graph.inputs[0]: frame, **state})
        state = {name: one[f"{name}'"] for name in state}
        for name in set(names) & set(graph.types):
            assert np.array_equal(one[name], wanted[name][number]), name
            assert np.array_equal(whole[name][number], wanted[name][number]), name
    assert all(np.array_equal(whole[f"{name}'"], value) for name, value in state.items())


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [output.name for output in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(names, feed), strict=True))


def test_the_same_graph_gives_the_same_bytes_in_any_process() -> None:
    """Python shuffles sets anew in every process; nothing of that may reach the files."""
    script = (
        "import hashlib; from tests.random_networks import random_network;"
        "from spikeloom.targets.onnx import onnx;"
        "files = onnx().artifacts(random_network(2).graph);"
        "print({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})"
    )
    root = Path(__file__).resolve().parents[3]
    shown = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{root}:{root / 'src'}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(shown) == 1
    assert "step.onnx" in shown.pop()
