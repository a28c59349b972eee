"""Training and testing of a spiking transformer on event recordings, shared by the examples.

Networks take frames [T, B, 2, H, W] and give class scores [T, B, classes], or their mean over time
[B, classes]; their answer is the class with the largest score, averaged over time. One thread and a fixed
seed: the same machine and versions give the same network, to the last bit.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from spikeloom.atomic import replacing
from spikeloom.errors import InputError
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.samples.recordings import recordings
from spikeloom.runtime.score import wilson_interval

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Recordings:
    """Labelled recordings as frames: uint8 [N, T, 2, H, W] and int64 [N]."""

    frames: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Recordings:
        """The recordings at these indices."""
        return Recordings(self.frames[indices], self.labels[indices])


@dataclass(frozen=True)
class Plan:
    """How to train: the number of epochs is fixed in advance, no recording decides when to stop.

    Attributes:
        epochs: passes over the training recordings.
        shift: largest random shift of a recording, in pixels, along each axis.
        seed: fixes initial weights, order and shifts.
        batch: recordings a step.
        learning_rate: peak of the one-cycle schedule of AdamW.
        label_smoothing: share of the target spread over all classes.
    """

    epochs: int
    shift: int
    seed: int = 0
    batch: int = 32
    learning_rate: float = 3e-3
    label_smoothing: float = 0.05


@dataclass(frozen=True)
class Accuracy:
    """How many of n recordings were answered right."""

    right: int
    n: int

    @property
    def share(self) -> float:
        """The accuracy, 0 to 1."""
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy.

        >>> [round(bound, 4) for bound in Accuracy(9, 10).interval]
        [0.5958, 0.9821]
        """
        return wilson_interval(self.right, self.n)

    def to_json(self) -> dict[str, Any]:
        """Accuracy and interval as a JSON object."""
        return {"right": self.right, "n": self.n, "accuracy": self.share, "interval_95": list(self.interval)}

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.right} of {self.n} right, {self.share:.2%} (95 % interval {low:.1%} to {high:.1%})"


def load_recordings(folder: Path, part: str, recipe: FrameRecipe) -> Recordings:
    """The recordings in ``folder/part``, with the labels of ``folder/part.tsv``.

    Raises:
        InputError: a recording, the recipe or the table is bad; see spikeloom.runtime.events.samples.
    """
    samples = list(recordings(folder / part, recipe, labels=folder / f"{part}.tsv"))
    frames = np.stack([sample.frames for sample in samples])
    return Recordings(torch.from_numpy(frames), torch.tensor([sample.label for sample in samples]))


