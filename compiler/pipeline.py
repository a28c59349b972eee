"""The compiler: the stages in order, each compared with the one before.

capture -> canonical -> integer -> mapped -> bundle
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spikeloom import __version__
from spikeloom.compiler.agreement import (
    Agreement,
    ask_oracle,
    can_ask_oracle,
    compare_free_running,
    teacher_forced,
)
from spikeloom.compiler.bundle import Bundle, graph_members, json_member, tensor_member, write_bundle
from spikeloom.compiler.graph.graph import Graph, Unit
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.kinds import REAL, levels, spike_dtype
from spikeloom.compiler.graph.op import Array
from spikeloom.compiler.graph.ops.integer_neuron import IntegerNeuron
from spikeloom.compiler.graph.passes import run_passes
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.target import RunnableTarget, Target, find_target
from spikeloom.compiler.layer_report import LayerReport, report_layers
from spikeloom.compiler.ledger import Comparison, Ledger
from spikeloom.compiler.mapping.check import check_mapping
from spikeloom.compiler.mapping.explanation import Explanation
from spikeloom.compiler.mapping.placement import Mapping as ChipMapping
from spikeloom.compiler.mapping.target import ChipTarget
from spikeloom.compiler.passes.canonicalise import CANONICALISE
from spikeloom.compiler.quantize.activity import Activity, measure_activity
from spikeloom.compiler.quantize.correct import Correction, correct
from spikeloom.compiler.quantize.quantize import Quantized, Rounding, quantize
from spikeloom.compiler.quantize.sensitivity import Budget, Sensitivity, choose_bits, measure_sensitivity
from spikeloom.compiler.quantize.weights import Range
from spikeloom.errors import InputError, InternalError, MismatchError, UnsupportedError
from spikeloom.runtime.compare import compare_engines
from spikeloom.runtime.engines import open_engine
from spikeloom.runtime.estimate.activity import measure, population_rates
from spikeloom.runtime.events.array_recipe import ArrayRecipe, Recipe
from spikeloom.runtime.events.recipe import FrameRecipe

if TYPE_CHECKING:
    from torch import nn

    from spikeloom.compiler.frontends.torch.axes import InputShape
    from spikeloom.compiler.frontends.torch.capture import Capture
    from spikeloom.compiler.frontends.torch.recorded.network import ReferenceCheck
    from spikeloom.compiler.training.network import PreparedNetwork

MAPPED_ON = 8
"""Calibration recordings whose activity the placement is made for."""

UNCORRECTED_BITS = 6
"""With so many bits rounding moves next to no spike, and a correction follows the noise of the recordings."""

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
        steps: time steps a sample, where neither a recipe nor the model says it.
        silence: whether neuron layers that never fire in calibration are accepted.
        within: how the ranges of weights, and of values that are rescaled, are chosen.
        correct: whether biases and thresholds are corrected after rounding, on the calibration recordings;
            None: where a weight has fewer than 6 bits.
        budget: if given, each layer has the width that its sensitivity asks for, up to ``bits``.
    """

    target: str
    bits: int = 8
    chips: int = 1
    seed: int = 0
    ledger: int = 1
    stop_after: str = "bundle"
    steps: int = 0
    silence: bool = False
    within: Range = field(default_factory=Range)
    correct: bool | None = None
    budget: Budget | None = None

    @property
    def corrects(self) -> bool:
        """Whether biases and thresholds are corrected."""
        narrow = self.bits < UNCORRECTED_BITS or self.budget is not None
        return narrow if self.correct is None else self.correct

    def until(self, stage: str) -> Options:
        """The same, with another last stage."""
        return replace(self, stop_after=stage)


