"""``check``, arrays as inputs, the user's own repository, ``models`` and ``weights strip``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from spikingjelly.activation_based import neuron
from torch import nn

from spikeloom.compiler.frontends.torch.contents import Entry, guess_family
from spikeloom.compiler.frontends.torch.neurons import survey_neurons
from spikeloom.compiler.graph.op import all_ops
from spikeloom.compiler.models import known_models
from tests.cli.terminal import refused, spikeloom

MODEL = '''
import torch
from spikingjelly.clock_driven.neuron import MultiStepLIFNode
from timm.models.layers import trunc_normal_
from torch import nn

from parts import scaled


class Still(nn.Module):
    """A picture shown T times."""

    def __init__(self, channels=4, T=3, odd=False):
        super().__init__()
        torch.manual_seed(0)
        self.T, self.odd = T, odd
        self.conv = nn.Conv2d(2, channels, 3, padding=1)
        self.lif = MultiStepLIFNode(tau=2.0, detach_reset=True, backend="cupy")
        self.last = MultiStepLIFNode(tau=2.0, detach_reset=True, backend="cupy")
        self.head = nn.Linear(channels, 3)

    def forward(self, x):
        x = scaled(x).unsqueeze(0).repeat(self.T, 1, 1, 1, 1)
        steps, samples = x.shape[:2]
        spikes = self.lif(self.conv(x.flatten(0, 1)).unflatten(0, (steps, samples)))
        if self.odd:
            spikes = spikes.sin().cumsum(-1)
        y = self.head(spikes.flatten(3).mean(3))
        return (y + self.last(8 * y + 2)).mean(0)


def build(channels=4, T=3, odd=False):
    return Still(channels, T, odd)
'''


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model file that imports old SpikingJelly, timm and a part of its repository."""
    (tmp_path / "repo/zoo").mkdir(parents=True)
    (tmp_path / "repo/parts.py").write_text("def scaled(x):\n    return 8 * x\n")
    (tmp_path / "repo/zoo/net.py").write_text(MODEL)
    return f"{tmp_path}/repo/zoo/net.py:build --repo {tmp_path}/repo --input-shape B,2,6,6 --target onnx"


def test_nothing_stands_in_the_way(model: str) -> None:
    document = spikeloom(*f"check {model} --arg T=4 --json".split()).json
    assert document["obstacles"] == []
    assert document["parameters"] == 4 * 2 * 9 + 4 + 4 * 3 + 3
    assert document["neurons"] == 4 * 36 + 3
    assert document["layers"] == 2
    assert document["nodes"] > 5
    assert "nothing stands between" in spikeloom(*f"check {model}".split()).out


def test_everything_in_the_way_is_in_one_report(model: str, tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    command = f"check {model} --arg odd=True --weights {tmp_path}/other.pt --json"
    document = spikeloom(*command.split(), expect=2).json
    codes = [obstacle["code"] for obstacle in document["obstacles"]]
    assert codes.count("SL0302") == 2 - 1  # cumsum follows sin, whose result is already lost
    assert codes.count("SL0203") == 4
    (operation,) = [o for o in document["obstacles"] if o["code"] == "SL0302"]
    assert "net.py:" in operation["where"]
    assert "sin has no counterpart" in operation["what"]
    assert set(operation) == {"code", "where", "what", "remedy"}
    assert document["parameters"] == 91
    assert document["nodes"] is None


RUNS_ON = """
import torch
from spikingjelly.activation_based import neuron
from torch import nn


class Video(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.lif = neuron.LIFNode(tau=2.0, v_threshold=0.2, step_mode="m")

    def forward(self, x):
        y = self.lif(self.fc(x.flatten(0, 1)))
        return self.head(y.unflatten(0, x.shape[:2]))


def build():
    return Video()
"""


def test_what_runs_on_from_sample_to_sample_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "video.py").write_text(RUNS_ON)
    line = RUNS_ON.splitlines().index("        y = self.lif(self.fc(x.flatten(0, 1)))") + 1
    command = f"check {tmp_path}/video.py:build --input-shape B,T,6 --steps 4 --target onnx"
    found = spikeloom(*command.split(), "--json").json
    assert found["obstacles"] == []
    assert found["over_samples"] == [f"lif (video.py:{line})"]
    assert found["not_spike_driven"] == 0.0  # the input is drawn as spikes
    told = spikeloom(*command.split()).out
    assert f"lif (video.py:{line})" in told
    assert "compiled for single ones" in " ".join(told.split())


