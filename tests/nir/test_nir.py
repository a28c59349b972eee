"""NIR: files without loss and without leaving the file, published traces, the paper's trained network."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.compiler.frontends.nir.file import NirGraph, NirNode, read_nir, write_nir
from spikeloom.compiler.frontends.nir.lower import lower_nir
from spikeloom.compiler.frontends.nir.rules import RULES
from spikeloom.compiler.frontends.nir.semantics import preset
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, SPIKES
from spikeloom.compiler.graph.passes import run_passes
from spikeloom.compiler.passes.canonicalise import CANONICALISE
from spikeloom.compiler.quantize.activity import measure_activity
from spikeloom.compiler.quantize.quantize import quantize
from spikeloom.errors import InputError, UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines import open_engine
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.targets.onnx.target import OnnxTarget

PAPER = "conformance/nir_paper"


def _same(a: Any, b: Any) -> None:
    """Equal in structure, values and types."""
    assert type(a) is type(b)
    if isinstance(a, NirGraph):
        assert sorted(a.edges) == sorted(b.edges)
        assert a.version == b.version
        _same(dict(a.nodes), dict(b.nodes))
        _same(dict(a.metadata), dict(b.metadata))
    elif isinstance(a, NirNode):
        assert a.type == b.type
        _same(dict(a.parameters), dict(b.parameters))
        _same(dict(a.metadata), dict(b.metadata))
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            _same(a[key], b[key])
    elif isinstance(a, str):
        assert a == b
    else:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)


# --- files -----------------------------------------------------------------------------------------------

NAMES = st.text("abcXYZ_0123456789", min_size=1, max_size=8)
TYPES = st.sampled_from(["int8", "int64", "float16", "float32", "float64", "bool"])


@st.composite
def _values(draw: st.DrawFn) -> Any:
    if draw(st.integers(0, 4)) == 0:
        return draw(st.text("abc é", max_size=6))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    array = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, shape).astype(draw(TYPES))
    return array if shape else array[()]


@st.composite
def _graphs(draw: st.DrawFn, depth: int = 1) -> NirGraph:
    metadata = st.dictionaries(NAMES, _values(), max_size=2)
    parameters = st.dictionaries(NAMES.filter(lambda n: n not in ("type", "metadata")), _values(), max_size=3)
    leaf = st.builds(NirNode, st.sampled_from([*RULES, "Delay", "Theirs"]), parameters, metadata)
    node = st.one_of(leaf, _graphs(depth - 1)) if depth else leaf
    nodes = draw(st.dictionaries(NAMES, node, min_size=1, max_size=4))
    names = st.sampled_from(sorted(nodes))
    edges = tuple(draw(st.lists(st.tuples(names, names), max_size=5)))
    return NirGraph(nodes, edges, draw(metadata), "1.0" if depth else "")


@settings(max_examples=60)
@given(graph=_graphs())
def test_what_is_written_is_read_again(graph: NirGraph, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("nir") / "a.nir"
    write_nir(graph, path)
    _same(graph, read_nir(path))


@pytest.mark.parametrize("name", ["cnn_sinabs", "lif_norse", "lif_rockpool", "two_lif_neurons"])
def test_published_files_survive(name: str, data: Path, tmp_path: Path) -> None:
    graph = read_nir(data / PAPER / f"{name}.nir")
    write_nir(graph, tmp_path / "a.nir")
    _same(graph, read_nir(tmp_path / "a.nir"))


def _file(path: Path) -> h5py.File:
    write_nir(NirGraph({"a": NirNode("Input", {"shape": np.array([1])})}, ()), path)
    return h5py.File(path, "a")


def test_a_file_cannot_lead_outside(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["x"] = np.arange(3)
    (tmp_path / "raw.bin").write_bytes(b"\0" * 8)
    with _file(tmp_path / "a.nir") as file:
        node = file["node/nodes/a"]
        node["soft"] = h5py.SoftLink("/version")
        node["outside"] = h5py.ExternalLink(str(secret), "/x")
        node.create_dataset("raw", (1,), "f8", external=[(str(tmp_path / "raw.bin"), 0, 8)])
        layout = h5py.VirtualLayout((3,), "i8")
        layout[:] = h5py.VirtualSource(str(secret), "x", (3,))
        node.create_virtual_dataset("virtual", layout)
    with pytest.raises(InputError) as caught:
        read_nir(tmp_path / "a.nir")
    told = sorted((p.where.rsplit("/", 1)[-1], p.what) for p in caught.value.problems)
    assert told == [
        ("outside", "is a link that leads elsewhere"),
        ("raw", "keeps its data in other files"),
        ("soft", "is a link that leads elsewhere"),
        ("virtual", "keeps its data in other files"),
    ]


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.nir").write_text("no HDF5")
    with h5py.File(tmp_path / "empty.nir", "w"):
        pass
    write_nir(NirGraph({"a": NirNode("Input")}, (("a", "b"),)), tmp_path / "dangling.nir")
    for name in ("none.nir", "text.nir", "empty.nir", "dangling.nir"):
        with pytest.raises(InputError, match="SL0211"):
            read_nir(tmp_path / name)


# --- meaning ---------------------------------------------------------------------------------------------


def _nmnist(data: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    recipe = FrameRecipe(width=34, height=34, steps=300, duration_us=1000)
    samples = recordings(data / "nmnist_small/test", recipe, data / "nmnist_small/test.tsv")
    chosen = list(samples.at(np.linspace(0, len(samples) - 1, count).round().astype(int).tolist()))
    return np.stack([s.frames for s in chosen], 1), np.array([s.label for s in chosen])


def _predictions(graph: Graph, frames: np.ndarray) -> np.ndarray:
    run = Interpreter(graph)
    run.reset(frames.shape[1])
    outputs = [run.step(frame)[graph.outputs[0]] for frame in frames]
    classes: np.ndarray = np.sum(outputs, 0).argmax(1)
    return classes


def test_the_papers_network_on_recordings(data: Path) -> None:
    """All 60 recordings, frames of 1 ms: 58 right; sinabs states 98.47 % of the 10,000 of the whole set."""
    frames, labels = _nmnist(data, 60)
    nir = read_nir(data / PAPER / "cnn_sinabs.nir")
    graph = lower_nir(nir, preset("sinabs"), SPIKES)
    assert int((_predictions(graph, frames) == labels).sum()) == 58


def test_the_papers_network_in_integers(data: Path) -> None:
    frames, labels = _nmnist(data, 12)
    graph = lower_nir(read_nir(data / PAPER / "cnn_sinabs.nir"), preset("sinabs"), SPIKES)
    canonical = run_passes(graph, CANONICALISE)
    activity = measure_activity(canonical, frames)
    result = quantize(canonical, OnnxTarget().profile(8), activity, 300)
    assert (_predictions(result.graph, frames) == labels).sum() >= 11
    forms = OnnxTarget().artifacts(result.graph)
    engines = {name: open_engine(name, result.graph, forms) for name in ("reference", "onnx")}
    assert compare_engines(engines, [("nmnist", frames[:40])]).mismatches == 0


def _chain(*nodes: NirNode) -> NirGraph:
    names = ["input", *map(str, range(len(nodes))), "output"]
    ends = {"input": NirNode("Input", {"shape": np.array([4])}), "output": NirNode("Output", {})}
    inner = {str(index): node for index, node in enumerate(nodes)}
    return NirGraph({**ends, **inner}, tuple(pairwise(names)))


def test_several_edges_add_up() -> None:
    graph = _chain(NirNode("Scale", {"scale": np.array([1.0, 2.0, 3.0, 4.0])}))
    both = replace(graph, edges=(*graph.edges, ("input", "output")))
    run = Interpreter(lower_nir(both, preset("norse"), REAL))
    run.reset(1)
    (value,) = [run.step(np.ones((1, 4)))[name] for name in run.graph.outputs]
    assert value.tolist() == [[2.0, 3.0, 4.0, 5.0]]


def test_everything_without_a_counterpart_is_listed() -> None:
    lif = {"r": np.ones(4), "v_leak": np.zeros(4), "v_threshold": np.ones(4), "tau": np.linspace(1, 2, 4)}
    graph = _chain(NirNode("LIF", lif))
    side = {"delay": NirNode("Delay", {"delay": np.full(4, 1.5e-4)}), "cuba": NirNode("CubaLIF", {})}
    side["theirs"] = NirNode("Theirs", {})
    edges = (*graph.edges, ("input", "delay"), ("input", "cuba"), ("input", "theirs"))
    with pytest.raises(UnsupportedError) as caught:
        lower_nir(replace(graph, nodes={**graph.nodes, **side}, edges=edges), preset("norse"), REAL)
    told = {problem.where: problem.what for problem in caught.value.problems}
    assert told == {
        "0": "tau differs from neuron to neuron",
        "cuba": "its parameter tau_mem is missing",
        "delay": "its delays are not whole time steps of 0.0001 s",
        "theirs": "Theirs has no counterpart",
    }


def test_cycles_and_unknown_presets_are_refused() -> None:
    graph = _chain(NirNode("Scale", {"scale": np.ones(4)}))
    with pytest.raises(UnsupportedError, match="recurrent connections have no counterpart: 0"):
        lower_nir(replace(graph, edges=(*graph.edges, ("0", "0"))), preset("norse"), REAL)
    with pytest.raises(InputError, match="SL0901 nest"):
        preset("nest")
    with pytest.raises(InputError, match="no time step"):
        preset("norse", -1.0)