@dataclass(frozen=True)
class Inputs:
    """Calibration samples as the network takes them.

    Attributes:
        recipe: what a byte of the input means.
        frames: bytes [steps, samples, ...], and then the empty ones on which the network runs on.
        trial: how many of the samples the stages are compared on.
    """

    recipe: Recipe
    frames: NDArray[np.uint8]
    trial: int

    @property
    def horizon(self) -> int:
        """Time steps between resets."""
        return self.recipe.steps + self.recipe.flush

    @property
    def unit(self) -> Unit:
        """What the bytes mean."""
        if isinstance(self.recipe, ArrayRecipe):
            scale = self.recipe.scale
            return Unit(np.array(scale), np.array(-scale * self.recipe.zero))
        return Unit(np.ones(()), np.zeros(()))

    @property
    def real(self) -> Array:
        """The real values of the bytes."""
        return self.recipe.decode(self.frames) if isinstance(self.recipe, ArrayRecipe) else self.frames

    @property
    def trial_frames(self) -> NDArray[np.uint8]:
        """The bytes of the samples that the stages are compared on."""
        return self.frames[:, : self.trial]

    @property
    def trial_real(self) -> Array:
        """Their real values, in float32 as PyTorch takes them."""
        real: Array = self.real[:, : self.trial].astype(np.float32)
        return real

    @property
    def trial_samples(self) -> Array:
        """The same without the empty frames after the samples."""
        return self.trial_real[: len(self.frames) - self.recipe.flush]


