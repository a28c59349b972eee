"""Engines execute a compiled network; each is imported when it is opened.

``reference`` is the definition in NumPy, ``onnx`` runs on ONNX Runtime, ``event`` on compiled kernels that
skip what is zero. Targets add their own: ``loihi`` executes the steps of the chip.
"""

from __future__ import annotations

from collections.abc import Mapping

from spikeloom.compiler.graph.engine import Engine
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.target import Opener, RunnableTarget, find_target, target_names
from spikeloom.errors import InputError
from spikeloom.runtime.engines.checked import CheckedEngine


def _reference(graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
    from spikeloom.runtime.engines.reference import ReferenceEngine

    return ReferenceEngine(graph)


def _onnx(graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
    from spikeloom.runtime.engines.onnx import OnnxEngine

    missing = [name for name in ("step.onnx", "sequence.onnx") if name not in artifacts]
    if missing:
        raise InputError.of("SL0801", "onnx", f"the bundle holds no {' and no '.join(missing)}")
    return OnnxEngine(artifacts["step.onnx"], artifacts["sequence.onnx"], graph)


def _event(graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
    try:
        from spikeloom.runtime.engines.event.engine import EventEngine
    except ImportError as error:
        raise InputError.of(
            "SL0801", "event", f"{error.name} is not installed", remedy=f"pip install {error.name}"
        ) from error
    return EventEngine(graph)


_OPENERS: dict[str, Opener] = {"event": _event, "onnx": _onnx, "reference": _reference}


def engine_names() -> list[str]:
    """Names of the engines, sorted.

    >>> {"event", "onnx", "reference"} <= set(engine_names())
    True
    """
    return sorted({*_OPENERS, *_of_targets()})


def _of_targets() -> dict[str, Opener]:
    """Engines that installed targets offer."""
    targets = [find_target(name) for name in target_names()]
    return {
        name: opener
        for target in targets
        if isinstance(target, RunnableTarget)
        for name, opener in target.engines().items()
    }


def open_engine(name: str, graph: Graph, artifacts: Mapping[str, bytes]) -> Engine:
    """The engine of that name for an integer graph.

    ``artifacts`` are the target files of the bundle by relative path; ``onnx`` needs
    ``step.onnx`` and ``sequence.onnx``.

    Raises:
        InputError: SL0801, there is no such engine, or it lacks a file.
    """
    if name in _OPENERS:
        return _OPENERS[name](graph, artifacts)
    others = _of_targets()
    if name not in others:
        raise InputError.of("SL0801", name, "no such engine", wanted=" or ".join(engine_names()))
    return CheckedEngine(others[name](graph, artifacts), graph)
