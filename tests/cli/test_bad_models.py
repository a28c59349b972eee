"""Models, checkpoints and recipes that cannot be compiled."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Workshop
from tests.cli.terminal import Problem, refused, spikeloom

MODELS = """
import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn

INPUT_SHAPE = ("T", "B", 2, 8, 8)


class MyLIF(neuron.LIFNode):
    def neuronal_fire(self):
        return self.v > 0.5


class Odd(nn.Module):
    def __init__(self, second=neuron.LIFNode):
        super().__init__()
        self.conv = layer.Conv2d(2, 4, 3, step_mode="m")
        self.first = neuron.LIFNode(step_mode="m")
        self.second = second(step_mode="m")
        self.third = second(step_mode="m")

    def forward(self, x):
        x = self.first(self.conv(x))
        y = self.third(self.second(torch.sin(x)))
        return y.mean((-1, -2)) + torch.cos(x).mean((-1, -2))


class OverTime(nn.Module):
    def forward(self, x):
        return x.cumsum(0).flatten(2)


def operations():
    return Odd()


def neurons():
    return Odd(MyLIF)


def over_time():
    return OverTime()


def raises():
    raise RuntimeError("no GPU [red]here[/red] :boom: [/oops]")


def number():
    return 3


def wants_more(depth):
    return Odd()
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    return path


def compiled(
    workshop: Workshop, model: object, tmp_path: Path, *more: object, status: int = 4
) -> list[Problem]:
    return refused(
        "compile", model, "--recipe", workshop.recipe, "--calibrate", workshop.train,
        "-o", tmp_path / "x.loom", *more, status=status, within=tmp_path,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("raises", "fails: RuntimeError: no GPU [red]here[/red] :boom: [/oops]"),
        ("number", "does not build a model"),
        ("wants_more", "missing 1 required positional argument: 'depth'"),
        ("nothing", "has no function nothing"),
        ("INPUT_SHAPE", "has no function INPUT_SHAPE"),
        ("torch", "has no function torch"),
        ("Tensor", "does not build a model"),
    ],
)
def test_factories(name: str, what: str, workshop: Workshop, models: Path, tmp_path: Path) -> None:
    [problem] = compiled(workshop, f"{models}:{name}", tmp_path, "--weights", workshop.weights)
    assert (problem.code, problem.where) == ("SL0201", f"{models}:{name}")
    assert what in problem.what
    if "no function" in what:
        assert "neurons or number" in problem.wanted
        assert "layer" not in problem.wanted, "what is imported is not offered"


