"""Spikeloom puts trained spiking transformers on neuromorphic hardware.

    import spikeloom

    bundle = spikeloom.load("nmnist.loom")          # a compiled network, every byte checked
    session = spikeloom.Session(bundle)             # executed by ONNX Runtime
    for step in session.stream(chunks_of_events):   # as a camera delivers them
        print(step.step, step.prediction, step.spikes)

Compiling is ``spikeloom compile`` on the command line, or :func:`compile_model`; :func:`prepare` makes a
trained network ready for fine-tuning on a target's integers. Everything that goes wrong on purpose is a
:class:`SpikeloomError`. Names are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeloom.compiler.bundle import Bundle as Bundle
    from spikeloom.compiler.bundle import read_bundle as load
    from spikeloom.compiler.frontends.declared import declare_neuron as declare_neuron
    from spikeloom.compiler.graph.ops.neuron import Neuron as Neuron
    from spikeloom.compiler.pipeline import Options as Options
    from spikeloom.compiler.pipeline import compile_model as compile_model
    from spikeloom.compiler.prepare import prepare as prepare
    from spikeloom.errors import InputError as InputError
    from spikeloom.errors import InternalError as InternalError
    from spikeloom.errors import MismatchError as MismatchError
    from spikeloom.errors import Problem as Problem
    from spikeloom.errors import SpikeloomError as SpikeloomError
    from spikeloom.errors import UnsupportedError as UnsupportedError
    from spikeloom.runtime.events.live.source import open_live as open_live
    from spikeloom.runtime.events.recipe import FrameRecipe as FrameRecipe
    from spikeloom.runtime.session import Session as Session
    from spikeloom.runtime.windows import Windows as Windows

__version__ = "0.1.0"

_HOMES = {
    "Bundle": ("spikeloom.compiler.bundle", "Bundle"),
    "FrameRecipe": ("spikeloom.runtime.events.recipe", "FrameRecipe"),
    "InputError": ("spikeloom.errors", "InputError"),
    "InternalError": ("spikeloom.errors", "InternalError"),
    "MismatchError": ("spikeloom.errors", "MismatchError"),
    "Neuron": ("spikeloom.compiler.graph.ops.neuron", "Neuron"),
    "Options": ("spikeloom.compiler.pipeline", "Options"),
    "Problem": ("spikeloom.errors", "Problem"),
    "Session": ("spikeloom.runtime.session", "Session"),
    "SpikeloomError": ("spikeloom.errors", "SpikeloomError"),
    "UnsupportedError": ("spikeloom.errors", "UnsupportedError"),
    "Windows": ("spikeloom.runtime.windows", "Windows"),
    "compile_model": ("spikeloom.compiler.pipeline", "compile_model"),
    "declare_neuron": ("spikeloom.compiler.frontends.declared", "declare_neuron"),
    "load": ("spikeloom.compiler.bundle", "read_bundle"),
    "open_live": ("spikeloom.runtime.events.live.source", "open_live"),
    "prepare": ("spikeloom.compiler.prepare", "prepare"),
}

__all__ = [
    "Bundle",
    "FrameRecipe",
    "InputError",
    "InternalError",
    "MismatchError",
    "Neuron",
    "Options",
    "Problem",
    "Session",
    "SpikeloomError",
    "UnsupportedError",
    "Windows",
    "__version__",
    "compile_model",
    "declare_neuron",
    "load",
    "open_live",
    "prepare",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spikeloom' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
