"""Engines execute a compiled network; each is imported when it is opened.

``reference`` is the definition in NumPy, ``onnx`` runs on ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph
from spikeloom.errors import InputError

Opener = Callable[[Graph, Mapping[str, bytes]], Engine]


def _reference(graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
    from spikeloom.runtime.engines.reference import ReferenceEngine

    return ReferenceEngine(graph)


def _onnx(graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
    from spikeloom.runtime.engines.onnx import OnnxEngine

    missing = [name for name in ("step.onnx", "sequence.onnx") if name not in artifacts]
    if missing:
        raise InputError.of("SL0801", "onnx", f"the bundle holds no {' and no '.join(missing)}")
    return OnnxEngine(artifacts["step.onnx"], artifacts["sequence.onnx"], graph)


_OPENERS: dict[str, Opener] = {"onnx": _onnx, "reference": _reference}


def engine_names() -> list[str]:
    """Names of the engines, sorted.

    >>> engine_names()
    ['onnx', 'reference']
    """
    return sorted(_OPENERS)


def open_engine(name: str, graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
    """The engine of that name for an integer graph.

    ``artifacts`` are the target files of the bundle by relative path; ``onnx`` needs
    ``step.onnx`` and ``sequence.onnx``.

    Raises:
        InputError: SL0801, there is no such engine, or it lacks a file.
    """
    if name not in _OPENERS:
        raise InputError.of("SL0801", name, "no such engine", wanted=" or ".join(engine_names()))
    return _OPENERS[name](graph, artifacts)
