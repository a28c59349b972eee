"""Arguments guessed from checkpoints: what is returned fits, and nothing is returned that does not."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from spikeloom.compiler.frontends.torch.checkpoint import Checkpoint
from spikeloom.compiler.frontends.torch.guess import guess_arguments


class Net(nn.Module):
    def __init__(self, in_channels: int = 2, dim: int = 16, depths: int = 4, num_classes: int = 11) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError("dim must be even")
        self.stem = nn.Linear(in_channels, dim)
        self.block = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depths))
        self.head = nn.Linear(dim, num_classes)


def _checkpoint(model: nn.Module) -> Checkpoint:
    return Checkpoint(Path("a.pt"), model.state_dict())


def test_widths_depths_and_classes_are_found() -> None:
    trained = Net(in_channels=3, dim=24, depths=6, num_classes=10)
    wanted = {"in_channels": 3, "dim": 24, "depths": 6, "num_classes": 10}
    assert guess_arguments(Net, {}, _checkpoint(trained)) == wanted


def test_what_was_given_rightly_is_left_out() -> None:
    trained = Net(in_channels=3, dim=24)
    assert guess_arguments(Net, {"in_channels": 3}, _checkpoint(trained)) == {"dim": 24}


def test_nothing_is_guessed_that_does_not_fit() -> None:
    assert guess_arguments(Net, {}, _checkpoint(nn.Sequential(nn.Linear(5, 5)))) == {}
    odd = {"stem.weight": torch.zeros(15, 2), "stem.bias": torch.zeros(15)}  # Net refuses an odd dim
    assert guess_arguments(Net, {}, Checkpoint(Path("a.pt"), odd)) == {}