def test_arrays_compile_run_and_verify(model: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "calibration.npy", rng.normal(size=(6, 2, 6, 6)))
    np.savez(tmp_path / "test.npz", x=rng.normal(size=(5, 2, 6, 6)), y=[0, 1, 2, 0, 1])
    bundle = tmp_path / "net.loom"
    done = spikeloom(
        *f"compile {model} --calibrate {tmp_path}/calibration.npy -o {bundle} --json".split()
    ).json
    assert {entry["differing"] for entry in done["ledger"] if entry["tolerance"] == "zero"} == {0}
    assert done["silent"] == []
    ran = spikeloom(*f"run {bundle} --inputs {tmp_path}/test.npz --json".split()).json
    assert ran["samples"] == 5
    verified = spikeloom(*f"verify {bundle} --inputs {tmp_path}/test.npz --json".split()).json
    assert (verified["mismatches"], verified["cells"]) == (0, 5 * 3 * (4 * 36 + 3 + 3))
    bench = f"bench {bundle} --inputs {tmp_path}/test.npz --model {model.split()[0]}"
    (problem,) = refused(*bench.split(), within=tmp_path)
    assert (problem.code, problem.where) == ("SL0901", "--model")
    counted = spikeloom(*f"estimate {bundle} --inputs {tmp_path}/test.npz --json".split()).json
    assert counted["operations"]
    spikeloom(*f"report {bundle} --inputs {tmp_path}/test.npz -o {tmp_path}/report.html".split())
    assert "zero" in (tmp_path / "report.html").read_text("utf-8")  # of the recipe
    (problem,) = refused(*f"run {bundle} --events {tmp_path}".split(), within=tmp_path)
    assert (problem.code, problem.remedy) == ("SL0110", "give them with --inputs FILE.npz")


def test_random_inputs_may_leave_layers_silent(model: str, tmp_path: Path) -> None:
    command = f"compile {model} --calibrate random:3 -o {tmp_path}/a.loom"
    done = spikeloom(*command.split(), "--json").json
    silent = {layer for layer, rate in done["rates"].items() if rate == 0}
    assert set(done["silent"]) == silent


