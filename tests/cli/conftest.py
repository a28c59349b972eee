"""A small spiking transformer with recordings that make it fire, as the files of a user; compiled once."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from spikeloom.runtime.events.nmnist import write_nmnist  # noqa: E402
from spikeloom.runtime.events.recipe import FrameRecipe  # noqa: E402
from spikeloom.runtime.events.samples.recordings import recordings  # noqa: E402
from spikeloom.runtime.events.stream import EVENT, Events  # noqa: E402
from tests.cli.terminal import spikeloom  # noqa: E402

TRAIN, TEST, EVENTS, CLASSES = 10, 7, 250, 3
RECIPE = "width = 8\nheight = 8\nsteps = 4\nduration_us = 1000\n"

DATASET = """
import os, signal
from pathlib import Path
import numpy as np

HERE = Path(__file__).parent

class Killing:
    '''Recordings as frames; asking for the fourth kills the process, the first time.'''

    def __init__(self):
        with np.load(HERE / "frames.npz") as content:
            self.x, self.y = content["x"], content["y"]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        marker = HERE / "killed"
        if index == 4 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.x[index], self.y[index]

def killing():
    return Killing()

def accuracy(evidence, labels):
    return (evidence.argmax(1) == labels).mean()

def nothing(evidence, labels):
    return float("nan")
"""


@dataclass(frozen=True)
class Workshop:
    """The files of a user in one folder."""

    folder: Path

    @property
    def model(self) -> str:
        return f"{self.folder}/model.py:build"

    @property
    def weights(self) -> Path:
        return self.folder / "tiny.pt"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.toml"

    @property
    def train(self) -> Path:
        return self.folder / "train"

    @property
    def test(self) -> Path:
        return self.folder / "test"

    @property
    def labels(self) -> Path:
        return self.folder / "test.tsv"

    def compile(self, output: Path, *more: object) -> list[object]:
        """The arguments that compile the model."""
        return ["compile", self.model, "--weights", self.weights, "--recipe", self.recipe,
                "--calibrate", self.train, "-o", output, *more]  # fmt: skip


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A model, its checkpoint, a recipe, recordings and their labels."""
    pytest.importorskip("spikingjelly")
    shop = Workshop(tmp_path_factory.mktemp("workshop"))
    (shop.folder / "model.py").write_text((Path(__file__).parent / "tiny_model.py").read_text())
    shop.recipe.write_text(RECIPE)
    rng = np.random.default_rng(1)
    for folder, count in ((shop.train, TRAIN), (shop.test, TEST)):
        folder.mkdir()
        for index in range(count):
            write_nmnist(folder / f"{index}.bs2", random_events(rng, EVENTS))
    rows = [f"test/{index}.bs2\t{index % CLASSES}\n" for index in range(TEST)]
    shop.labels.write_text("file\tlabel\n" + "".join(rows))
    save_checkpoint(shop)
    return shop


@pytest.fixture(scope="session")
def bundle(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model, compiled for the chip."""
    path = tmp_path_factory.mktemp("compiled") / "tiny.loom"
    spikeloom(*workshop.compile(path))
    return path


@pytest.fixture(scope="module")
def shelf(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that kills, and metrics."""
    folder = tmp_path_factory.mktemp("shelf")
    (folder / "mine.py").write_text(DATASET)
    samples = list(recordings(workshop.test, FrameRecipe.from_toml(workshop.recipe), workshop.labels))
    np.savez(
        folder / "frames.npz", x=np.stack([s.frames for s in samples]), y=[s.label or 0 for s in samples]
    )
    return folder


def random_events(rng: np.random.Generator, count: int) -> Events:
    """Events on a sensor of 8 by 8 pixels; a twentieth comes after the last frame of the recipe."""
    events = np.empty(count, EVENT)
    events["t"] = np.sort(rng.integers(0, 4200, count))
    events["x"], events["y"] = rng.integers(0, 8, (2, count))
    events["p"] = rng.integers(0, 2, count)
    return events


def save_checkpoint(shop: Workshop) -> None:
    """Random weights; batch norms that know the recordings, shifted so that every layer fires.

    The bias of the head evens the classes out, so that predictions differ.
    """
    import torch
    from torch import nn

    from spikeloom.compiler.frontends.torch.neurons import reset_states
    from spikeloom.factories import load_factory

    build, _ = load_factory(shop.model)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = None  # statistics of all that was seen
            nn.init.constant_(module.weight, 1.5)
            nn.init.constant_(module.bias, 1.0)
    samples = recordings(shop.train, FrameRecipe.from_toml(shop.recipe))
    frames = torch.from_numpy(np.stack([sample.frames for sample in samples], 1)).float()
    with torch.no_grad():
        model.train()(frames)
        reset_states(model)
        model.head.bias -= model.eval()(frames).mean((0, 1))
    torch.save({"state_dict": model.state_dict(), "config": {"channels": 8}}, shop.weights)
