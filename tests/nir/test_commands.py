"""``compile``, ``check`` and ``inspect`` of NIR files, from file to bundle to recordings."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from spikeloom.compiler.bundle import read_bundle
from spikeloom.compiler.frontends.nir.file import NirGraph, NirNode, write_nir
from tests.cli.terminal import refused, spikeloom

STEPS = 12


def network(current: bool = False) -> NirGraph:
    """Eight inputs, six neurons that fire, a delay, and a readout that leaks."""
    rng = np.random.default_rng(1)
    shape = {"r": np.ones(6), "v_leak": np.zeros(6), "v_threshold": np.linspace(0.4, 0.8, 6)}
    cuba = {"tau_syn": np.full(6, 3e-4), "tau_mem": np.full(6, 4e-4), "w_in": np.full(6, 2.0)}
    neuron = (
        NirNode("CubaLIF", {**shape, **cuba})
        if current
        else NirNode("LIF", {**shape, "tau": cuba["tau_mem"]})
    )
    nodes = {
        "input": NirNode("Input", {"shape": np.array([8])}),
        "fc": NirNode("Affine", {"weight": rng.normal(0.8, 1, (6, 8)), "bias": rng.normal(0, 0.1, 6)}),
        "lif": neuron,
        "late": NirNode("Delay", {"delay": np.repeat([1e-4, 2e-4], 3)}),
        "out": NirNode("Linear", {"weight": rng.normal(0, 1, (3, 6))}),
        "li": NirNode("LI", {"tau": np.full(3, 5e-4), "r": np.ones(3), "v_leak": np.zeros(3)}),
        "output": NirNode("Output", {"shape": np.array([3])}),
    }
    return NirGraph(nodes, tuple(pairwise(nodes)), version="1.0.8")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_nir(network(), tmp_path / "small.nir")
    return tmp_path / "small.nir"


@pytest.mark.parametrize("current", [False, True])
def test_a_file_becomes_a_bundle(current: bool, tmp_path: Path) -> None:
    file, bundle = tmp_path / "small.nir", tmp_path / "small.loom"
    write_nir(network(current), file)
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "x.npz", x=(rng.random((20, STEPS, 8)) < 0.4).astype(np.uint8), y=rng.integers(0, 3, 20)
    )
    options = ("--preset", "norse", "--target", "onnx", "--calibrate", tmp_path / "x.npz", "--ledger", 4)
    told = spikeloom("compile", file, *options, "-o", bundle, "--json").json
    assert 0.05 < told["rates"]["lif"] < 0.95
    zero = [entry for entry in told["ledger"] if entry["tolerance"] == "zero"]
    assert [entry["differing"] for entry in zero] == [0]
    forced = next(entry for entry in told["ledger"] if "decision by" in entry["against"])
    assert forced["differing"] <= 0.02 * forced["cells"]
    assert spikeloom("verify", bundle, "--inputs", tmp_path / "x.npz", "--json").json["mismatches"] == 0
    assert read_bundle(bundle).manifest["provenance"] == {"model": "small.nir", "preset": "norse"}
    assert spikeloom("run", bundle, "--inputs", tmp_path / "x.npz", "--json").json["samples"] == 20


def test_check_lists_what_stands_in_the_way(file: Path, tmp_path: Path) -> None:
    given = ("--preset", "norse", "--steps", STEPS)
    document = spikeloom("check", file, "--target", "onnx", *given, "--json").json
    assert (document["obstacles"], document["neurons"], document["layers"]) == ([], 6, 1)
    loihi = spikeloom("check", file, "--target", "loihi2", *given, "--json", expect=2).json
    assert loihi["obstacles"]
    bad = network()
    nodes = {**bad.nodes, "late": NirNode("Delay", {"delay": np.full(6, 1.5e-4)}), "li": NirNode("Theirs")}
    write_nir(NirGraph(nodes, (*bad.edges, ("input", "li"))), tmp_path / "bad.nir")
    told = spikeloom("check", tmp_path / "bad.nir", "--target", "onnx", *given, "--json", expect=2).json
    assert [entry["where"] for entry in told["obstacles"]] == ["late"]
    assert all(entry["code"] == "SL0302" for entry in told["obstacles"])


def test_inspect_prints_nodes(file: Path) -> None:
    document = spikeloom("inspect", file, "--json").json
    assert document["version"] == "1.0.8"
    assert {node["name"]: node["type"] for node in document["nodes"]}["li"] == "LI"
    assert ["lif", "late"] in document["edges"]
    printed = spikeloom("inspect", file).out
    assert "float64[6, 8]" in printed


def test_options_of_the_other_kind_are_refused(file: Path, tmp_path: Path) -> None:
    told = refused("check", file, "--arg", "T=4", "--input-shape", "T,B,8", within=tmp_path)
    assert [problem.where for problem in told] == ["--arg", "--input-shape"]
    (problem,) = refused("check", "model.py:factory", "--preset", "norse", within=tmp_path)
    assert problem.where == "--preset"
    (problem,) = refused("check", file, "--target", "onnx", within=tmp_path)
    assert (problem.code, problem.where) == ("SL0901", "--preset")
    (problem,) = refused("check", file, "--preset", "norse", "--dt", -1, within=tmp_path)
    assert problem.where == "--dt"


def test_the_papers_network_runs_on_recordings(data: Path, tmp_path: Path) -> None:
    """cnn_sinabs.nir in integers, on a sample of the recordings; docs/nir.md has all 60."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("kind = 'fixed_duration'\nwidth = 34\nheight = 34\nsteps = 300\nduration_us = 1000\n")
    given = ("--recipe", recipe, "--calibrate", data / "nmnist_small/train", "--samples", 4)
    network = data / "conformance/nir_paper/cnn_sinabs.nir"
    bundle = tmp_path / "cnn.loom"
    spikeloom("compile", network, "--preset", "sinabs", "--target", "onnx", *given, "-o", bundle)
    recordings = ("--events", data / "nmnist_small/test", "--labels", data / "nmnist_small/test.tsv")
    assert spikeloom("run", bundle, *recordings, "--json").json["right"] >= 57