def train_checkpoint(
    folder: Path,
    output: Path,
    recipe: Path,
    build: Callable[[Mapping[str, Any]], nn.Module],
    config: Mapping[str, Any],
    plan: Plan,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Train on ``folder/train``, test once on ``folder/test``, write the checkpoint to ``output``.

    Returns:
        ``held_out``, the accuracy, and ``firing_rates`` of the held-out recordings, as JSON objects.

    Raises:
        InputError: recordings, tables or the recipe are bad, or SL0902, ``output`` cannot
            be written.
    """
    if not output.parent.is_dir():  # found out before the training, not after it
        raise InputError.of("SL0902", output, "its folder does not exist", remedy="make it first")
    frames = FrameRecipe.from_toml(recipe)
    seen, held_out = (load_recordings(folder, part, frames) for part in ("train", "test"))
    model = train(lambda: build(config), seen, plan, report)
    accuracy = measure(model, held_out)
    report(f"held out: {accuracy}")
    save_checkpoint(
        output,
        model,
        config,
        seed=plan.seed,
        epochs=plan.epochs,
        recordings=len(seen),
        held_out_right=accuracy.right,
        held_out=accuracy.n,
        torch=torch.__version__.split("+")[0],
    )
    return {"held_out": accuracy.to_json(), "firing_rates": firing_rates(model, held_out.frames)}


def train(
    build: Callable[[], nn.Module], data: Recordings, plan: Plan, report: Callable[[str], None]
) -> nn.Module:
    """A network trained on ``data``; ``report`` is told the mean loss of each epoch."""
    torch.set_num_threads(1)  # sums over threads would depend on their number
    torch.manual_seed(plan.seed)
    return fit(build(), data, plan, report)


def fit(
    model: Network,
    data: Recordings,
    plan: Plan,
    report: Callable[[str], None],
    teacher: nn.Module | None = None,
) -> Network:
    """Train a network that has weights already, with the random numbers of the moment.

    With a teacher, a network whose answers are to be kept, the loss is the cross-entropy to its answers on
    the same frames (Hinton et al. 2015, at temperature 1) in place of that to the labels.
    """
    steps = plan.epochs * math.ceil(len(data) / plan.batch)
    optimizer = torch.optim.AdamW(model.parameters(), plan.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.learning_rate, total_steps=steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=plan.label_smoothing if teacher is None else 0.0)
    model.train()
    if teacher is not None:
        teacher.eval()
    for epoch in range(1, plan.epochs + 1):
        losses = []
        for chosen in torch.split(torch.randperm(len(data)), plan.batch):
            batch = data.take(chosen)
            frames = _shifted(batch.frames, plan.shift)
            loss = loss_of(
                _scores(model, frames), batch.labels if teacher is None else _shares(teacher, frames)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        report(f"epoch {epoch:2d} of {plan.epochs}: loss {np.mean(losses):.3f}")
    model.eval()
    return model


@torch.no_grad()
def _shares(teacher: nn.Module, frames: Tensor) -> Tensor:
    """What a trained network thinks of each class, [N, classes]."""
    return _scores(teacher, frames).softmax(1)


def measure(model: nn.Module, data: Recordings) -> Accuracy:
    """The accuracy of a trained network."""
    return Accuracy(int((answers(model, data.frames) == data.labels).sum()), len(data))


def answers(model: nn.Module, frames: Tensor) -> Tensor:
    """The class that the network gives each recording: frames [N, T, 2, H, W] to classes [N]."""
    model.eval()
    with torch.no_grad():
        return torch.cat([_scores(model, part).argmax(1) for part in torch.split(frames, 100)])


def firing_rates(model: nn.Module, frames: Tensor) -> dict[str, float]:
    """Spikes per neuron and time step in each neuron layer, by the layer's name, mean over [N, T, ...]."""
    spikes: dict[str, float] = {}
    neurons: dict[str, int] = {}

    def counting(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def count(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            spikes[name] = spikes.get(name, 0.0) + float(output.sum())
            neurons[name] = neurons.get(name, 0) + output.numel()

        return count

    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, neuron.BaseNode)]
    hooks = [layer.register_forward_hook(counting(name)) for name, layer in layers]
    try:
        answers(model, frames)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: spikes[name] / neurons[name] for name in spikes}


def save_checkpoint(path: Path, model: nn.Module, config: Mapping[str, Any], **provenance: Any) -> None:
    """Write ``state_dict``, ``config`` and ``provenance``; torch.load reads it with weights_only=True."""
    content = {"state_dict": model.state_dict(), "config": dict(config), "provenance": provenance}
    with replacing(path) as draft:
        torch.save(content, draft)


def load_checkpoint(path: Path, build: Callable[[Mapping[str, Any]], nn.Module]) -> nn.Module:
    """The network of a checkpoint, ready to be tested.

    Raises:
        InputError: SL0202, the checkpoint cannot be read.
    """
    try:
        content = torch.load(path, weights_only=True)
    except OSError as error:
        raise InputError.of("SL0202", path, f"cannot be read: {error.strerror}") from error
    model = build(content["config"])
    model.load_state_dict(content["state_dict"])
    return model.eval()


def say(line: str) -> None:
    """Print a line of progress to stderr; stdout is for results."""
    print(line, file=sys.stderr, flush=True)


def _scores(model: nn.Module, frames: Tensor) -> Tensor:
    """Class scores [B, classes], mean over time, for frames [B, T, 2, H, W]."""
    functional.reset_net(model)
    scores: Tensor = model(frames.transpose(0, 1).float())
    return scores.mean(0) if scores.ndim == 3 else scores  # some networks take the mean themselves


def _shifted(frames: Tensor, reach: int) -> Tensor:
    """Each recording [T, 2, H, W] of a batch rolled by a random distance of its own, up to ``reach``."""
    distances = torch.randint(-reach, reach + 1, (len(frames), 2)).tolist()
    moved = [torch.roll(one, distance, (2, 3)) for one, distance in zip(frames, distances, strict=True)]
    return torch.stack(moved)
