"""The first stage: a model, or a graph as it came, becomes the graph of one time step, with a proof."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.ledger import Comparison
from spikeloom.compiler.pipeline.compilation import Compilation, Inputs
from spikeloom.compiler.pipeline.options import Options
from spikeloom.errors import InputError
from spikeloom.runtime.events.array_recipe import ArrayRecipe, Recipe, empty_frames, given_kind
from spikeloom.runtime.events.recipe import FrameRecipe
from spikeloom.runtime.events.token_recipe import TokenRecipe

if TYPE_CHECKING:
    from torch import nn

    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.frontends.torch.recorded.network import ReferenceCheck
    from spikeloom.compiler.training.network import PreparedNetwork


def check_calibration(
    frames: NDArray[Any], shape: InputShape, recipe: FrameRecipe | None, options: Options
) -> int:
    """The number of time steps; 0 if the model says it."""
    return _check_frames(frames, shape.sample, shape.lead.has_time, recipe, options)


def _check_frames(
    frames: NDArray[Any], sample: tuple[int, ...], timed: bool, recipe: FrameRecipe | None, options: Options
) -> int:
    steps = recipe.steps if recipe is not None else options.steps
    if timed and not steps:
        steps = frames.shape[0]
    wanted = (steps, "N") if timed else ("N",)
    if frames.shape[len(wanted) :] != sample or (timed and frames.shape[0] != steps):
        raise InputError.of(
            "SL0111",
            "--calibrate",
            "frames do not fit the model's input",
            wanted=str([*wanted, *sample]).replace("'", ""),
            got=list(frames.shape),
        )
    if recipe is not None and int(frames.max(initial=0)) > recipe.max_value:
        raise InputError.of(
            "SL0803",
            "--calibrate",
            "frames hold counts that the recipe does not give",
            wanted=f"0 to {recipe.max_value}",
            got=int(frames.max()),
            remedy="say in the recipe's `value` or `levels` what a pixel holds",
        )
    return steps


def capture_model(
    run: Compilation,
    model: nn.Module,
    shape: InputShape,
    recipe: FrameRecipe | None,
    name: str,
    calibration: NDArray[Any],
    steps: int,
    options: Options,
) -> Graph:
    """Capture a PyTorch model and prove the graph equal to it, step by step.

    Raises:
        UnsupportedError: something in the model cannot be captured; all that stands in the way is listed.
        InternalError: the graph differs from the model.
    """
    import torch

    from spikeloom.compiler.frontends.torch.capture import capture
    from spikeloom.compiler.frontends.torch.eager import prove_capture
    from spikeloom.compiler.frontends.torch.recorded.network import RecordedNetwork
    from spikeloom.compiler.training.network import PreparedNetwork

    if isinstance(model, RecordedNetwork):
        run.ledger.add(_recorded(model.check()))
    prepared = model if isinstance(model, PreparedNetwork) else None
    samples = calibration.reshape(-1, *shape.sample)
    given = prepared.recipe if prepared else recipe or _recipe_of(model, shape, samples, max(steps, 1))
    if isinstance(given, TokenRecipe):
        calibration = given.encode(calibration, "--calibrate")
    if prepared is not None:
        _check_prepared(prepared, options)
        run.prepared, run.capture = prepared, prepared.captured
    else:
        run.capture = capture(model, shape, given_kind(given), name, steps)
    steps = steps or run.capture.steps
    if not isinstance(given, FrameRecipe):
        given = replace(given, steps=steps)
        calibration = given.encode(calibration)
    if not shape.lead.has_time:
        calibration = np.broadcast_to(calibration, (steps, *calibration.shape))
    trial = min(options.ledger, calibration.shape[1])
    if run.capture.over_samples:
        trial = 1
    elif not run.capture.steppable and steps > 1 and trial % steps == 0:
        trial -= 1  # a batch that cannot be taken for the time steps
    given = replace(given, flush=run.capture.graph.flush)
    empty = empty_frames(given, given.flush, calibration.shape[1:])
    run.inputs = Inputs(given, np.concatenate([calibration, empty]), trial)
    try:
        proof = prove_capture(run.capture, torch.from_numpy(run.inputs.trial_samples))
    except (IndexError, RuntimeError):  # a model that squeezes its axes may need several samples
        if trial != 1 or calibration.shape[1] == 1 or run.capture.over_samples:
            raise
        run.inputs = replace(run.inputs, trial=2 if steps != 2 else 3)
        proof = prove_capture(run.capture, torch.from_numpy(run.inputs.trial_samples))
    run.ledger.add(
        Comparison(
            "captured graph",
            "eager PyTorch, one step at a time",
            proof.samples,
            proof.steps,
            proof.cells,
            0,
            "zero",
        )
    )
    run.captured = run.capture.graph
    return run.captured


def _recipe_of(model: nn.Module, shape: InputShape, samples: NDArray[Any], steps: int) -> Recipe:
    """What the integers of an input mean that is no frame of events: tokens, or levels of the samples."""
    from spikeloom.compiler.frontends.torch.tokens import vocabulary_of

    vocabulary = vocabulary_of(model, shape)
    if vocabulary is not None:
        return TokenRecipe(shape=shape.sample, steps=steps, vocabulary=vocabulary.size)
    return ArrayRecipe.spanning(samples, steps)


def _recorded(reference: ReferenceCheck) -> Comparison:
    """What says how far a network that was recorded elsewhere does the same here."""
    there = f"PyTorch {reference.torch} on Python {reference.python}"
    return Comparison(
        "recorded network",
        f"where it was recorded ({there}), decision by decision",
        reference.samples,
        reference.steps,
        reference.cells,
        reference.differing,
        "measured",
    )


def take_graph(
    run: Compilation,
    graph: Graph,
    recipe: FrameRecipe | None,
    calibration: NDArray[Any],
    options: Options,
) -> Graph:
    """A graph as it came, and the frames that it is calibrated on."""
    (name,) = graph.inputs
    sample = graph.types[name].shape
    steps = _check_frames(calibration, sample, True, recipe, options)
    kind = graph.types[name].kind
    if recipe is not None:
        given: Recipe = recipe
    elif kind.name == "index":
        given = TokenRecipe(shape=sample, steps=steps, vocabulary=kind.bounds[1] + 1)
    else:
        given = ArrayRecipe.spanning(calibration.reshape(-1, *sample), steps)
    if not isinstance(given, FrameRecipe):
        calibration = given.encode(calibration)
    given = replace(given, flush=graph.flush)
    empty = empty_frames(given, given.flush, calibration.shape[1:])
    trial = min(options.ledger, calibration.shape[1])
    run.inputs = Inputs(given, np.concatenate([calibration, empty]), trial)
    run.captured = graph
    return graph


def _check_prepared(model: PreparedNetwork, options: Options) -> None:
    """Refuse to compile for another target than the network was prepared for."""
    if model.target != options.target:
        raise InputError.of(
            "SL0901",
            "--target",
            "the network was prepared and trained for another target",
            wanted=model.target,
            got=options.target,
            remedy="prepare it for this one",
        )