def test_without_inputs_it_is_compiled_on_noise_and_says_so(model: str, tmp_path: Path) -> None:
    bundle = tmp_path / "a.loom"
    said = spikeloom(*f"compile {model} -o {bundle}".split())
    assert "calibrated on random inputs" in said.out
    assert "calibrated on random inputs (random:4)" in spikeloom("inspect", str(bundle)).out


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        ("--calibrate random:x", "SL0901", "says no number"),
        ("--calibrate recordings/", "SL0901", "nothing says how they become frames"),
        ("--calibrate random:2 --arg channels", "SL0901", "is no argument"),
        ("--calibrate random:2 --arg colour=1", "SL0201", "unexpected keyword argument 'colour'"),
        ("--calibrate random:2 --model-config missing.yaml", "SL0201", "cannot be read"),
        ("--calibrate random:2 --repo missing", "SL0201", "there is no such folder"),
    ],
)
def test_options_that_cannot_be(model: str, options: str, code: str, what: str, tmp_path: Path) -> None:
    (problem,) = refused(*f"compile {model} {options} -o {tmp_path}/a.loom".split(), within=tmp_path)
    assert problem.code == code
    assert what in problem.what


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "T: 5\nchannels: 2\n"),
        ("a.toml", "T = 5\nchannels = 2\n"),
        ("a.json", '{"T": 5, "channels": 2}'),
    ],
)
def test_keywords_from_files(model: str, name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    command = f"check {model} --model-config {tmp_path / name} --arg channels=3 --json"
    assert spikeloom(*command.split()).json["parameters"] == 3 * 2 * 9 + 3 + 3 * 3 + 3


def test_time_where_the_shape_has_it(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\nfrom spikingjelly.activation_based import neuron\n\n"
        "def build():\n    return nn.Sequential(nn.Linear(4, 4), neuron.LIFNode(step_mode='m'))\n"
    )
    base = f"compile {tmp_path}/net.py:build --input-shape T,B,4 --target onnx --calibrate random:3"
    (problem,) = refused(*f"{base} -o {tmp_path}/a.loom".split(), within=tmp_path)
    assert (problem.code, problem.where) == ("SL0901", "--steps")
    done = spikeloom(*f"{base} -o {tmp_path}/a.loom --steps 6 --json".split()).json
    assert {entry["steps"] for entry in done["ledger"]} == {6}


# --- checkpoints -----------------------------------------------------------------------------------------


class Trainer:
    """Something that only the authors' own code knows."""


def test_checkpoints_of_trainers_load(model: str, tmp_path: Path) -> None:
    weights = {
        "module.conv.weight": torch.zeros(4, 2, 3, 3),
        "module.conv.bias": torch.ones(4),
        "module.head.weight": torch.ones(3, 4),
        "module.head.bias": torch.ones(3),
    }
    best = np.float64(0.9)
    args = argparse.Namespace(lr=0.1, output=Path("out"))
    torch.save({"model": weights, "args": args, "best": best, "epoch": 3}, tmp_path / "a.pth")
    document = spikeloom(*f"check {model} --weights {tmp_path}/a.pth --json".split()).json
    assert document["obstacles"] == []


def test_arguments_are_guessed_from_a_checkpoint_that_does_not_fit(model: str, tmp_path: Path) -> None:
    weights = {"conv.weight": torch.ones(7, 2, 3, 3), "conv.bias": torch.ones(7)}
    weights |= {"head.weight": torch.ones(3, 7), "head.bias": torch.ones(3)}
    torch.save(weights, tmp_path / "a.pt")
    obstacles = spikeloom(*f"check {model} --weights {tmp_path}/a.pt --json".split(), expect=2).json[
        "obstacles"
    ]
    assert {obstacle["remedy"] for obstacle in obstacles} == {"the checkpoint fits with --arg channels=7"}
    spikeloom(*f"check {model} --weights {tmp_path}/a.pt --arg channels=7".split())
    weights["head.bias"] = torch.ones(4)  # fits no arguments
    torch.save(weights, tmp_path / "a.pt")
    obstacles = spikeloom(*f"check {model} --weights {tmp_path}/a.pt --json".split(), expect=2).json[
        "obstacles"
    ]
    assert "fits with" not in obstacles[0]["remedy"]


def test_foreign_code_in_a_checkpoint_is_named_and_stripped(model: str, tmp_path: Path) -> None:
    tensors = {"conv.weight": torch.zeros(4, 2, 3, 3), "conv.bias": torch.ones(4)}
    tensors |= {"head.weight": torch.ones(3, 4), "head.bias": torch.ones(3)}
    torch.save({"state_dict": tensors, "trainer": Trainer()}, tmp_path / "a.pth")
    obstacles = spikeloom(*f"check {model} --weights {tmp_path}/a.pth --json".split(), expect=2).json[
        "obstacles"
    ]
    assert [obstacle["code"] for obstacle in obstacles] == ["SL0202"]
    assert "Trainer" in obstacles[0]["what"]
    assert "spikeloom weights strip --trust" in obstacles[0]["remedy"]
    strip = f"weights strip {tmp_path}/a.pth {tmp_path}/a.safetensors"
    (problem,) = refused(*strip.split(), within=tmp_path)
    assert problem.where == "--trust"
    assert spikeloom(*f"{strip} --trust --json".split()).json["tensors"] == 4
    spikeloom(*f"check {model} --weights {tmp_path}/a.safetensors".split())


def test_what_a_trainer_left_of_packages_that_are_not_here_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = ModuleType("gone_trainer")
    for name, base in (("State", object), ("Settings", dict), ("History", list)):
        setattr(library, name, type(name, (base,), {"__module__": "gone_trainer"}))
    monkeypatch.setitem(sys.modules, "gone_trainer", library)
    state = library.State()
    state.best = {1: 2}
    content = {"model": {"w": torch.ones(3)}, "state": state, "args": library.Settings(a=1)}
    torch.save(content | {"losses": library.History([3, 4, 5])}, tmp_path / "a.pth")
    monkeypatch.delitem(sys.modules, "gone_trainer")
    strip = ("weights", "strip", tmp_path / "a.pth", tmp_path / "a.safetensors", "--trust", "--json")
    assert spikeloom(*strip).json["tensors"] == 1
    assert load_file(tmp_path / "a.safetensors")["w"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("made", "remedy"),
    [
        (lambda: neuron.PSN(T=4), "train with SlidingPSN"),
        (lambda: neuron.KLIFNode(step_mode="m"), "declare its equations with Neuron.from_equations"),
        (lambda: neuron.LIAFNode(act=torch.relu, threshold_related=False), "use one of these"),
    ],
)
def test_a_refused_neuron_comes_with_a_way_around(made: Callable[[], nn.Module], remedy: str) -> None:
    _, [problem] = survey_neurons(nn.Sequential(made()))
    assert problem.remedy == remedy
    assert ";" not in problem.what


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("network.layers.0.blocks.0.attn.lepe.weight", "SpikMamba"),
        ("blocks.0.lmu.fft_H", "LMUFormer"),
        ("downblocks.0.conv1.tsmp", "Spiking Diffusion U-Net"),
        ("emb.weight", ""),
    ],
)
def test_names_tell_the_family(name: str, family: str) -> None:
    assert guess_family([Entry("patch_embed.proj.weight", "F32", (1,)), Entry(name, "F32", (1,))]) == family


