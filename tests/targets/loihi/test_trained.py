"""Trained transformers, whole: reference, the chip's steps and Lava agree in every population.

Minutes each: the networks of examples/nmnist are trained by its script, on one core. The Spikformer comes
with the shared data.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from spikeloom.errors import InputError
from spikeloom.targets.loihi.environment import find_worker
from tests.cli.conftest import ROOT
from tests.cli.terminal import spikeloom

pytestmark = [pytest.mark.slow, pytest.mark.lava]

RECORDINGS = 5
SPIKFORMER_CELLS = RECORDINGS * 5 * (10_168 + 10)


@pytest.fixture(scope="module", autouse=True)
def worker() -> None:
    """Asked for before minutes of training."""
    try:
        find_worker()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def five(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first recordings of the test list."""
    folder = tmp_path_factory.mktemp("five")
    for file in sorted((data / "nmnist_small" / "test").glob("*.bs2"))[:RECORDINGS]:
        shutil.copy(file, folder)
    return folder


def compiled(file: str, weights: Path, data: Path, bundle: Path, attention: str = "at once") -> None:
    """Compile a network of examples/nmnist for loihi2."""
    example = ROOT / "examples" / "nmnist"
    spikeloom(
        "compile", f"{example / file}:build", "--weights", weights, "--recipe", example / "recipe.toml",
        "--calibrate", data / "nmnist_small" / "train", "--samples", 25, "--target", "loihi2", "-o", bundle,
        "--attention", attention, "--chips", 8,
    )  # fmt: skip


def verified(bundle: Path, five: Path) -> Any:
    """What `verify` says of the three engines."""
    document = spikeloom(
        "verify", bundle, "--engines", "reference,loihi,lava", "--events", five, "--json"
    ).json
    assert document["samples"] == RECORDINGS
    assert document["mismatches"] == 0
    assert not any(document["layers"].values())
    return document


def test_the_spikformer(data: Path, five: Path, tmp_path: Path) -> None:
    compiled("model.py", data / "spikformer_tiny_nmnist.pt", data, tmp_path / "a.loom")
    assert verified(tmp_path / "a.loom", five)["cells"] == 2 * SPIKFORMER_CELLS


@pytest.mark.parametrize("form", ["rows", "memory"])
def test_the_spikformer_streamed(form: str, data: Path, five: Path, tmp_path: Path) -> None:
    compiled("model.py", data / "spikformer_tiny_nmnist.pt", data, tmp_path / "a.loom", form)
    assert verified(tmp_path / "a.loom", five)["cells"] == 2 * SPIKFORMER_CELLS


@pytest.mark.parametrize("network", ["spike_driven", "meta_spikeformer", "qkformer"])
def test_transformers_trained_by_the_examples(network: str, data: Path, five: Path, tmp_path: Path) -> None:
    from examples.nmnist.train import FILES, MORE_EPOCHS, RECIPE, SHIFT, Network
    from examples.training import Plan, train_checkpoint

    file, plan, weights = FILES[Network(network)], Plan(MORE_EPOCHS, SHIFT), tmp_path / "weights.pt"
    result = train_checkpoint(
        data / "nmnist_small", weights, RECIPE, file.build, file.CONFIG, plan, lambda line: None
    )
    assert result["held_out"]["accuracy"] > 0.9
    assert all(rate > 0.001 for rate in result["firing_rates"].values())
    compiled(f"{network}.py", weights, data, tmp_path / "a.loom")
    assert len(verified(tmp_path / "a.loom", five)["layers"]) == len(result["firing_rates"]) + 1