@dataclass
class Compilation:
    """A network on its way to a bundle: the result of each stage that has run.

    Attributes:
        capture: of a PyTorch model; None for a network that came as a graph.
        captured: the graph of one time step, as trained.
    """

    prepared: PreparedNetwork | None = None
    capture: Capture | None = None
    captured: Graph | None = None
    canonical: Graph | None = None
    activity: Activity | None = None
    sensitivity: tuple[Sensitivity, ...] = ()
    quantized: Quantized | None = None
    corrections: tuple[Correction, ...] = ()
    mapping: ChipMapping | None = None
    explanation: Explanation | None = None
    forced: Mapping[str, float] = field(default_factory=dict)
    agreement: Agreement | None = None
    inputs: Inputs | None = None
    ledger: Ledger = field(default_factory=Ledger)
    bundle: Bundle | None = None

    @property
    def layers(self) -> tuple[LayerReport, ...]:
        """What quantization did to each layer; empty before it was done."""
        if self.canonical is None or self.quantized is None or self.agreement is None:
            return ()
        return report_layers(self.canonical, self.quantized, self.agreement, self.forced)


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

    Raises:
        UnsupportedError: something in the model cannot be compiled for the target.
        InputError: the inputs of the compilation are bad.
        InternalError: two stages that must agree do not.
    """
    find_target(options.target).profile(options.bits)
    steps = _check_calibration(calibration, shape, recipe, options)
    run = Compilation()

    def captured() -> Graph:
        return _capture(run, model, shape, recipe, name, calibration, steps, options)

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
        return _take(run, graph, recipe, calibration, options)

    return _compile(run, captured, options, output, provenance or {}, progress, after_stage)


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
        ("canonical", lambda: _canonicalise(run, options)),
        ("integer", lambda: _quantize(run, profile, target, options)),
        ("mapped", lambda: _map(run, target, options)),
        ("bundle", lambda: _bundle(run, target, options, output, provenance)),
    ):
        progress(stage)
        after_stage(stage, work())
        if stage == options.stop_after:
            break
    return run


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
        ("integer", lambda: _accept(run, target)),
        ("mapped", lambda: _map(run, target, options)),
        ("bundle", lambda: _bundle(run, target, options, output, provenance or {})),
    ):
        progress(stage)
        after_stage(stage, work())
        if stage == options.stop_after:
            break
    return run


def _accept(run: Compilation, target: Target) -> Graph:
    """Refuse what the target cannot execute, and measure how much fires."""
    assert run.quantized is not None
    assert run.inputs is not None
    graph = run.quantized.graph
    if obstacles := target.obstacles(graph):
        raise UnsupportedError(obstacles)
    measured = measure(graph, [run.inputs.frames[:, :MAPPED_ON]])
    rates = {node.name: measured.nonzero[node.output] for node in graph.neurons()}
    run.activity = Activity(measured.samples, len(run.inputs.frames), rates, {})
    return graph


def _check_calibration(
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
            remedy="say in the recipe's `value` what a pixel holds",
        )
    return steps


def _capture(
    run: Compilation,
    model: nn.Module,
    shape: InputShape,
    recipe: FrameRecipe | None,
    name: str,
    calibration: NDArray[Any],
    steps: int,
    options: Options,
) -> Graph:
    import torch

    from spikeloom.compiler.frontends.torch.capture import capture
    from spikeloom.compiler.frontends.torch.eager import prove_capture
    from spikeloom.compiler.frontends.torch.recorded.network import RecordedNetwork
    from spikeloom.compiler.training.network import PreparedNetwork

    if isinstance(model, RecordedNetwork):
        run.ledger.add(_recorded(model.check()))
    samples = calibration.reshape(-1, *shape.sample)
    given: Recipe = recipe or ArrayRecipe.spanning(samples, max(steps, 1))
    kind = levels(given.max_value) if _is_whole(given) else REAL
    if isinstance(model, PreparedNetwork):
        _check_prepared(model, options)
        run.prepared, run.capture, given = model, model.captured, model.recipe
    else:
        run.capture = capture(model, shape, kind, name, steps)
    steps = steps or run.capture.steps
    if isinstance(given, ArrayRecipe):
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
    empty = np.full((given.flush, *calibration.shape[1:]), given.empty_byte, np.uint8)
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


def _take(
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
    given: Recipe = recipe or ArrayRecipe.spanning(calibration.reshape(-1, *sample), steps)
    if isinstance(given, ArrayRecipe):
        calibration = given.encode(calibration)
    given = replace(given, flush=graph.flush)
    empty = np.full((given.flush, *calibration.shape[1:]), given.empty_byte, np.uint8)
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


def _is_whole(recipe: Recipe) -> bool:
    return isinstance(recipe, FrameRecipe) or (recipe.scale, recipe.zero) == (1.0, 0)


def _canonicalise(run: Compilation, options: Options) -> Graph:
    assert run.captured is not None
    assert run.inputs is not None
    graph = run_passes(run.captured, CANONICALISE)
    run.canonical = graph
    seen = options.within.percentile if options.within.method == "percentile" else 100.0
    run.activity = measure_activity(graph, run.inputs.real, options.silence, seen)
    trial = run.inputs.trial_real
    flips, cells = _spikes_apart(run.captured, graph, trial)
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


def _spikes_apart(first: Graph, second: Graph, frames: Array) -> tuple[int, int]:
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


def _quantize(run: Compilation, profile: NumericProfile, target: Target, options: Options) -> Graph:
    if run.prepared is not None:
        run.quantized = run.prepared.quantized()
    else:
        run.quantized = _rounded(run, profile, options)
    if isinstance(target, RunnableTarget):
        run.quantized = replace(run.quantized, graph=target.arrange(run.quantized.graph))
    graph = run.quantized.graph
    if obstacles := target.obstacles(graph):
        raise UnsupportedError(obstacles)
    if run.prepared is None:
        _compare_decisions(run)
    else:
        _compare_with_prepared(run, run.prepared)
    _compare_free_running(run)
    return graph


def _rounded(run: Compilation, profile: NumericProfile, options: Options) -> Quantized:
    """Round the weights, with the width that each layer needs, and correct what rounding did."""
    assert run.canonical is not None
    assert run.activity is not None
    assert run.inputs is not None
    (name,) = run.canonical.inputs
    given = {name: (levels(run.inputs.recipe.max_value), run.inputs.unit)}
    canonical, activity, horizon = run.canonical, run.activity, run.inputs.horizon

    def at(rounding: Rounding, bits: int) -> Quantized:
        width = replace(profile, weight_bits=bits)
        return quantize(canonical, width, activity, horizon, given, rounding)

    rounding = Rounding(options.within)
    if options.budget is not None:
        run.sensitivity = measure_sensitivity(
            canonical, lambda bits: at(rounding, bits), profile.weight_bits, run.inputs.real
        )
        rounding = replace(rounding, bits=choose_bits(run.sensitivity, options.budget))
    quantized = at(rounding, profile.weight_bits)
    if options.corrects:
        quantized, run.corrections = correct(
            canonical, quantized, profile, run.inputs.frames, run.inputs.real
        )
    return quantized


def _compare_decisions(run: Compilation) -> None:
    """Every decision from the same membranes: against the user's module where its weights can be replaced."""
    assert run.canonical is not None
    assert run.quantized is not None
    assert run.inputs is not None
    trial = run.inputs.trial_frames
    other, tolerance = "canonical graph in float64, decision by decision", "measured"
    verdict = teacher_forced(run.canonical, run.quantized, trial, run.inputs.trial_real)
    run.forced = verdict.shares
    if run.capture is not None and can_ask_oracle(run.capture, run.quantized):
        other, tolerance = "PyTorch in float64 with the rounded weights, decision by decision", "bounded"
        verdict = ask_oracle(run.capture, run.quantized, trial)
    run.ledger.add(
        Comparison(
            "integer graph",
            other,
            verdict.samples,
            verdict.steps,
            verdict.cells,
            verdict.differing,
            tolerance,
        )
    )


