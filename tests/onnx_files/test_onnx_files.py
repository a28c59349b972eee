"""Networks that only exist as ONNX: read, rolled up, proved, compiled, run; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spikeloom.compiler.frontends.onnx.file import OnnxNetwork, read_onnx
from spikeloom.compiler.frontends.onnx.lower import lower_onnx
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.ops.neuron import Neuron
from spikeloom.errors import InputError, UnsupportedError
from tests.cli.terminal import refused, spikeloom
from tests.onnx_files.exported import STEPS, Network, Unrolled, export_step, export_unrolled, frames

HOW = ("stack", "mean", "sum")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    export_step(folder / "step.onnx")
    for how in HOW:
        export_unrolled(folder / f"{how}.onnx", how)
    return folder


def answers(graph: Graph, samples: int) -> NDArray[Any]:
    """What a graph gives at each step, in float64."""
    interpreter = Interpreter(graph)
    interpreter.reset(samples)
    given = [interpreter.step(frame)[graph.outputs[0]] for frame in frames(samples).double().numpy()]
    return np.stack(given)


def in_torch(how: str) -> NDArray[Any]:
    with torch.no_grad():
        given: NDArray[Any] = Unrolled(Network().eval().double(), how)(frames().double()).numpy()
    return given


@pytest.mark.parametrize("how", HOW)
def test_an_unrolled_network_is_rolled_up(files: Path, how: str) -> None:
    graph = lower_onnx(read_onnx(files / f"{how}.onnx"), how, time_axis=0)
    assert sum(isinstance(node.op, Neuron) for node in graph.nodes) == 6
    given, wanted = answers(graph, 3), in_torch(how)
    assert wanted.any()
    assert np.array_equal(given if how == "stack" else given[-1], wanted)


def test_a_step_with_named_states_is_the_same_network(files: Path) -> None:
    graph = lower_onnx(read_onnx(files / "step.onnx"), "step", time_axis=None)
    assert np.array_equal(answers(graph, 3), in_torch("stack"))
    kinds = [node.op.reset for node in graph.nodes if isinstance(node.op, Neuron)]
    assert sorted(kinds) == ["hard"] * 5 + ["soft"]


def test_states_are_paired_by_names_that_are_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    export_step(path, ("_now", "_later"))
    with pytest.raises(UnsupportedError, match=r"SL0302 odd: has 7 inputs that are no states.*--state"):
        lower_onnx(read_onnx(path), "odd", time_axis=None)
    told = {f"v{n}_now": f"v{n}_later" for n in range(6)}
    assert len(lower_onnx(read_onnx(path), "odd", None, told).nodes) > 6
    with pytest.raises(UnsupportedError, match=r"odd: w: is no value of the file"):
        lower_onnx(read_onnx(path), "odd", None, told | {"w": "v0_later"})


def test_the_command_compiles_verifies_and_inspects(files: Path, tmp_path: Path) -> None:
    data, bundle = tmp_path / "x.npz", tmp_path / "a.loom"
    rng = np.random.default_rng(0)
    x = (rng.random((12, STEPS, 2, 8, 8)) < 0.3).astype(np.uint8)
    np.savez(data, x=x, y=rng.integers(0, 5, 12))
    given = ("--input-shape", "T,B,2,8,8", "--target", "onnx", "--calibrate", data)
    told = spikeloom("compile", files / "mean.onnx", *given, "-o", bundle, "--json").json
    assert len(told["rates"]) == 6
    assert all(0.01 < rate < 0.99 for rate in told["rates"].values())
    assert [e["differing"] for e in told["ledger"] if e["tolerance"] == "zero"] == [0]
    assert spikeloom("verify", bundle, "--inputs", data, "--json").json["mismatches"] == 0
    document = spikeloom("check", files / "mean.onnx", *given[:4], "--json").json
    assert (document["obstacles"], document["layers"]) == ([], 6)
    assert "MatMul" in spikeloom("inspect", files / "mean.onnx").out


def edited(source: Path, path: Path, edit: Callable[[onnx.ModelProto], None]) -> OnnxNetwork:
    model = onnx.load(source)
    edit(model)
    onnx.save(model, path)
    return read_onnx(path)


def test_a_weight_that_differs_from_step_to_step_is_refused(files: Path, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        third = [node for node in model.graph.node if node.op_type == "Conv"][2]
        old = read_onnx(files / "stack.onnx").constants[third.input[1]]
        new = numpy_helper.from_array(old + np.float32(1e-3), "other")
        model.graph.initializer.append(new)
        third.input[1] = "other"

    network = edited(files / "stack.onnx", tmp_path / "a.onnx", edit)
    with pytest.raises(UnsupportedError, match=r"SL0302 a: .*differ from step to step"):
        lower_onnx(network, "a", time_axis=0)


def test_what_has_no_counterpart_is_listed_at_once(files: Path, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        for index, node in enumerate(n for n in model.graph.node if n.op_type in ("Conv", "Gemm")):
            (out,) = node.output
            node.output[0] = f"{out}_raw"
            kind = ("Sin", "Cosh")[index % 2]
            place = [n.name for n in model.graph.node].index(node.name) + 1
            model.graph.node.insert(place, helper.make_node(kind, [f"{out}_raw"], [out], f"odd{index}"))

    network = edited(files / "step.onnx", tmp_path / "a.onnx", edit)
    with pytest.raises(UnsupportedError) as caught:
        lower_onnx(network, "a", time_axis=None)
    assert {"odd0 (Sin)", "odd1 (Cosh)"} <= {problem.where for problem in caught.value.problems}


def test_a_state_that_is_no_neuron_is_refused(files: Path, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        node = next(n for n in model.graph.node if n.output[0] == "v0_next")
        node.output[0] = "v0_raw"
        model.graph.node.append(helper.make_node("Tanh", ["v0_raw"], ["v0_next"], "odd"))

    network = edited(files / "step.onnx", tmp_path / "a.onnx", edit)
    with pytest.raises(UnsupportedError, match="SL0304 v0"):
        lower_onnx(network, "a", time_axis=None)


@pytest.mark.parametrize("place", ["an initializer", "an attribute"])
def test_tensors_in_other_files_are_never_opened(place: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(np.zeros(2, np.float32).tobytes())
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="secret")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if place == "an attribute":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [1, 2])],
        [value("y", TensorProto.FLOAT, [1, 2])],
        [tensor] if place == "an initializer" else [],
    )
    path = tmp_path / "a.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(InputError, match=r"SL0213 .*: w: keeps its data in other files"):
        read_onnx(path)


def test_damaged_files_and_wrong_options_are_named(files: Path, tmp_path: Path) -> None:
    whole = (files / "step.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    for name in ("cut.onnx", "missing.onnx"):
        (problem,) = refused("inspect", tmp_path / name, within=tmp_path)
        assert problem.code == "SL0213"
    wrong = ("--preset", "norse", "--state", "v0")
    (first,) = refused("check", files / "step.onnx", *wrong, within=tmp_path)
    assert (first.code, first.where) == ("SL0901", "--preset")
    (second,) = refused("check", files / "step.onnx", *wrong[2:], within=tmp_path)
    assert (second.where, second.wanted) == ("--state", "INPUT=OUTPUT")
