"""The target: its profile, what it refuses, and that it is found without importing onnx."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import REAL, SPIKES, Kind, Type, levels
from spikeloom.compiler.graph.ops.affine import Affine
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.ops.linear import Linear
from spikeloom.compiler.graph.target import Target
from spikeloom.errors import UnsupportedError
from spikeloom.targets.onnx import onnx
from tests.random_networks import random_network


def one_op_graph(kind: Type, *ops: object) -> Graph:
    builder = GraphBuilder("one", Stage.INTEGER, "onnx")
    name = builder.input("x", kind)
    for number, op in enumerate(ops):
        (name,) = builder.add(f"op{number}", op, name)  # type: ignore[arg-type]
    builder.output(name)
    return builder.build()


def test_importing_the_target_does_not_import_onnx() -> None:
    script = (
        "import sys; from spikeloom.targets.onnx import onnx; t = onnx(); t.profile(8); t.costs();"
        "print({'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"


def test_it_is_a_target() -> None:
    assert isinstance(onnx(), Target)
    assert onnx().name == "onnx"
    assert not onnx().costs()


@pytest.mark.parametrize("bits", range(2, 9))
def test_profile(bits: int) -> None:
    profile = onnx().profile(bits)
    assert (profile.name, profile.weight_bits) == ("onnx", bits)
    assert (profile.fraction_bits, profile.threshold_step, profile.state_bits) == (6, 1, 32)
    assert profile.threshold_groups is None


@pytest.mark.parametrize("bits", [1, 9, 16])
def test_other_weights_are_refused(bits: int) -> None:
    with pytest.raises(UnsupportedError, match=r"SL0504 .*wanted 2 to 8 bits"):
        onnx().profile(bits)


def test_a_sound_graph_has_no_obstacles() -> None:
    assert onnx().obstacles(random_network(0).graph) == []


def test_float_operations_are_obstacles_and_all_are_listed() -> None:
    scale = Affine(np.ones(1), np.zeros(1))
    graph = one_op_graph(Type((3,), REAL), scale, Linear(np.ones((2, 3))), scale)
    problems = onnx().obstacles(graph)
    assert [problem.where for problem in problems] == ["x", "op0", "op1", "op2"]
    assert {problem.code for problem in problems} == {"SL0602"}
    with pytest.raises(UnsupportedError, match="op2"):
        onnx().artifacts(graph)


@pytest.mark.parametrize(
    ("kind", "where"), [(Kind("sum", 0, 256), "x"), (Kind("sum", -1, 1), "x"), (levels(255), None)]
)
def test_an_input_must_fit_bytes(kind: Kind, where: str | None) -> None:
    graph = one_op_graph(Type((2,), kind), Linear(np.ones((1, 2), np.int8)))
    assert [problem.where for problem in onnx().obstacles(graph)] == ([where] if where else [])


def test_ends_must_be_one_and_one_and_differ() -> None:
    builder = GraphBuilder("ends", Stage.INTEGER)
    for name in "ab":
        builder.output(builder.input(name, Type((2,), SPIKES)))
    problems = [str(problem) for problem in onnx().obstacles(builder.build())]
    assert len(problems) == 3
    assert "several inputs or outputs" in problems[0]


def test_more_levels_than_a_byte_holds_are_refused() -> None:
    many = IntegerNeuron(np.arange(256).reshape(256, 1), np.zeros(1, int), 2048, 6)
    (problem,) = onnx().obstacles(one_op_graph(Type((2,), SPIKES), many))
    assert "byte" in problem.what


def test_states_wider_than_int32_are_refused() -> None:
    wide = IntegerNeuron(np.array([[9]]), np.array([0]), 2048, 6, state_bits=33)
    (problem,) = onnx().obstacles(one_op_graph(Type((2,), SPIKES), wide))
    assert (problem.wanted, problem.got) == ("32 bits", "33")


def test_a_soft_reset_beyond_int32_is_refused() -> None:
    thetas = np.array([[9], [2**31 - 3]])
    deep = IntegerNeuron(thetas, np.array([0]), 2048, 6, reset="soft", reset_by=np.array([2**30]))
    (problem,) = onnx().obstacles(one_op_graph(Type((2,), SPIKES), deep))
    assert "soft reset" in problem.what
