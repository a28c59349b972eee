"""A graph in a file: the same graph again, the same bytes again, and nothing else accepted."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from spikeloom.compiler.graph.graph import Graph, GraphBuilder, Stage
from spikeloom.compiler.graph.kinds import REAL, Type
from spikeloom.compiler.graph.op import Array, all_ops
from spikeloom.compiler.graph.ops.add import Add
from spikeloom.compiler.graph.printer import to_text
from spikeloom.compiler.graph.serialize import from_json, to_json
from spikeloom.compiler.graph.source import Source
from spikeloom.errors import InputError
from tests.operation_cases import FLOAT_ONLY, Case, cases

Document = tuple[dict[str, Any], dict[str, Array]]


def _written(graph: Graph) -> Document:
    document, tensors = to_json(graph)
    again: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return again, {name: array.copy() for name, array in tensors.items()}


def test_a_graph_comes_back_as_it_was(network: Graph) -> None:
    back = from_json(*_written(network))
    assert to_text(back) == to_text(network)
    assert (back.types, back.inputs, back.outputs, back.profile) == (
        network.types, network.inputs, network.outputs, "onnx"
    )  # fmt: skip
    assert back.node("conv").source == Source("conv", "model.py", 7)
    assert back.units["head"].scale == 0.25
    for old, new in zip(network.nodes, back.nodes, strict=True):
        assert (old.name, old.inputs, old.outputs) == (new.name, new.inputs, new.outputs)


@pytest.mark.parametrize("name", sorted(all_ops()))
def test_every_operation_comes_back_with_its_parameters(name: str) -> None:
    @settings(max_examples=10)
    @given(cases(name, integer=name not in FLOAT_ONLY))
    def check(case: Case) -> None:
        builder = GraphBuilder("one", Stage.CAPTURED)
        inputs = [builder.input(f"x{i}", kind) for i, kind in enumerate(case.types)]
        builder.output(builder.add("y", case.op, *inputs)[0])
        first = _written(builder.build())
        second = _written(from_json(*first))
        assert first[0] == second[0]
        assert first[1].keys() == second[1].keys()
        for key, array in first[1].items():
            assert array.dtype == second[1][key].dtype
            np.testing.assert_array_equal(array, second[1][key])

    check()


def test_the_same_graph_gives_the_same_text(network: Graph) -> None:
    first, second = (json.dumps(to_json(graph)[0]) for graph in (network, from_json(*_written(network))))
    assert first == second


# --- what is refused -------------------------------------------------------------------------------------


def _refuse(document: Any, tensors: dict[str, Array]) -> str:
    with pytest.raises(InputError, match=r"SL0703 graph\.json") as caught:
        from_json(document, tensors)
    return str(caught.value)


def test_types_that_are_not_those_of_the_operations_are_refused(network: Graph) -> None:
    for name in network.types:
        for change in ({"hi": 255}, {"shape": [1]}, {"kind": "real", "lo": None, "hi": None}):
            document, tensors = _written(network)
            if document["types"][name] == {**document["types"][name], **change}:
                continue
            document["types"][name] |= change
            _refuse(document, tensors)


def test_a_wider_input_is_refused_where_the_proof_no_longer_holds(network: Graph) -> None:
    """A tampered type cannot smuggle in numbers that overflow the state."""
    document, tensors = _written(network)
    document["types"]["x"] |= {"kind": "levels", "hi": 10**6}
    assert "the potential may reach" in _refuse(document, tensors)


def test_weights_that_break_a_rule_are_refused(network: Graph) -> None:
    document, tensors = _written(network)
    tensors["lif1/theta"] = -tensors["lif1/theta"]
    assert "theta" in _refuse(document, tensors)


def test_a_float_weight_in_an_integer_graph_is_refused(network: Graph) -> None:
    document, tensors = _written(network)
    tensors["head/weight"] = tensors["head/weight"].astype(np.float32)
    _refuse(document, tensors)


def test_a_float_graph_does_not_pass_for_an_integer_graph() -> None:
    builder = GraphBuilder("g", Stage.CANONICAL)
    x = builder.input("x", Type((2,), REAL))
    builder.output(builder.add("y", Add(), x, x)[0])
    document, tensors = _written(builder.build())
    from_json(document, tensors)
    assert "is real[2] in an integer graph" in _refuse({**document, "stage": "integer"}, tensors)


@pytest.mark.parametrize("document", [None, [], {}, "text", {"name": "g"}, {"nodes": 3}])
def test_another_document_is_refused(document: Any) -> None:
    _refuse(document, {})


FOREIGN: tuple[Any, ...] = (None, -1, "foreign", [], {}, [[1]])


def test_every_part_taken_away_or_replaced_is_refused_or_harmless(network: Graph) -> None:
    """Each value anywhere in the document, replaced by something foreign: never another exception."""
    document, tensors = _written(network)
    accepted = {
        _kind_of(path)
        for path in _paths(document)
        for foreign in FOREIGN
        if _refusal(_replaced(document, path, foreign), tensors) == ""
    }
    # names and notes; `outputs` of a node, which follow from its name; what an operation does not need
    assert accepted <= {
        "name", "profile", "source", "outputs", "units", "parameters", "bias", "current_decay", "reset_by"
    }  # fmt: skip


def _refusal(document: Any, tensors: dict[str, Array]) -> str:
    """The code with which a document is refused, or ""."""
    try:
        from_json(document, tensors)
    except InputError as error:
        return error.problems[0].code
    return ""


def _kind_of(path: tuple[Any, ...]) -> str:
    words = [part for part in path if isinstance(part, str)]
    return "source" if "source" in words else words[-1]


def test_a_missing_tensor_is_refused(network: Graph) -> None:
    document, tensors = _written(network)
    for name in tensors:
        _refuse(document, {key: array for key, array in tensors.items() if key != name})


def test_a_tensor_of_another_shape_is_refused_unless_it_broadcasts(network: Graph) -> None:
    document, tensors = _written(network)
    accepted = {
        (name, shape)
        for name in ("conv/weight", "lif1/theta", "lif1/bias", "head/weight", "head/bias")
        for shape in ((), (0,), (1,), (7,), (2, 2, 2, 2, 2))
        if _refusal(document, {**tensors, name: np.ones(shape, tensors[name].dtype)}) == ""
    }
    assert accepted == {("lif1/bias", ()), ("lif1/bias", (1,)), ("lif1/theta", (1,))}


def _paths(document: Any) -> list[tuple[Any, ...]]:
    """The way to every value in a document, whole branches included."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    paths: list[tuple[Any, ...]] = []
    for key, value in items:
        paths.append((key,))
        if isinstance(value, (dict, list)):
            paths += [(key, *path) for path in _paths(value)]
    return paths


def _replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    tampered = copy.deepcopy(document)
    parent = tampered
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return tampered
