"""The third stage: the integers of a target, and how far they are from what was trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spikeloom.compiler.agreement import (
    ask_oracle,
    can_ask_oracle,
    compare_free_running,
    teacher_forced,
)
from spikeloom.compiler.graph.graph import Graph
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.compiler.graph.profile import NumericProfile
from spikeloom.compiler.graph.target import RunnableTarget, Target
from spikeloom.compiler.ledger import Comparison
from spikeloom.compiler.pipeline.compilation import Compilation
from spikeloom.compiler.pipeline.mapped import MAPPED_ON
from spikeloom.compiler.pipeline.options import Options
from spikeloom.compiler.pipeline.trained import run_trained
from spikeloom.compiler.quantize.activity import Activity
from spikeloom.compiler.quantize.correct import correct
from spikeloom.compiler.quantize.quantize import Quantized, quantize
from spikeloom.compiler.quantize.sensitivity import choose_bits, measure_sensitivity
from spikeloom.compiler.quantize.walk import Rounding
from spikeloom.errors import InputError, InternalError, UnsupportedError
from spikeloom.runtime.estimate.activity import measure
from spikeloom.runtime.events.array_recipe import integer_kind

if TYPE_CHECKING:
    from spikeloom.compiler.training.network import PreparedNetwork


def round_to_integers(run: Compilation, profile: NumericProfile, target: Target, options: Options) -> Graph:
    """Make the integer graph of a target, or take that of a prepared network, and compare it with the floats.

    Raises:
        UnsupportedError: the target cannot execute it; all that stands in the way is listed.
    """
    if run.prepared is not None:
        run.quantized = run.prepared.quantized()
    else:
        run.quantized = _rounded(run, profile, options)
    if isinstance(target, RunnableTarget):
        graph = target.arrange(run.quantized.graph, options.chips, options.attention)
        run.quantized = replace(run.quantized, graph=graph)
    elif options.attention:
        raise InputError.of(
            "SL0901",
            "--attention",
            f"{target.name} executes attention in one way",
            remedy="leave it out",
        )
    graph = run.quantized.graph
    if obstacles := target.obstacles(graph):
        raise UnsupportedError(obstacles)
    if run.prepared is None:
        _compare_decisions(run)
    else:
        _compare_with_prepared(run, run.prepared)
    _compare_free_running(run)
    return graph


def accept_integers(run: Compilation, target: Target) -> Graph:
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


def _rounded(run: Compilation, profile: NumericProfile, options: Options) -> Quantized:
    """Round the weights, with the width that each layer needs, and correct what rounding did."""
    assert run.canonical is not None
    assert run.activity is not None
    assert run.inputs is not None
    (name,) = run.canonical.inputs
    given = {name: (integer_kind(run.inputs.recipe), run.inputs.unit)}
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
        values = interpreter.step(frame, keep=trained)
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
    output, spikes = run_trained(run)
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
