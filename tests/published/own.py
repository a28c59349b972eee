"""Models of our own after published ones that have no public code, for the table and the tests."""

from __future__ import annotations

import importlib

import torch
from torch import nn

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.models import KnownModel

OWN = (
    KnownModel(
        name="spikformer-v2-8-384",
        title="Spikformer V2 (our reading of the paper)",
        repository="tests/published/factories",
        commit="",
        file="convolutional_stem.py",
        factory="build",
        reduced={"layers": 1, "width": 32, "heads": 2, "classes": 10},
        input_shape="B,3,224,224",
        reduced_shape="B,3,64,64",
        neuron="LIF, tau 2",
        attention="k'v first, times 0.125",
    ),
    KnownModel(
        name="points-32",
        title="Network of points of SpikePoint's kind (ours)",
        repository="tests/published/factories",
        commit="",
        file="points.py",
        factory="build",
        reduced={"groups": 4, "width": 16},
        input_shape="T,B,4,1024",
        reduced_shape="T,B,4,32",
        steps=16,
        neuron="LIF, tau 2",
        attention="none: the largest over points",
    ),
)


def build_own(model: KnownModel, reduced: bool) -> tuple[nn.Module, InputShape]:
    """The model, and the shape of its input."""
    module = importlib.import_module(f"tests.published.factories.{model.file.removesuffix('.py')}")
    torch.manual_seed(0)  # of the initial weights
    built: nn.Module = module.build(**(model.reduced if reduced else model.arguments))
    shape = (model.reduced_shape if reduced else "") or model.input_shape
    return built, InputShape.parse(shape)