def _compare_with_prepared(run: Compilation, prepared: PreparedNetwork) -> None:
    """The spikes of a fine-tuned network in PyTorch against those of its integer graph: all are equal."""
    assert run.quantized is not None
    assert run.inputs is not None
    graph, frames = run.quantized.graph, run.inputs.trial_frames
    trained = prepared.spikes_of(frames)
    interpreter = Interpreter(graph)
    interpreter.reset(frames.shape[1])
    cells = 0
    for step, frame in enumerate(frames):
        values = interpreter.step(frame)
        for name, spikes in trained.items():
            cells += spikes[step].size
            if (spikes[step] != values[name]).any():
                raise InternalError.of("SL0802", name, f"differs from the prepared network at step {step}")
    what = "fine-tuned network in PyTorch"
    run.ledger.add(Comparison("integer graph", what, frames.shape[1], len(frames), cells, 0, "zero"))


def _compare_free_running(run: Compilation) -> None:
    assert run.quantized is not None
    assert run.inputs is not None
    graph = run.quantized.graph
    output, spikes = _run_trained(run)
    arrays = {name: s for name, s in spikes.items() if name in graph.producers}
    run.agreement = compare_free_running(output, arrays, graph, run.inputs.trial_frames)
    layers = run.agreement.layers
    run.ledger.add(
        Comparison(
            "integer graph",
            "the graph as it came, in float64, free running"
            if run.capture is None
            else "trained PyTorch, free running",
            run.agreement.samples,
            run.agreement.steps,
            sum(layer.cells for layer in layers),
            sum(layer.flips for layer in layers),
            "measured",
            run.agreement.to_json(),
        )
    )


def _run_trained(run: Compilation) -> tuple[Array, dict[str, Array]]:
    """Output and spikes of the trained network on the trial samples: PyTorch's, or those of its graph."""
    return _run_graph(run) if run.capture is None else _run_eager(run)


def _run_graph(run: Compilation) -> tuple[Array, dict[str, Array]]:
    assert run.captured is not None
    assert run.inputs is not None
    graph, frames = run.captured, run.inputs.trial_real
    interpreter = Interpreter(graph)
    interpreter.reset(frames.shape[1])
    steps = [interpreter.step(frame) for frame in frames]
    output = np.stack([values[graph.outputs[0]] for values in steps])
    spikes = {
        node.name: np.stack([values[node.name] for values in steps[graph.lateness[node.name] :]])
        for node in graph.neurons()
    }
    return output[-1:] if graph.answers_at_the_end else output, spikes


def _run_eager(run: Compilation) -> tuple[Array, dict[str, Array]]:
    """Output and spikes of the trained model on the trial samples."""
    import torch

    from spikeloom.compiler.frontends.torch.eager import run_eager

    assert run.capture is not None
    assert run.inputs is not None
    frames = torch.from_numpy(run.inputs.trial_samples)
    found = run.capture
    output, spikes = run_eager(found.model, found.input_shape, frames, found)
    return output.numpy(), {name: s.numpy() for name, s in spikes.items()}


