"""Failing networks on disk: bundles of a graph and frames, and a test that runs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spikeloom import __version__
from spikeloom.atomic import write_text
from spikeloom.compiler.bundle import graph_members, json_member, read_bundle, tensor_member, write_bundle
from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.target import find_target
from spikeloom.runtime.engines import open_engine

_TEST = '''"""{first} and {second} once differed here: {place}."""

from __future__ import annotations

from pathlib import Path

from spikeloom.runtime.divergence import first_difference
from spikeloom.runtime.failures import open_anew, read_failure
from spikeloom.runtime.session import run_from_reset


def test_{name}() -> None:
    graph, frames = read_failure(Path(__file__).with_name("{file}"))
    wanted, got = (run_from_reset(open_anew(name, graph), frames) for name in ("{first}", "{second}"))
    assert first_difference(graph, wanted, got) is None
'''


def open_anew(name: str, graph: Graph) -> Engine:
    """An engine on a graph, its target files made for it and not taken from a bundle.

    Raises:
        InputError: SL0801, there is no such engine.
        UnsupportedError: SL0602, the ONNX target does not hold the graph.
    """
    files: Mapping[str, bytes] = find_target("onnx").artifacts(graph) if name == "onnx" else {}
    return open_engine(name, graph, files)


def write_failure(path: Path, graph: Graph, frames: Array) -> None:
    """Write a network and frames as a bundle, which `verify`, `diff` and `reduce` take.

    Raises:
        InputError: SL0902, the path cannot be written.
    """
    forms = find_target("onnx").artifacts(graph)
    members = {
        **graph_members(graph),
        **{f"onnx/{name}": data for name, data in forms.items()},
        "traces.safetensors": tensor_member({"frames": np.ascontiguousarray(frames)}),
        "ledger.json": json_member([]),
    }
    write_bundle(path, members, {"version": __version__, "target": "onnx"})


def read_failure(path: Path) -> tuple[Graph, Array]:
    """The network and its frames [steps, samples, ...].

    Raises:
        InputError: SL0701 to SL0703, it is no sound bundle, or holds no frames.
    """
    bundle = read_bundle(path)
    frames: Array = bundle.tensors("traces.safetensors")["frames"]
    return bundle.graph, frames


def write_test(folder: Path, name: str, engines: tuple[str, str], place: str) -> Path:
    """Write a test for pytest of the bundle ``name.loom`` that lies beside it; returns its path."""
    path = folder / f"test_{name}.py"
    first, second = engines
    text = _TEST.format(first=first, second=second, place=place, name=name, file=f"{name}.loom")
    write_text(path, text)
    return path
