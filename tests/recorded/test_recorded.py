"""Networks recorded by the capture script: the same network here as there, and what is refused."""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeloom.compiler.bundle import read_bundle
from spikeloom.compiler.frontends.torch.axes import CAPTURES
from spikeloom.compiler.frontends.torch.recorded import spikeloom_capture
from spikeloom.compiler.frontends.torch.recorded.file import read_capture
from spikeloom.compiler.frontends.torch.recorded.network import RecordedNetwork
from spikeloom.errors import InputError, UnsupportedError
from tests.cli.terminal import refused, spikeloom
from tests.recorded import models

MODELS = Path(models.__file__)
SHAPES = {"mixed": "T,B,2,8,8", "looping": "T,B,2,8,8", "repeating": "B,2,8,8", "impostor": "T,B,8"}


def record(name: str, path: Path, *options: object) -> Path:
    """As a user does, with the script as it is shipped."""
    given = [f"{MODELS}:{name}", "--input-shape", SHAPES.get(name, "T,B,2,8,8"), "-o", str(path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["spikeloom_capture.py", *given, *map(str, options)])
        spikeloom_capture.main()  # type: ignore[no-untyped-call]
    return path


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record("mixed", tmp_path_factory.mktemp("recorded") / "mixed.capture", "--steps", 4)


def same(file: Path, model: torch.nn.Module, shape: tuple[int, ...]) -> None:
    x = (torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.4).float()
    recorded = RecordedNetwork(read_capture(file))
    with torch.no_grad():
        wanted, got = model(x), recorded(x)
    assert wanted.abs().max() > 0
    assert torch.equal(got, wanted)


@pytest.mark.parametrize(("steps", "batch"), [(4, 1), (1, 2), (6, 5)])
def test_it_computes_the_same_at_sizes_that_were_not_recorded(captured: Path, steps: int, batch: int) -> None:
    same(captured, models.mixed(), (steps, batch, 2, 8, 8))


def test_a_model_that_repeats_its_input_and_one_that_loops(tmp_path: Path) -> None:
    same(record("repeating", tmp_path / "a.capture"), models.repeating(), (5, 2, 8, 8))
    looping = record("looping", tmp_path / "b.capture", "--steps", 6)
    same(looping, models.looping(), (6, 4, 2, 8, 8))
    with pytest.raises(UnsupportedError, match=r"SL0303 .*not recorded with 9 steps.*--steps 9"):
        RecordedNetwork(read_capture(looping))(torch.zeros(9, 1, 2, 8, 8))


@pytest.mark.parametrize("name", ["mixed", "looping", "repeating"])
def test_it_compiles_to_the_graph_of_the_model_itself(name: str, tmp_path: Path) -> None:
    """The same integers, node by node, whether the model is here or was recorded."""
    steps = 4
    timed = name != "repeating"
    rng = np.random.default_rng(0)
    shape = (10, steps, 2, 8, 8) if timed else (10, 2, 8, 8)
    np.save(tmp_path / "x.npy", (rng.random(shape) < 0.4).astype(np.uint8))
    file = record(name, tmp_path / "m.capture", *(["--steps", steps] if timed else []))
    given = ("--calibrate", tmp_path / "x.npy", "--target", "onnx", "--json")
    here = ("--input-shape", SHAPES[name], *(["--steps", steps] if timed else []))
    spikeloom("compile", f"{MODELS}:{name}", *here, *given, "-o", tmp_path / "here.loom")
    told = spikeloom("compile", file, *given, *here[2:], "-o", tmp_path / "there.loom").json
    first, exact = told["ledger"][:2]
    assert first["stage"] == "recorded network"
    assert torch.__version__ in first["against"]
    assert (first["differing"], exact["differing"]) == (0, 0)
    assert min(first["cells"], exact["cells"]) > 100
    assert all(rate > 0 for rate in told["rates"].values())
    here_graph, there = (read_bundle(tmp_path / f"{which}.loom").graph for which in ("here", "there"))
    assert [node.name for node in there.nodes] == [node.name for node in here_graph.nodes]
    for mine, theirs in zip(here_graph.nodes, there.nodes, strict=True):
        assert mine.inputs == theirs.inputs
        for key, value in vars(mine.op).items():
            assert np.array_equal(value, getattr(theirs.op, key)), (mine.name, key)


def test_check_inspects_a_capture(captured: Path) -> None:
    document = spikeloom("check", captured, "--target", "onnx", "--json").json
    assert (document["obstacles"], document["layers"]) == ([], 6)


def test_a_neuron_that_lies_about_its_class_is_refused_with_both_traces(tmp_path: Path) -> None:
    file = record("impostor", tmp_path / "a.capture")
    (problem,) = spikeloom("check", file, "--json", expect=2).json["obstacles"]
    assert (problem["code"], problem["where"]) == ("SL0305", "1")
    assert "disagrees with its equation" in problem["what"]
    assert "recorded [" in problem["what"]


def test_a_path_that_depends_on_a_value_is_refused_there(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"models\.py:\d+: item: the model reads a value"):
        record("reading", tmp_path / "a.capture")
    assert list(tmp_path.iterdir()) == []


def edited(source: Path, path: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "capture.json":
                document = json.loads(data)
                edit(document)
                data = json.dumps(document).encode()
            new.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "name", ["torch.load", "torch.hub.load", "torch.Tensor.numpy", "os.system", "torch.Tensor.__class__"]
)
def test_no_function_runs_that_is_not_one_of_tensors(captured: Path, name: str, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        for recording in document["recordings"]:
            recording["calls"][1]["function"] = name

    with pytest.raises(UnsupportedError, match=rf"SL0302 \w+\.py:\d+: {name} has no counterpart"):
        RecordedNetwork(read_capture(edited(captured, tmp_path / "a.capture", edit)))


def test_spikes_of_another_network_are_noticed(captured: Path, tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        pairs = document["reference"]["spikes"]
        pairs[1][1], pairs[2][1] = pairs[2][1], pairs[1][1]

    network = RecordedNetwork(read_capture(edited(captured, tmp_path / "a.capture", edit)))
    with pytest.raises(UnsupportedError, match=r"SL0306 .* spikes differ from those where it was recorded"):
        network.check()


def test_damaged_files_and_options_that_do_not_belong(captured: Path, tmp_path: Path) -> None:
    whole = captured.read_bytes()
    (tmp_path / "cut.capture").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.capture").write_text("no zip")
    edited(captured, tmp_path / "big.capture", lambda document: document["tensors"][0].update(shape=[9, 9]))
    edited(captured, tmp_path / "other.capture", lambda document: document.update(format=99))
    edited(captured, tmp_path / "path.capture", lambda document: document["neurons"][0].update(path="a.b c"))
    for name in ("cut", "text", "big", "other", "path", "missing"):
        with pytest.raises(InputError, match="SL0215"):
            read_capture(tmp_path / f"{name}.capture")
    given = ("--calibrate", "random:2", "-o", tmp_path / "a.loom")
    told = refused("compile", captured, *given, "--input-shape", "B,2,8", "--arg", "a=1", within=tmp_path)
    assert [problem.where for problem in told] == ["--arg or --model-config", "--input-shape"]


def test_the_command_writes_the_script(tmp_path: Path) -> None:
    path = tmp_path / "there.py"
    assert "wrote" in spikeloom("capture-script", "-o", path).out
    assert path.read_text("utf-8") == Path(spikeloom_capture.__file__).read_text("utf-8")


def test_the_script_is_python_of_old_environments() -> None:
    source = Path(spikeloom_capture.__file__).read_text("utf-8")
    tree = ast.parse(source, feature_version=(3, 6))
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in node.names
    }
    assert "spikeloom" not in imported
    assert tuple((size.steps, size.batch) for size in CAPTURES) == spikeloom_capture.SIZES
