"""``spikeloom models``: the published spiking transformers that are known."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from spikeloom.cli.console import output as console
from spikeloom.cli.console import print_json, table
from spikeloom.cli.sources import Json
from spikeloom.compiler.models import KnownModel, known_models
from spikeloom.errors import InputError


def models(
    name: Annotated[str | None, typer.Argument(help="One of them, in detail.")] = None, json: Json = False
) -> None:
    """List the published models that are known, or show how one of them is compiled."""
    known = known_models()
    if name is not None:
        known = (_find(name),)
    if json:
        print_json({"models": [asdict(model) for model in known]})
    elif name is not None:
        _print(known[0])
    else:
        listed = table("", "name", "parameters", "neuron", "attention", "repository")
        for model in known:
            size = f"{model.parameters:.2f} M" if model.parameters else ""
            listed.add_row(model.name, size, model.neuron, model.attention, model.repository)
        console.print(listed)


def _find(name: str) -> KnownModel:
    for model in known_models():
        if model.name == name:
            return model
    raise InputError.of(
        "SL0901", name, "is no known model", wanted=" or ".join(model.name for model in known_models())
    )


def _print(model: KnownModel) -> None:
    for key, value in asdict(model).items():
        if value:
            console.print(f"{key:14} {value}", markup=False, highlight=False)
    arguments = [f"--arg {key}={shlex.quote(str(value))}" for key, value in model.arguments.items()]
    shape = f"--input-shape {model.input_shape}"
    command = ["spikeloom check", f"{model.file}:{model.factory}", *arguments, shape, "--target onnx"]
    console.print("\nin a clone of the repository:\n  " + " ".join(command), markup=False, highlight=False)
