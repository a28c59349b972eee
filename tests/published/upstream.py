"""The known models from clones of their authors' repositories."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from spikeloom.cli.model import ModelSource, load_model
from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.models import KnownModel

WRAPPERS = Path(__file__).parent / "factories"
PACKAGES = ("src/", "W8ASpike/")
"""Folders of a clone whose files import each other as a package."""
VARIABLE = "SPIKELOOM_UPSTREAM"
"""Names the folder of the clones, each in a folder called owner+name."""


def clone_of(model: KnownModel) -> Path | None:
    """The folder of a model's repository, if there is a clone of it."""
    folder = Path(os.environ.get(VARIABLE, "")) / model.repository.replace("/", "+")
    return folder if os.environ.get(VARIABLE) and folder.is_dir() else None


def _imports(folder: Path, model: KnownModel) -> Path:
    """From where a model's file or its wrapper imports."""
    beside = (folder / model.file).parent
    return beside if model.wrapper and not model.file.startswith(PACKAGES) else folder


def build(model: KnownModel, reduced: bool) -> tuple[nn.Module, InputShape]:
    """The model as its authors wrote it, with the keywords of the list."""
    folder = clone_of(model)
    assert folder is not None
    factory = (model.reduced_factory if reduced else "") or model.factory
    shape = (model.reduced_shape if reduced else "") or model.input_shape
    arguments = dict(model.reduced if reduced else model.arguments)
    spec = str(WRAPPERS / model.wrapper) if model.wrapper else f"{folder / model.file}:{factory}"
    source = ModelSource(spec, None, arguments, _imports(folder, model))
    torch.manual_seed(0)
    loaded = load_model(source, shape, None)
    return loaded.model, loaded.shape
