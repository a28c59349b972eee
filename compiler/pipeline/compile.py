"""The stages in order, each compared with the one before.

capture -> canonical -> integer -> mapped -> bundle
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.target import find_target
from spikeloom.compiler.pipeline.bundle import write_artifact
from spikeloom.compiler.pipeline.canonical import canonicalise
from spikeloom.compiler.pipeline.capture import capture_model, check_calibration, take_graph
from spikeloom.compiler.pipeline.compilation import Compilation, Inputs
from spikeloom.compiler.pipeline.integer import accept_integers, round_to_integers
from spikeloom.compiler.pipeline.mapped import map_to_chip
from spikeloom.compiler.pipeline.memory import give_back
from spikeloom.compiler.pipeline.options import Options
from spikeloom.compiler.quantize.quantize import Quantized
from spikeloom.runtime.events.array_recipe import ArrayRecipe
from spikeloom.runtime.events.recipe import FrameRecipe

if TYPE_CHECKING:
    from torch import nn

    from spikeloom.compiler.frontends.torch.axes import InputShape


Progress = Callable[[str], None]


Observer = Callable[[str, Any], None]


def _quiet(_: str, __: Any = None) -> None:
    return None


def compile_model(
    model: nn.Module,
    shape: InputShape,
    recipe: FrameRecipe | None,
    calibration: NDArray[Any],
    options: Options,
    output: Path | None,
    name: str = "model",
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = _quiet,
    after_stage: Observer = _quiet,
    run: Compilation | None = None,
) -> Compilation:
    """Compile a trained PyTorch model to a bundle.

    Args:
        model: with its trained weights; or what :func:`spikeloom.prepare` made of one, fine-tuned: then its
            own integer graph is compiled, for the target and the bits that it was prepared for.
        shape: of its input.
        recipe: how events become its frames; None if it takes arrays.
        calibration: what the network will be used on: frames [steps, samples, ...], or [samples, ...]
            if the input has no time. Without a recipe they may hold any real numbers, which the
            network then takes as bytes (:class:`ArrayRecipe`).
        options: target and settings.
        output: path of the bundle; may be None if an earlier stage is the last.
        name: of the network.
        provenance: what the manifest should say of where the model came from.
        progress: called with a line at the start of each stage.
        after_stage: called with the name and the result of each stage.
        run: where the results go, those before an error too; a new one by default.

    Raises:
        UnsupportedError: something in the model cannot be compiled for the target.
        InputError: the inputs of the compilation are bad.
        InternalError: two stages that must agree do not.
    """
    find_target(options.target).profile(options.bits)
    steps = check_calibration(calibration, shape, recipe, options)
    run = run or Compilation()

    def captured() -> Graph:
        return capture_model(run, model, shape, recipe, name, calibration, steps, options)

    return _compile(run, captured, options, output, provenance or {}, progress, after_stage)


def compile_graph(
    graph: Graph,
    recipe: FrameRecipe | None,
    calibration: NDArray[Any],
    options: Options,
    output: Path | None,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = _quiet,
    after_stage: Observer = _quiet,
) -> Compilation:
    """Compile a network that came as a graph, as from NIR, to a bundle; PyTorch is not needed.

    Args:
        graph: at stage CAPTURED, with one input; its float64 execution is what the integers are compared
            with.
        recipe: how events become its frames; None if it takes arrays.
        calibration: frames [steps, samples, ...], as for :func:`compile_model`.
        options: target and settings.
        output: path of the bundle; may be None if an earlier stage is the last.
        provenance: what the manifest should say of where the network came from.
        progress: called with a line at the start of each stage.
        after_stage: called with the name and the result of each stage.

    Raises:
        UnsupportedError: something in the network cannot be compiled for the target.
        InputError: the inputs of the compilation are bad.
    """
    run = Compilation()

    def captured() -> Graph:
        return take_graph(run, graph, recipe, calibration, options)

    return _compile(run, captured, options, output, provenance or {}, progress, after_stage)


def compile_integer(
    graph: Graph,
    recipe: ArrayRecipe,
    frames: NDArray[np.uint8],
    options: Options,
    output: Path | None,
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = _quiet,
    after_stage: Observer = _quiet,
) -> Compilation:
    """Compile a network that is integers already, such as one from a netx file, to a bundle.

    Args:
        graph: at stage INTEGER.
        recipe: what the bytes of its input mean.
        frames: samples [steps, samples, ...] that the placement is made for and the engines are compared on.
        options: target and settings.
        output: path of the bundle; may be None if an earlier stage is the last.
        provenance: what the manifest should say of where the network came from.
        progress: called with a line at the start of each stage.
        after_stage: called with the name and the result of each stage.

    Raises:
        UnsupportedError: the target cannot execute the network; all that stands in the way is listed.
    """
    target = find_target(options.target)
    inputs = Inputs(recipe, frames, min(options.ledger, frames.shape[1]))
    run = Compilation(inputs=inputs, quantized=Quantized(graph, {}, (), {}))
    for stage, work in (
        ("integer", lambda: accept_integers(run, target)),
        ("mapped", lambda: map_to_chip(run, target, options)),
        ("bundle", lambda: write_artifact(run, target, options, output, provenance or {})),
    ):
        progress(stage)
        after_stage(stage, work())
        give_back(graph)
        if stage == options.stop_after:
            break
    return run


def _compile(
    run: Compilation,
    captured: Callable[[], Graph],
    options: Options,
    output: Path | None,
    provenance: Mapping[str, Any],
    progress: Progress,
    after_stage: Observer,
) -> Compilation:
    """The stages in order, the first of which differs with what came in."""
    target = find_target(options.target)
    profile = target.profile(options.bits)
    for stage, work in (
        ("capture", captured),
        ("canonical", lambda: canonicalise(run, profile, options)),
        ("integer", lambda: round_to_integers(run, profile, target, options)),
        ("mapped", lambda: map_to_chip(run, target, options)),
        ("bundle", lambda: write_artifact(run, target, options, output, provenance)),
    ):
        progress(stage)
        after_stage(stage, work())
        give_back(run.captured)
        if stage == options.stop_after:
            break
    return run
