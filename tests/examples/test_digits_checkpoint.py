"""The committed checkpoint of the digits: small, strict, accurate, and alive in every layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from examples.digits import model
from examples.training import Recordings, firing_rates, load_checkpoint, load_recordings, measure
from spikeloom.runtime.events.recipe import FrameRecipe

FOLDER = Path(str(model.__file__)).parent
CHECKPOINT = FOLDER / "digits.pt"
BOUND = 57  # of 60: digits.pt gets 59; another processor's rounding may flip a spike, not lose three answers


@pytest.fixture(scope="module")
def held_out(digits: Path) -> Recordings:
    return load_recordings(digits, "test", FrameRecipe.from_toml(FOLDER / "recipe.toml"))


def test_checkpoint_is_small_and_single_precision() -> None:
    assert CHECKPOINT.stat().st_size < 1_000_000
    content = torch.load(CHECKPOINT, weights_only=True)
    assert content["config"] == model.CONFIG
    for key, value in content["state_dict"].items():
        assert value.dtype == (torch.int64 if key.endswith("num_batches_tracked") else torch.float32), key
        assert torch.isfinite(value).all(), key


def test_it_says_what_it_is() -> None:
    provenance = torch.load(CHECKPOINT, weights_only=True)["provenance"]
    assert provenance["recordings"] == 1437
    assert provenance["held_out"] == 360
    assert provenance["held_out_right"] / 360 >= 0.95


def test_accuracy_on_held_out_recordings(held_out: Recordings) -> None:
    network = load_checkpoint(CHECKPOINT, model.build)
    assert measure(network, held_out).right >= BOUND


def test_every_layer_fires(held_out: Recordings) -> None:
    rates = firing_rates(load_checkpoint(CHECKPOINT, model.build), held_out.frames)
    assert len(rates) == 5 + 2 * 5
    assert {name: rate for name, rate in rates.items() if not 0.01 < rate < 0.5} == {}
