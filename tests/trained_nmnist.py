"""The trained Spikformer of the shared data, captured, and its 60 test recordings; loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spikeloom.compiler.frontends.torch.axes import InputShape
from spikeloom.compiler.frontends.torch.capture import Capture, capture
from spikeloom.compiler.frontends.torch.checkpoint import load_into, read_checkpoint
from spikeloom.compiler.frontends.torch.eager import run_eager
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.kinds import levels
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.passes import run_passes
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.passes.canonicalise import CANONICALISE
from spikeloom.compiler.quantize.activity import Activity, measure_activity
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from spikeloom.factories import load_factory
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nmnist"
CALIBRATION = 25  # of the 1,000 training recordings


@dataclass(frozen=True)
class TrainedNmnist:
    """A trained network and recordings.

    Attributes:
        frames: uint8 [5, 60, 2, 34, 34].
        labels: [60].
        output: [5, 60, 10] of eager PyTorch.
        spikes: of each neuron layer [5, 60, ...] of eager PyTorch.
    """

    capture: Capture
    canonical: Graph
    activity: Activity
    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    output: Array
    spikes: dict[str, Array]

    def quantized(self, target: str) -> Quantized:
        """The network in 8 bits for an installed target."""
        if target not in _QUANTIZED:
            profile = find_target(target).profile(8)
            _QUANTIZED[target] = quantize(self.canonical, profile, self.activity, horizon=5)
        return _QUANTIZED[target]


_LOADED: dict[Path, TrainedNmnist] = {}
_QUANTIZED: dict[str, Quantized] = {}


def trained_nmnist(data: Path) -> TrainedNmnist:
    """Load what stands in the folder ``data``, once."""
    if data not in _LOADED:
        _LOADED[data] = _load(data)
    return _LOADED[data]


def _load(data: Path) -> TrainedNmnist:
    build, _ = load_factory(f"{EXAMPLE / 'model.py'}:build")
    model = build()
    load_into(model, read_checkpoint(data / "spikformer_tiny_nmnist.pt"))
    recipe = FrameRecipe.from_toml(EXAMPLE / "recipe.toml")
    test = list(recordings(data / "nmnist_small/test", recipe, data / "nmnist_small/test.tsv"))
    train = recordings(data / "nmnist_small/train", recipe)
    some = [train[index] for index in range(0, len(train), len(train) // CALIBRATION)]
    frames = np.stack([sample.frames for sample in test], 1)
    found = capture(model, InputShape.parse("T,B,2,34,34"), levels(recipe.max_value), "nmnist")
    output, spikes = run_eager(model, found.input_shape, torch.from_numpy(frames).float())
    canonical = run_passes(found.graph, CANONICALISE)
    activity = measure_activity(canonical, np.stack([sample.frames for sample in some], 1))
    return TrainedNmnist(
        capture=found,
        canonical=canonical,
        activity=activity,
        frames=frames,
        labels=np.array([sample.label for sample in test]),
        output=output.numpy(),
        spikes={name: s.numpy() for name, s in spikes.items()},
    )
