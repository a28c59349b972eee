"""Networks of tokens: a vocabulary that bytes do not hold, from the author's factory to a stream."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeloom.compiler.bundle import read_bundle
from spikeloom.errors import InputError
from spikeloom.runtime.session import Session
from tests.cli.terminal import refused, spikeloom

TOKENS, STEPS = 50_277, 10
LANGUAGE = '''
import torch
from spikingjelly.activation_based import neuron
from torch import nn


class Language(nn.Module):
    """Two tables of rows, a neuron along the tokens, logits; its tokens are integers, as authors write it."""

    def __init__(self, tokens, width):
        super().__init__()
        torch.manual_seed(0)
        self.emb, self.places = nn.Embedding(tokens, width), nn.Embedding(64, width)
        self.fc, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.lif = neuron.LIFNode(tau=2.0, v_threshold=0.2, step_mode="m")
        self.head = nn.Linear(width, WORDS)

    def forward(self, tokens):
        x = self.norm(self.emb(tokens))
        return self.head(self.lif(self.fc(x).transpose(0, 1)).transpose(0, 1) + x)


WORDS = 20


def build(tokens=50277, width=8):
    return Language(tokens, width).eval()
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens")
    (path / "gpt.py").write_text(LANGUAGE)
    texts = np.random.default_rng(0).integers(0, TOKENS, (6, STEPS))
    texts[0, 0] = TOKENS - 1
    np.save(path / "texts.npy", texts)
    np.savez(path / "texts.npz", x=texts, y=np.zeros(6, int))
    return path


@pytest.fixture(scope="module")
def network(folder: Path) -> Path:
    path = folder / "gpt.loom"
    told = spikeloom("compile", *MODEL(folder), "--calibrate", "random:4", "-o", path, "--json").json
    assert [e["differing"] for e in told["ledger"] if e["tolerance"] == "zero"] == [0, 0]
    assert all(0.02 < rate < 0.9 for rate in told["rates"].values())
    return path


def MODEL(folder: Path) -> tuple[object, ...]:  # noqa: N802
    shape = ("--input-shape", "B,T", "--steps", STEPS, "--target", "onnx")
    return (f"{folder}/gpt.py:build", *shape)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_vocabulary_is_the_model_s_whatever_it_was_calibrated_on(network: Path) -> None:
    bundle = read_bundle(network)
    assert bundle.json("recipe.json")["vocabulary"] == TOKENS
    assert repr(bundle.graph.types[bundle.graph.inputs[0]]) == f"index({TOKENS})[]"
    assert "model.lif" in {node.name for node in bundle.graph.neurons()}
    assert bundle.tensors("traces.safetensors")["frames"].dtype == np.uint16


@pytest.mark.parametrize("name", ["texts.npy", "texts.npz"])
def test_all_engines_agree_on_tokens(network: Path, folder: Path, name: str) -> None:
    given = ("--inputs", folder / name, "--engines", "reference,onnx,event", "--json")
    assert spikeloom("verify", network, *given).json["mismatches"] == 0
    assert spikeloom("verify", network, "--engines", "reference,onnx,event", "--json").json["mismatches"] == 0
    differing = spikeloom(
        "diff", network, "--inputs", folder / name, "--engines", "reference,event", "--json"
    )
    assert differing.json["difference"] is None


def test_run_report_and_inspect_take_them(network: Path, folder: Path, tmp_path: Path) -> None:
    told = spikeloom("run", network, "--inputs", folder / "texts.npz", "--json").json
    assert told["samples"] == 6
    spikeloom("report", network, "--inputs", folder / "texts.npy", "-o", tmp_path / "a.html")
    assert f"index({TOKENS})" in spikeloom("inspect", network, "--graph").out
    assert spikeloom("estimate", network, "--inputs", folder / "texts.npy", "--json").json


def test_check_and_quantize_take_the_same_factory(folder: Path) -> None:
    told = spikeloom("check", *MODEL(folder), "--calibrate", folder / "texts.npy", "--json").json
    assert told["obstacles"] == []
    assert told["parameters"] > 8 * TOKENS
    assert spikeloom("quantize", *MODEL(folder), "--calibrate", folder / "texts.npy", "--json").json["layers"]


def test_a_toml_says_it_too(folder: Path) -> None:
    described = folder / "other.toml"
    described.write_text('input = "tokens"\nshape = "B,T"\ndtype = "int64"\n')
    given = ("--model-inputs", described, "--calibrate", "random:4", "--steps", STEPS, "--target", "onnx")
    assert spikeloom("check", f"{folder}/gpt.py:build", *given, "--json").json["obstacles"] == []


def test_a_chip_takes_no_tokens_and_says_so_once(folder: Path) -> None:
    given = (*MODEL(folder)[:-1], "loihi2", "--calibrate", folder / "texts.npy")
    [problem] = spikeloom("check", *given, "--json", expect=2).json["obstacles"]
    assert problem["code"] == "SL0501"
    assert problem["what"] == "looks tokens up in a table, and a chip takes spikes and not tokens"
    assert "onnx" in problem["remedy"]


@pytest.mark.parametrize(
    ("values", "code", "what", "got"),
    [
        ([[TOKENS] * STEPS], "SL0121", "10 of 10 values cannot be used", f"{TOKENS} at [0, 0]"),
        ([[-1] + [0] * (STEPS - 1)], "SL0121", "1 of 10 values cannot be used", "-1 at [0, 0]"),
        ([[0.5] + [0.0] * (STEPS - 1)], "SL0121", "1 of 10 values cannot be used", "0.5 at [0, 0]"),
        ([[np.nan] + [0.0] * (STEPS - 1)], "SL0121", "1 of 10 values cannot be used", "nan at [0, 0]"),
        ([["a"] * STEPS], "SL0121", "holds no numbers", "<U1"),
        ([[0] * (STEPS + 1)], "SL0111", "a sample has not the shape that the network takes", "[11]"),
        ([0] * STEPS, "SL0111", "a sample has not the shape that the network takes", "[]"),
    ],
)
def test_what_is_no_token_is_refused(
    network: Path, tmp_path: Path, values: list[Any], code: str, what: str, got: str
) -> None:
    np.save(tmp_path / "bad.npy", np.array(values))
    [problem] = refused("run", network, "--inputs", tmp_path / "bad.npy", within=tmp_path)
    assert (problem.code, problem.what, problem.got) == (code, what, got)
    if "values" in what:
        assert problem.wanted == "whole numbers from 0 to 50,276"
        assert problem.remedy == "encode the text with the model's own tokenizer"


def test_calibration_is_refused_before_the_model_is_captured(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", np.full((2, STEPS), TOKENS))
    given = ("--calibrate", tmp_path / "bad.npy", "-o", tmp_path / "a.loom")
    [problem] = refused("compile", *MODEL(folder), *given, within=tmp_path)
    assert (problem.code, problem.where) == ("SL0121", "--calibrate")


@pytest.mark.parametrize("engine", ["event", "onnx", "reference"])
def test_a_stream_of_tokens_is_the_sample_and_goes_on(
    network: Path, folder: Path, tmp_path: Path, engine: str
) -> None:
    """Longer than the bundle's samples, stopped in the middle, and with the logits of eager PyTorch's net."""
    text = np.load(folder / "texts.npy").ravel()[: 2 * STEPS + 3]
    np.save(tmp_path / "all.npy", text)
    np.save(tmp_path / "half.npy", text[: STEPS + 1])
    given = ("--engine", engine, "--json")
    *wanted, last = lines(spikeloom("stream", network, tmp_path / "all.npy", *given).out)
    assert last == {"summary": {"tokens": len(text)}}
    state = ("--state", tmp_path / "state")
    *first, _ = lines(spikeloom("stream", network, tmp_path / "half.npy", *given, *state).out)
    *rest, _ = lines(spikeloom("stream", network, tmp_path / "all.npy", *given, *state).out)
    assert first + rest == wanted
    session = Session(read_bundle(network), engine)
    results = list(session.tokens(text))
    assert [line["output"] for line in wanted] == [result.output.max() for result in results]
    whole = np.concatenate([result.output[None] for result in results[:STEPS]]).sum(0)
    assert np.allclose(whole, results[STEPS - 1].evidence)


def test_tokens_come_through_a_pipe(
    network: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = np.load(folder / "texts.npy")[0]
    np.save(tmp_path / "a.npy", text)

    def piped(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    piped("\n".join(map(str, text)).encode())
    wanted = spikeloom("stream", network, tmp_path / "a.npy").out
    assert spikeloom("stream", network, "stdin:tokens").out == wanted
    piped(b"7 8 nine")
    answer = spikeloom("stream", network, "stdin:tokens", expect=4)
    assert len(answer.out.splitlines()) == 2
    assert "SL0121 stdin:tokens, word 3: is no token" in answer.err
    piped(b"7 " + b"9" * 10**6)
    assert "SL0121 stdin:tokens, word 2" in spikeloom("stream", network, "stdin:tokens", expect=4).err


def test_options_of_events_are_refused(network: Path, folder: Path, tmp_path: Path) -> None:
    given = ("--stride", 2, "--seconds", 3)
    problems = refused("stream", network, folder / "texts.npy", *given, within=tmp_path)
    assert [(p.code, p.where) for p in problems] == [("SL0901", "--stride"), ("SL0901", "--seconds")]
    [problem] = refused("stream", network, "a.bs2", within=tmp_path)
    assert problem.code == "SL0106"
    [problem] = refused("stream", network, folder / "texts.npy", within=tmp_path)
    assert (problem.code, problem.wanted) == ("SL0111", "[steps]")


def test_a_session_refuses_what_it_was_not_given_by_its_recipe(network: Path) -> None:
    session = Session(read_bundle(network), "event")
    with pytest.raises(InputError, match=r"SL0803 .*wrong type \(wanted uint16, got int64\).*encode"):
        session.step(np.array(3))
    with pytest.raises(InputError, match=r"SL0803 .*not of the vocabulary \(wanted 0..50276, got 60000\)"):
        session.step(np.array(60_000, np.uint16))
    with pytest.raises(InputError, match="SL0121 token 0"):
        list(session.tokens([TOKENS]))


def test_a_step_does_not_copy_the_table(tmp_path: Path) -> None:
    """A token takes one row: a table of a hundred megabytes costs a step neither its memory nor its time."""
    import tracemalloc

    from spikeloom.compiler.graph.graph import GraphBuilder, Stage
    from spikeloom.compiler.graph.kinds import Type, index
    from spikeloom.compiler.graph.ops.embedding import Embedding
    from spikeloom.compiler.graph.ops.linear import Linear
    from spikeloom.runtime.failures import open_anew

    rows = np.zeros((100_000, 256), np.int16)
    builder = GraphBuilder("table", Stage.INTEGER, "onnx")
    x = builder.input("x", Type((), index(len(rows))))
    (row,) = builder.add("rows", Embedding(rows), x)
    builder.output(*builder.add("fc", Linear(np.ones((4, 256), np.int8)), row))
    graph = builder.build()
    for name in ("reference", "event", "onnx"):
        engine = open_anew(name, graph)
        engine.reset(1)
        frames = np.full((1, 1), 99_999, np.uint32)
        engine.run(frames)
        tracemalloc.start()
        engine.run(frames)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < rows.nbytes / 100, name
