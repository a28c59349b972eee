"""The example networks are SpikingJelly's own, take what the recipes make, and fit their checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from spikingjelly.activation_based.model.spikformer import Spikformer

import examples.digits.model
import examples.nmnist.meta_spikeformer
import examples.nmnist.model
import examples.nmnist.qkformer
import examples.nmnist.spike_driven
from spikeloom.runtime.events.recipe import FrameRecipe

MODELS = [examples.digits.model, examples.nmnist.model]


@pytest.mark.parametrize(("model", "parameters"), [(MODELS[0], 129_546), (MODELS[1], 95_882)])
def test_network_is_spikformer_itself(model: ModuleType, parameters: int) -> None:
    network = model.build()
    assert type(network) is Spikformer
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("model", MODELS)
def test_declared_input_is_what_the_recipe_makes_and_the_network_takes(model: ModuleType) -> None:
    recipe = FrameRecipe.from_toml(Path(str(model.__file__)).with_name("recipe.toml"))
    assert ("T", "B", *recipe.shape) == model.INPUT_SHAPE
    network = model.build().eval()
    assert recipe.steps == network.T
    with torch.no_grad():
        scores = network(torch.zeros(recipe.steps, 3, *recipe.shape))
    assert scores.shape == (recipe.steps, 3, 10)


@pytest.mark.parametrize("model", MODELS)
def test_config_changes_the_network_and_leaves_other_keys_alone(model: ModuleType) -> None:
    assert model.build({"num_classes": 3, "frame_us": 60_000}).head.out_features == 3
    assert model.build().head.out_features == 10


def test_shared_checkpoint_loads_strictly(data: Path) -> None:
    checkpoint = torch.load(data / "spikformer_tiny_nmnist.pt", weights_only=True)
    network = examples.nmnist.model.build(checkpoint["config"])
    network.load_state_dict(checkpoint["state_dict"])
    same = {key: checkpoint["config"][key] for key in examples.nmnist.model.CONFIG}
    assert same == examples.nmnist.model.CONFIG


@pytest.mark.parametrize(
    ("model", "parameters", "answers"),
    [
        (examples.nmnist.spike_driven, 130_178, 1),
        (examples.nmnist.meta_spikeformer, 181_546, 2),
        (examples.nmnist.qkformer, 120_626, 1),
    ],
)
def test_other_kinds_of_transformers_take_the_same_frames(
    model: ModuleType, parameters: int, answers: int
) -> None:
    """Two of them take the mean over time themselves."""
    network = model.build({"ignored": 1}).eval()
    assert sum(p.numel() for p in network.parameters()) == parameters
    with torch.no_grad():
        scores = network(torch.zeros(5, 3, *model.INPUT_SHAPE[2:]))
    assert scores.shape == (5, 3, 10)[-1 - answers :]
    assert model.build({"num_classes": 3}).head.out_features == 3