@pytest.mark.parametrize("content", ["import nothing_of_that_name\n", "def build(:\n", "1 / 0\n"])
def test_files_that_cannot_be_imported(content: str, workshop: Workshop, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(content)
    [problem] = compiled(workshop, f"{path}:build", tmp_path)
    assert problem.code == "SL0201"
    assert "fails to import" in problem.what


@pytest.mark.parametrize("spec", ["missing.py:build", "model.py", "model:build", "model.py:", ""])
def test_specs_that_name_no_function(spec: str, workshop: Workshop, tmp_path: Path) -> None:
    [problem] = compiled(workshop, spec, tmp_path)
    assert problem.code == "SL0201"


def test_all_operations_without_a_counterpart_are_listed(
    workshop: Workshop, models: Path, tmp_path: Path
) -> None:
    problems = compiled(workshop, f"{models}:operations", tmp_path, status=2)
    assert [problem.code for problem in problems] == ["SL0302", "SL0302"]
    for problem, name in zip(problems, ("sin", "cos"), strict=True):
        assert name in problem.what
        line = 1 + next(i for i, text in enumerate(MODELS.splitlines()) if f"torch.{name}" in text)
        assert f"models.py:{line}" in problem.where


def test_all_unknown_neurons_are_listed(workshop: Workshop, models: Path, tmp_path: Path) -> None:
    problems = compiled(workshop, f"{models}:neurons", tmp_path, status=2)
    unknown = [problem for problem in problems if problem.code == "SL0304"]
    assert [problem.where for problem in unknown] == ["second", "third"]
    assert all("MyLIF" in problem.what and "LIFNode" in problem.wanted for problem in unknown)
    other = [problem for problem in problems if problem.code == "SL0302"]
    assert len(other) == 2, "what else stands in the way is told with them"


def test_operations_over_time(workshop: Workshop, models: Path, tmp_path: Path) -> None:
    problems = compiled(workshop, f"{models}:over_time", tmp_path, status=2)
    assert problems[0].code in ("SL0302", "SL0303")
    assert "cumsum" in problems[0].what


def test_a_network_that_needs_more_chips(workshop: Workshop, tmp_path: Path) -> None:
    """A wide layer: more neurons than one chip has places, and few enough for two."""
    path = tmp_path / "wide.py"
    path.write_text(WIDE)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(workshop.recipe.read_text())
    problems = compiled(workshop, f"{path}:build", tmp_path, "--samples", 1, status=2)
    assert problems[0].code == "SL0603"
    assert "120 cores" in problems[0].wanted
    assert "--chips" in problems[0].remedy


WIDE = """
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

INPUT_SHAPE = ("T", "B", 2, 8, 8)


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = layer.Conv2d(2, 8000, 3, padding=1, step_mode="m")
        self.fire = neuron.LIFNode(v_threshold=0.2, step_mode="m")
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        return self.head(self.fire(self.conv(x)).mean(2).flatten(-2))


def build():
    return Wide()
"""


def test_a_checkpoint_of_another_model(workshop: Workshop, tmp_path: Path) -> None:
    import torch

    content = torch.load(workshop.weights, weights_only=True)["state_dict"]
    content["head.weight"] = torch.zeros(5, 8)
    del content["head.bias"]
    content["decoder.weight"] = torch.zeros(2, 3)
    torch.save(content, tmp_path / "other.pt")
    problems = compiled(workshop, workshop.model, tmp_path, "--weights", tmp_path / "other.pt")
    assert {problem.code for problem in problems} == {"SL0203"}
    assert {(problem.where, problem.wanted, problem.got) for problem in problems} == {
        ("head.weight", "3x8", "5x8"),
        ("head.bias", "3", ""),
        ("decoder.weight", "", "2x3"),
    }


def test_a_configuration_of_another_model(workshop: Workshop, tmp_path: Path) -> None:
    import torch

    content = torch.load(workshop.weights, weights_only=True) | {"config": {"depths": 4}}
    torch.save(content, tmp_path / "other.pt")
    [problem] = compiled(workshop, workshop.model, tmp_path, "--weights", tmp_path / "other.pt")
    assert problem.code == "SL0201"
    assert f"with the config of {tmp_path / 'other.pt'}" in problem.what
    assert "'depths'" in problem.what
    assert problem.remedy == "check that the checkpoint is one of this model"


def test_a_factory_that_takes_no_configuration(workshop: Workshop, tmp_path: Path) -> None:
    """It is called without; the checkpoint fits all the same."""
    path = tmp_path / "plain.py"
    path.write_text((workshop.folder / "model.py").read_text() + "\n\ndef plain(): return Tiny()\n")
    spikeloom("compile", f"{path}:plain", "--weights", workshop.weights, "--recipe", workshop.recipe,
              "--calibrate", workshop.train, "--stop-after", "capture", "-o", tmp_path / "x")  # fmt: skip


def test_files_that_are_no_checkpoint(workshop: Workshop, tmp_path: Path) -> None:
    import torch

    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"state_dict": {}}, tmp_path / "hollow.pt")
    (tmp_path / "text.pt").write_text("not a checkpoint\n")
    (tmp_path / "text.safetensors").write_text("not a checkpoint\n")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "half.pt").write_bytes(workshop.weights.read_bytes()[:3000])
    (tmp_path / "folder.pt").mkdir()
    paths = [*sorted(tmp_path.glob("*.pt")), tmp_path / "text.safetensors", tmp_path / "missing.pt"]
    for path in paths:
        [problem] = compiled(workshop, workshop.model, tmp_path, "--weights", path)
        assert (problem.code, problem.where) == ("SL0202", str(path))
        assert "weights_only" not in problem.what, "nobody should be told to load without it"


def test_a_checkpoint_that_would_run_code(workshop: Workshop, tmp_path: Path) -> None:
    import pickle

    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "attacked"),)

    (tmp_path / "attack.pt").write_bytes(pickle.dumps({"state_dict": Attack()}))
    [problem] = compiled(workshop, workshop.model, tmp_path, "--weights", tmp_path / "attack.pt")
    assert problem.code == "SL0202"


