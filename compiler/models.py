"""The published spiking transformers that are known: where their code is, and how it is called."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class KnownModel:
    """A published model.

    Attributes:
        name: short, unique.
        title: as its authors call it.
        repository: owner/name on GitHub.
        commit: what was tried.
        file: of the model in the repository.
        factory: function or class in the file.
        arguments: keywords for the full published configuration.
        reduced: other keywords for a configuration that runs in seconds.
        input_shape: with the letters T and B.
        reduced_shape: of the reduced configuration.
        steps: time steps, where neither input nor model says them.
        parameters: published number of parameters in millions; 0 if none is given.
        neuron: what its neurons are.
        attention: its attention in one line.
        remark: what to know.
        wrapper: file and function of the tests that call the factory, where no keywords can.
    """

    name: str
    title: str
    repository: str
    commit: str
    file: str
    factory: str
    input_shape: str
    neuron: str
    attention: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    reduced: Mapping[str, Any] = field(default_factory=dict)
    reduced_shape: str = ""
    reduced_factory: str = ""
    steps: int = 0
    parameters: float = 0.0
    remark: str = ""
    wrapper: str = ""


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Every known model, in the order of the list.

    >>> any(model.name == "spikformer-8-512" for model in known_models())
    True
    """
    content = tomllib.loads((files("spikeloom.compiler") / "models.toml").read_text("utf-8"))
    return tuple(KnownModel(**entry) for entry in content["model"])