def _map(run: Compilation, target: Target, options: Options) -> ChipMapping | None:
    if not isinstance(target, ChipTarget):
        return None
    from spikeloom.compiler.mapping.explain import explain
    from spikeloom.compiler.mapping.partition import map_network

    assert run.quantized is not None
    assert run.inputs is not None
    calibration = run.inputs.frames
    graph = run.quantized.graph
    network = target.lower(graph)
    rates = population_rates(network, graph, measure(graph, [calibration[:, :MAPPED_ON]]))
    run.mapping = map_network(network, target.chip().with_chips(options.chips), rates, options.seed)
    if problems := check_mapping(run.mapping):
        raise InternalError(problems)
    run.explanation = explain(run.mapping, rates)
    return run.mapping


def _bundle(
    run: Compilation,
    target: Target,
    options: Options,
    output: Path | None,
    provenance: Mapping[str, Any],
) -> Bundle | None:
    assert run.quantized is not None
    assert run.inputs is not None
    trial = run.inputs.trial_frames
    assert run.activity is not None
    members = graph_members(run.quantized.graph)
    forms = find_target("onnx").artifacts(run.quantized.graph)
    members |= {f"onnx/{name}": data for name, data in forms.items()}
    if target.name != "onnx":
        extra = target.artifacts(run.quantized.graph)
        members |= {f"{target.name}/{name}": data for name, data in extra.items()}
    _compare_engines(run, forms, trial)
    _compare_on_chip(run, target, trial)
    members["recipe.json"] = json_member(run.inputs.recipe.to_json())
    members["activity.json"] = json_member(_activity_json(run))
    members["ledger.json"] = json_member(run.ledger.to_json())
    members["traces.safetensors"] = tensor_member(_traces(run))
    if run.mapping is not None:
        members["network.json"] = json_member(run.mapping.network.to_json())
        members["mapping.json"] = json_member(run.mapping.to_json())
    if run.explanation is not None:
        members["explanation.json"] = json_member(run.explanation.to_json())
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


def _compare_on_chip(run: Compilation, target: Target, trial: NDArray[np.uint8]) -> None:
    """Run the target's own steps on the trial frames, unless the network is too large for that."""
    assert run.quantized is not None
    graph = run.quantized.graph
    if not isinstance(target, RunnableTarget) or not target.can_execute(graph):
        return
    name = next(iter(target.engines()))
    engines = {engine: open_engine(engine, graph, {}) for engine in ("reference", name)}
    comparison = compare_engines(engines, [("trial", trial)])
    if comparison.mismatches:
        raise MismatchError.of(
            "SL0802", comparison.first, f"the steps of {target.name} differ from the graph"
        )
    run.ledger.add(
        Comparison(
            f"steps of {target.name}",
            "integer graph",
            trial.shape[1],
            len(trial),
            comparison.cells,
            0,
            "zero",
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
        "potential_bounds": _potential_bounds(run.quantized.graph),
        "layers": [layer.to_json() for layer in run.layers],
    }


def _potential_bounds(graph: Graph) -> list[dict[str, Any]]:
    """How far each membrane can go, whatever comes in: the proof that it does not overflow."""
    return [
        {"layer": node.name, "state_bits": node.op.state_bits, "reach": [int(end) for end in reach]}
        for node in graph.nodes
        if isinstance(node.op, IntegerNeuron)
        for reach in [node.op.potential_bounds(*graph.input_types(node))]
    ]


def _traces(run: Compilation) -> dict[str, Array]:
    """What the trained network did on the trial frames: kept so that a bundle can be checked without it."""
    assert run.inputs is not None
    assert run.quantized is not None
    if run.capture is None:  # it was integers from the start
        return {"frames": run.inputs.trial_frames}
    output, spikes = _run_trained(run)
    units, types = run.quantized.graph.units, run.quantized.graph.types
    traces = {
        f"spikes/{name}": np.rint(s / units[name].scale).astype(spike_dtype(types[name].kind))
        for name, s in spikes.items()
        if name in units
    }
    return {"frames": run.inputs.trial_frames, "output": output, **traces}