def test_values_that_are_not_finite(workshop: Workshop, tmp_path: Path) -> None:
    import torch

    content = torch.load(workshop.weights, weights_only=True)
    for key in ("head.weight", "embed.0.weight"):
        content["state_dict"][key].flatten()[0] = float("nan")
    torch.save(content, tmp_path / "nan.pt")
    problems = compiled(workshop, workshop.model, tmp_path, "--weights", tmp_path / "nan.pt")
    assert {(problem.code, problem.where) for problem in problems} == {
        ("SL0204", "head.weight"),
        ("SL0204", "embed.0.weight"),
    }


def test_a_network_that_is_silent_on_the_recordings(workshop: Workshop, tmp_path: Path) -> None:
    """Without its checkpoint the model has random weights and no layer fires."""
    problems = compiled(workshop, workshop.model, tmp_path)
    assert {problem.code for problem in problems} == {"SL0505"}
    assert len(problems) == 6
    assert all(problem.remedy for problem in problems)


def test_all_faults_of_a_recipe_are_listed(workshop: Workshop, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('width = 8\nheight = "x"\nstesp = 4\nduration_us = 0\n')
    args = ["compile", workshop.model, "--recipe", recipe, "--calibrate", workshop.train,
            "-o", tmp_path / "x.loom"]  # fmt: skip
    problems = refused(*args, within=tmp_path)
    assert {problem.code for problem in problems} == {"SL0110"}
    assert len(problems) == 4
    assert any("did you mean steps?" in problem.remedy for problem in problems)
    recipe.write_text("width = \n")
    [problem] = refused(*args, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0110", str(recipe))
    recipe.unlink()
    [problem] = refused(*args, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0110", str(recipe))


def test_a_recipe_of_another_geometry(workshop: Workshop, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(workshop.recipe.read_text().replace("width = 8", "width = 10"))
    [problem] = refused("compile", workshop.model, "--recipe", recipe, "--calibrate", workshop.train,
                        "-o", tmp_path / "x.loom", within=tmp_path)  # fmt: skip
    assert problem.code == "SL0111"
    assert (problem.wanted, problem.got) == ("[4, 2, 8, 8]", "[4, 2, 8, 10]")


def test_calibration_recordings_that_are_not_there(workshop: Workshop, tmp_path: Path) -> None:
    args = workshop.compile(tmp_path / "x.loom")
    (tmp_path / "empty").mkdir()
    for source, code in ((tmp_path / "empty", "SL0101"), (tmp_path / "missing.npz", "SL0121")):
        args[args.index("--calibrate") + 1] = source
        [problem] = refused(*args, within=tmp_path)
        assert problem.code == code


def test_calibration_frames_that_the_recipe_does_not_give(workshop: Workshop, tmp_path: Path) -> None:
    np.savez(tmp_path / "counts.npz", x=np.full((3, 4, 2, 8, 8), 2))
    args = workshop.compile(tmp_path / "x.loom")
    args[args.index("--calibrate") + 1] = tmp_path / "counts.npz"
    [problem] = refused(*args, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0803", "--calibrate")
    assert (problem.wanted, problem.got) == ("0 to 1", "2")


def test_nothing_is_left_in_the_folder_of_the_model(workshop: Workshop, tmp_path: Path) -> None:
    """A compilation that fails late, in the user's own folder."""
    for name in ("model.py", "recipe.toml", "tiny.pt"):
        shutil.copy(workshop.folder / name, tmp_path / name)
    refused("compile", f"{tmp_path}/model.py:build", "--recipe", tmp_path / "recipe.toml",
            "--calibrate", workshop.train, "-o", tmp_path / "x.loom", within=tmp_path)  # fmt: skip
    spikeloom("compile", f"{tmp_path}/model.py:build", "--recipe", tmp_path / "recipe.toml",
              "--calibrate", workshop.train, "--weights", tmp_path / "tiny.pt",
              "--stop-after", "integer", "-o", tmp_path / "x.loom")  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} <= {"model.py", "recipe.toml", "tiny.pt", "__pycache__"}
