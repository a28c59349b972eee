"""The compiler: the stages in order, each compared with the one before.

capture -> canonical -> integer -> mapped -> bundle
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom import __version__
from spikeloom.compiler.agreement import Agreement, ask_oracle, compare_free_running
from spikeloom.compiler.bundle import Bundle, graph_members, json_member, tensor_member, write_bundle
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import levels
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.passes import run_passes
from spikeloom.compiler.graph.target import Target, find_target
from spikeloom.compiler.ledger import Comparison, Ledger
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.partition import map_network
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.compiler.mapping.target import ChipTarget
from spikeloom.compiler.passes.canonicalise import CANONICALISE
from spikeloom.compiler.quantize.activity import Activity, measure_activity
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from spikeloom.errors import InputError, InternalError, MismatchError, UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines import open_engine
from spikeloom.runtime.estimate.activity import measure, population_rates
from spikeloom.runtime.events.recipe import FrameRecipe

if TYPE_CHECKING:
    from torch import nn

    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.frontends.torch.capture import Capture

MAPPED_ON = 8
"""Calibration recordings whose activity the placement is made for."""

STAGES = ("capture", "canonical", "integer", "mapped", "bundle")
Progress = Callable[[str], None]
Observer = Callable[[str, Any], None]


def _quiet(_: str, __: Any = None) -> None:
    return None


@dataclass(frozen=True)
class Options:
    """How to compile.

    Attributes:
        target: name of the target.
        bits: width of a weight.
        chips: how many chips of the target may be used.
        seed: of the placement.
        ledger: on how many calibration recordings each stage is compared with the one before.
        stop_after: the last stage to run, one of :data:`STAGES`.
    """

    target: str
    bits: int = 8
    chips: int = 1
    seed: int = 0
    ledger: int = 1
    stop_after: str = "bundle"


@dataclass
class Compilation:
    """A model on its way to a bundle: the result of each stage that has run."""

    capture: Capture | None = None
    canonical: Graph | None = None
    activity: Activity | None = None
    quantized: Quantized | None = None
    mapping: ChipMapping | None = None
    agreement: Agreement | None = None
    ledger: Ledger = field(default_factory=Ledger)
    bundle: Bundle | None = None


def compile_model(
    model: nn.Module,
    shape: InputShape,
    recipe: FrameRecipe,
    calibration: NDArray[np.uint8],
    options: Options,
    output: Path | None,
    name: str = "model",
    provenance: Mapping[str, Any] | None = None,
    progress: Progress = _quiet,
    after_stage: Observer = _quiet,
) -> Compilation:
    """Compile a trained PyTorch model to a bundle.

    Args:
        model: with its trained weights.
        shape: of its input.
        recipe: how events become its frames.
        calibration: frames [steps, samples, ...] that the network will be used on.
        options: target and settings.
        output: path of the bundle; may be None if an earlier stage is the last.
        name: of the network.
        provenance: what the manifest should say of where the model came from.
        progress: called with a line at the start of each stage.
        after_stage: called with the name and the result of each stage.

    Raises:
        UnsupportedError: something in the model cannot be compiled for the target.
        InputError: the inputs of the compilation are bad.
        InternalError: two stages that must agree do not.
    """
    target = find_target(options.target)
    profile = target.profile(options.bits)
    _check_calibration(calibration, shape, recipe)
    run = Compilation()
    trial = calibration[:, : options.ledger]
    for stage, work in (
        ("capture", lambda: _capture(run, model, shape, recipe, name, trial)),
        ("canonical", lambda: _canonicalise(run, calibration, trial)),
        ("integer", lambda: _quantize(run, profile, target, recipe, trial)),
        ("mapped", lambda: _map(run, target, options, calibration)),
        ("bundle", lambda: _bundle(run, target, recipe, options, output, trial, provenance or {})),
    ):
        progress(stage)
        after_stage(stage, work())
        if stage == options.stop_after:
            break
    return run


def _check_calibration(frames: NDArray[np.uint8], shape: InputShape, recipe: FrameRecipe) -> None:
    if frames.shape[2:] != shape.sample or frames.shape[0] != recipe.steps:
        raise InputError.of(
            "SL0111",
            "--calibrate",
            "frames do not fit the model's input",
            wanted=f"{recipe.steps} steps of {list(shape.sample)}",
            got=f"{frames.shape[0]} steps of {list(frames.shape[2:])}",
        )
    if int(frames.max(initial=0)) > recipe.max_value:
        raise InputError.of(
            "SL0803",
            "--calibrate",
            "frames hold counts that the recipe does not give",
            wanted=f"0 to {recipe.max_value}",
            got=int(frames.max()),
            remedy="say in the recipe's `value` what a pixel holds",
        )


def _capture(
    run: Compilation,
    model: nn.Module,
    shape: InputShape,
    recipe: FrameRecipe,
    name: str,
    trial: NDArray[np.uint8],
) -> Graph:
    import torch

    from spikeloom.compiler.frontends.torch.capture import capture
    from spikeloom.compiler.frontends.torch.eager import prove_capture

    run.capture = capture(model, shape, levels(recipe.max_value), name)
    proof = prove_capture(run.capture, torch.from_numpy(trial).float())
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
    return run.capture.graph


def _canonicalise(run: Compilation, calibration: NDArray[np.uint8], trial: NDArray[np.uint8]) -> Graph:
    assert run.capture is not None
    graph = run_passes(run.capture.graph, CANONICALISE)
    run.canonical = graph
    run.activity = measure_activity(graph, calibration)
    flips, cells = _spikes_apart(run.capture.graph, graph, trial)
    run.ledger.add(
        Comparison(
            "canonical graph",
            "captured graph, both in float64",
            trial.shape[1],
            len(trial),
            cells,
            flips,
            "measured",
        )
    )
    return graph


def _spikes_apart(first: Graph, second: Graph, frames: NDArray[np.uint8]) -> tuple[int, int]:
    flips = cells = 0
    runs = (Interpreter(first), Interpreter(second))
    for run in runs:
        run.reset(frames.shape[1])
    for frame in frames:
        a, b = (run.step(frame) for run in runs)
        for node in first.neurons():
            flips += int((a[node.name] != b[node.name]).sum())
            cells += a[node.name].size
    return flips, cells


def _quantize(
    run: Compilation, profile: Any, target: Target, recipe: FrameRecipe, trial: NDArray[np.uint8]
) -> Graph:
    import torch

    from spikeloom.compiler.frontends.torch.eager import run_eager

    assert run.canonical is not None
    assert run.activity is not None
    assert run.capture is not None
    run.quantized = quantize(run.canonical, profile, run.activity, recipe.steps)
    graph = run.quantized.graph
    if obstacles := target.obstacles(graph):
        raise UnsupportedError(obstacles)
    verdict = ask_oracle(run.capture, run.quantized, trial)
    run.ledger.add(
        Comparison(
            "integer graph",
            "PyTorch in float64 with the rounded weights, decision by decision",
            verdict.samples,
            verdict.steps,
            verdict.cells,
            verdict.differing,
            "bounded",
        )
    )
    frames = torch.from_numpy(trial).float()
    output, spikes = run_eager(run.capture.model, run.capture.input_shape, frames)
    arrays = {name: s.numpy() for name, s in spikes.items() if name in graph.producers}
    run.agreement = compare_free_running(output.numpy(), arrays, graph, trial)
    layers = run.agreement.layers
    run.ledger.add(
        Comparison(
            "integer graph",
            "trained PyTorch, free running",
            trial.shape[1],
            len(trial),
            sum(layer.cells for layer in layers),
            sum(layer.flips for layer in layers),
            "measured",
            run.agreement.to_json(),
        )
    )
    return graph


def _map(
    run: Compilation, target: Target, options: Options, calibration: NDArray[np.uint8]
) -> ChipMapping | None:
    if not isinstance(target, ChipTarget):
        return None
    assert run.quantized is not None
    graph = run.quantized.graph
    network = target.lower(graph)
    rates = population_rates(network, graph, measure(graph, [calibration[:, :MAPPED_ON]]))
    run.mapping = map_network(network, target.chip().with_chips(options.chips), rates, options.seed)
    if problems := check_mapping(run.mapping):
        raise InternalError(problems)
    return run.mapping


def _bundle(
    run: Compilation,
    target: Target,
    recipe: FrameRecipe,
    options: Options,
    output: Path | None,
    trial: NDArray[np.uint8],
    provenance: Mapping[str, Any],
) -> Bundle | None:
    assert run.quantized is not None
    assert run.activity is not None
    members = graph_members(run.quantized.graph)
    forms = find_target("onnx").artifacts(run.quantized.graph)
    members |= {f"onnx/{name}": data for name, data in forms.items()}
    if target.name != "onnx":
        extra = target.artifacts(run.quantized.graph)
        members |= {f"{target.name}/{name}": data for name, data in extra.items()}
    _compare_engines(run, forms, trial)
    members["recipe.json"] = json_member(recipe.to_json())
    members["activity.json"] = json_member(_activity_json(run))
    members["ledger.json"] = json_member(run.ledger.to_json())
    members["traces.safetensors"] = tensor_member(_traces(run, trial))
    if run.mapping is not None:
        members["network.json"] = json_member(run.mapping.network.to_json())
        members["mapping.json"] = json_member(run.mapping.to_json())
    about = {
        "spikeloom": __version__,
        "name": run.quantized.graph.name,
        "target": target.name,
        "options": {"bits": options.bits, "chips": options.chips, "seed": options.seed},
        "provenance": dict(provenance),
    }
    run.bundle = None if output is None else write_bundle(output, members, about)
    return run.bundle


def _compare_engines(run: Compilation, forms: Mapping[str, bytes], trial: NDArray[np.uint8]) -> None:
    """Run the ONNX forms and the reference on the trial frames; nothing may differ."""
    assert run.quantized is not None
    graph = run.quantized.graph
    comparison = compare_engines(
        {name: open_engine(name, graph, forms) for name in ("reference", "onnx")}, [("trial", trial)]
    )
    if comparison.mismatches:
        raise MismatchError.of("SL0802", comparison.first, "the ONNX form differs from the integer graph")
    run.ledger.add(
        Comparison(
            "onnx/sequence.onnx", "integer graph", trial.shape[1], len(trial), comparison.cells, 0, "zero"
        )
    )


def _activity_json(run: Compilation) -> dict[str, Any]:
    assert run.quantized is not None
    assert run.activity is not None
    grids = [vars(grid) for grid in run.quantized.grids]
    bounds = [
        {
            "layer": name,
            "decision_state_units": float(bound.decision.max()),
            "decision_real": float((bound.decision * bound.unit).max()),
            "decay_error": bound.leak,
        }
        for name, bound in run.quantized.bounds.items()
    ]
    return {
        "samples": run.activity.samples,
        "steps": run.activity.steps,
        "rates": dict(run.activity.rates),
        "weights": grids,
        "rounding_bounds": bounds,
    }


def _traces(run: Compilation, trial: NDArray[np.uint8]) -> dict[str, Array]:
    """What eager PyTorch did on the trial frames: kept so that a bundle can be checked without it."""
    import torch

    from spikeloom.compiler.frontends.torch.eager import run_eager

    assert run.capture is not None
    frames = torch.from_numpy(trial).float()
    output, spikes = run_eager(run.capture.model, run.capture.input_shape, frames)
    traces = {f"spikes/{name}": s.numpy().astype(np.uint8) for name, s in spikes.items()}
    return {"frames": trial, "output": output.numpy(), **traces}
