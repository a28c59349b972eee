"""Models of several inputs by TOML, and the recurrence of RWKV as its authors' files write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.terminal import refused, spikeloom

CONDITIONED = '''
import torch
from spikingjelly.activation_based import neuron
from torch import nn


class Conditioned(nn.Module):
    """Frames, a step of a diffusion, and a switch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.conv = nn.Embedding(10, 6), nn.Conv2d(2, 6, 3, padding=1)
        self.lif = neuron.LIFNode(tau=2.0, v_threshold=0.3, step_mode="m")
        self.head = nn.Linear(6, 3)

    def forward(self, frames, t, double):
        current = self.conv(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        current = current + self.table(t)[..., None, None]
        if double:
            current = 2 * current
        return self.head(self.lif(current).mean((-1, -2)))


def build():
    return Conditioned().eval()
'''

DESCRIBED = """
input = "frames"
shape = "T,B,2,6,6"

[fixed.t]
value = 4
dtype = "int64"

[fixed.double]
value = true
dtype = "bool"
each = false
"""

RWKV = '''
import math

import torch
from spikingjelly.clock_driven.neuron import MultiStepLIFNode
from torch import nn
from torch.utils.cpp_extension import load

wkv_cuda = load(name="wkv", sources=["wkv_op.cpp", "wkv_cuda.cu"], verbose=True)


def RUN_CUDA(B, T, C, w, u, k, v):
    raise RuntimeError("needs a GPU")


class Mix(torch.jit.ScriptModule):
    """Keys, values and a receptance of this token and the one before."""

    def __init__(self, width):
        super().__init__()
        self.time_shift = nn.ZeroPad2d((0, 0, 1, -1))
        self.decay = nn.Parameter(torch.linspace(-2, 0.5, width))
        self.first = nn.Parameter(torch.full((width,), math.log(0.3)))
        self.key, self.value, self.receptance = (nn.Linear(width, width) for _ in range(3))
        self.norm = nn.LayerNorm(width)
        self.lif = MultiStepLIFNode(tau=2.0, v_threshold=0.1, backend="torch")

    @torch.jit.script_method
    def forward(self, x):
        B, T, C = x.size()
        x = self.norm(x)
        mixed = 0.6 * x + 0.4 * self.time_shift(x)
        k, v, r = self.key(mixed), self.value(mixed), torch.sigmoid(self.receptance(mixed))
        y = r * RUN_CUDA(B, T, C, self.decay, self.first, k, v)
        return self.lif(y.permute(1, 0, 2)).permute(1, 0, 2)


class Language(nn.Module):
    def __init__(self, tokens=50, width=16):
        super().__init__()
        torch.manual_seed(0)
        self.emb, self.mix, self.head = nn.Embedding(tokens, width), Mix(width), nn.Linear(width, tokens)

    def forward(self, tokens):
        x = self.emb(tokens.long())
        return self.head(x + self.mix(x))


def build():
    return Language().eval()
'''


@pytest.fixture
def conditioned(tmp_path: Path) -> Path:
    (tmp_path / "unet.py").write_text(CONDITIONED)
    (tmp_path / "unet.toml").write_text(DESCRIBED)
    return tmp_path


def test_a_toml_beside_the_factory_is_found(conditioned: Path) -> None:
    given = ("--target", "onnx", "--calibrate", "random:6", "--steps", 5)
    out = conditioned / "a.loom"
    told = spikeloom("compile", f"{conditioned}/unet.py:build", *given, "-o", out, "--json").json
    assert [e["differing"] for e in told["ledger"] if e["tolerance"] == "zero"] == [0, 0]
    assert 0.02 < told["rates"]["model.lif"] < 0.9


def test_another_toml_makes_another_network(conditioned: Path) -> None:
    other = conditioned / "calm.toml"
    other.write_text(DESCRIBED.replace("value = true", "value = false"))
    given = ("--target", "onnx", "--calibrate", "random:6", "--steps", 5, "--json")
    rates = [
        spikeloom(
            "compile", f"{conditioned}/unet.py:build", *given, *more, "-o", conditioned / f"{len(more)}.loom"
        ).json["rates"]["model.lif"]
        for more in ((), ("--model-inputs", other))
    ]
    assert rates[1] < rates[0]


def test_quantize_takes_the_same_description(conditioned: Path) -> None:
    other = conditioned / "calm.toml"
    other.write_text(DESCRIBED.replace("value = true", "value = false"))
    given = ("--target", "onnx", "--calibrate", "random:6", "--steps", 5, "--json")
    told = [
        spikeloom("quantize", f"{conditioned}/unet.py:build", *given, *more).json["layers"]
        for more in ((), ("--model-inputs", other))
    ]
    rates = [[layer for layer in layers if "lif" in layer["layer"]] for layers in told]
    assert rates[1] != rates[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("shape = 'T,B,2,6,6'", "KeyError: 'input'"),
        ("input = 'frames'\n[fixed.t]\nvalue = 'four'", "describes no inputs"),
        ("input = 'frames'\n[fixed.t]\nvalue = 4\ndtype = 'int9'", "int9"),
        ("input = 'frames'\ncolour = 3", "unknown keys"),
        ("input = ", "TOMLDecodeError"),
    ],
)
def test_a_malformed_description_is_refused(text: str, what: str, conditioned: Path) -> None:
    (conditioned / "unet.toml").write_text(text)
    out = conditioned / "a.loom"
    [problem] = refused(
        "compile", f"{conditioned}/unet.py:build", "--calibrate", "random:2", "-o", out, within=conditioned
    )
    assert problem.code == "SL0206"
    assert what in problem.what


def test_tokens_go_through_the_recurrence_of_rwkv(tmp_path: Path) -> None:
    """Its kernel needs a GPU and a compiler of C++; here it is an operation, exact on every engine."""
    (tmp_path / "gpt.py").write_text(RWKV)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 50, (8, 12)).astype(np.uint8))
    given = ("--input-shape", "B,T", "--steps", 12, "--target", "onnx", "--calibrate", tmp_path / "x.npy")
    out = tmp_path / "a.loom"
    told = spikeloom("compile", f"{tmp_path}/gpt.py:build", *given, "-o", out, "--json").json
    assert [e["differing"] for e in told["ledger"] if e["tolerance"] == "zero"] == [0, 0]
    assert 0.02 < told["rates"]["mix.lif"] < 0.9
    data = tmp_path / "x.npz"
    np.savez(data, x=np.load(tmp_path / "x.npy"))
    checked = spikeloom("verify", out, "--inputs", data, "--engines", "reference,onnx,event", "--json").json
    assert checked["mismatches"] == 0
    assert "integer_key_value" in spikeloom("inspect", out, "--graph").out