def test_a_checkpoint_is_inspected_without_its_model(tmp_path: Path) -> None:
    tensors = {"block.0.attn.talking_heads.weight": torch.zeros(8, 8, 1, 1), "head.bias": torch.zeros(10)}
    torch.save({"state_dict": tensors}, tmp_path / "a.pth.tar")
    save_file(tensors, tmp_path / "a.safetensors")
    for name, kinds in (("a.pth.tar", {"float32"}), ("a.safetensors", {"F32"})):
        document = spikeloom("inspect", tmp_path / name, "--json").json
        assert document["family"] == "Spike-driven Transformer"
        assert document["numbers"] == 74
        assert {entry["name"]: entry["shape"] for entry in document["tensors"]} == {
            name: list(tensor.shape) for name, tensor in tensors.items()
        }
        assert {entry["dtype"] for entry in document["tensors"]} == kinds
        assert "looks like a Spike-driven Transformer" in spikeloom("inspect", tmp_path / name).out
    (tmp_path / "b.safetensors").write_bytes(b"damaged")
    assert "SL0202" in spikeloom("inspect", tmp_path / "b.safetensors", expect=4).err


# --- known models ----------------------------------------------------------------------------------------


def test_operations_and_who_executes_them() -> None:
    listed = {entry["name"]: entry for entry in spikeloom("ops", "--json").json["operations"]}
    assert set(listed) == set(all_ops())
    assert listed["conv2d"]["targets"] == ["loihi1", "loihi2", "onnx"]
    assert listed["lookup"]["targets"] == ["onnx"]
    assert listed["neuron"]["targets"] == []
    assert (listed["accumulate"]["state"], listed["add"]["state"]) == (True, False)
    only = {entry["name"] for entry in spikeloom("ops", "--target", "loihi2", "--json").json["operations"]}
    assert only == {name for name, entry in listed.items() if "loihi2" in entry["targets"]}
    assert "float only" in spikeloom("ops").out
    assert "no such target" in spikeloom("ops", "--target", "none", expect=4).err


def test_known_models_are_listed() -> None:
    listed = spikeloom("models", "--json").json["models"]
    assert [entry["name"] for entry in listed] == [model.name for model in known_models()]
    assert len({entry["name"] for entry in listed}) == len(listed) >= 12
    told = spikeloom("models", "sdt-v2-8-512").out
    assert "BICLab/Spike-Driven-Transformer-V2" in told
    assert "--input-shape B,3,224,224 --target onnx" in " ".join(told.split())
    assert "is no known model" in spikeloom("models", "gpt", expect=4).err
