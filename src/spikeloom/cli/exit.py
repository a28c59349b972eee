"""``spikeloom exit``: calibrates a rule that stops inference early."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from spikeloom.atomic import require_writable, write_text
from spikeloom.cli.console import counted, percent, print_json, progress
from spikeloom.cli.console import output as console
from spikeloom.cli.options import BundleFile, EngineName, spread
from spikeloom.cli.outputs import require_suffix
from spikeloom.cli.sources import Json, SampleOptions
from spikeloom.compiler.bundle import read_bundle
from spikeloom.errors import InputError
from spikeloom.runtime.early_exit.calibrate import (
    FIXED_LEVELS,
    FrontPoint,
    Outcome,
    choose_surely,
    choose_threshold,
    confidence_front,
    fit_scale,
    outcome,
    split_samples,
)
from spikeloom.runtime.early_exit.conformal import Conformal, calibrate_conformal
from spikeloom.runtime.early_exit.dynamic_confidence import DynamicConfidence
from spikeloom.runtime.early_exit.rule import ExitRule, write_rule
from spikeloom.runtime.events.samples.sample import Samples
from spikeloom.runtime.report.plots.figure import standalone
from spikeloom.runtime.report.plots.front import plot_front
from spikeloom.runtime.score import wilson_interval
from spikeloom.runtime.session import Session
from spikeloom.runtime.session_state import network_digest

RULES = ("confidence", "conformal")


@spread
def exit_(
    bundle: BundleFile,
    samples: SampleOptions,
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the rule to this file (.json).")],
    rule: Annotated[
        str,
        typer.Option(
            help="confidence: Dynamic Confidence, as fast as the loss allows; conformal: the right class is "
            "among those kept, with a guarantee."
        ),
    ] = "confidence",
    loss: Annotated[float, typer.Option(help="Accuracy that confidence may cost, 0 to 1.")] = 0.0,
    sure: Annotated[
        float | None,
        typer.Option(help="Hold --loss for all recordings like these with this confidence, say 0.95."),
    ] = None,
    miscoverage: Annotated[
        float, typer.Option(help="Share of recordings, at most, whose right class conformal may lose.")
    ] = 0.1,
    set_size: Annotated[int, typer.Option(min=1, help="Classes that are an answer to conformal.")] = 1,
    checkpoint: Annotated[
        list[int] | None, typer.Option(help="A step at which conformal may stop; all by default.")
    ] = None,
    split: Annotated[
        float, typer.Option(help="Share of the recordings to calibrate on; the rule is judged on the others.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    front: Annotated[
        Path | None, typer.Option(help="Draw accuracy against latency into this file (.svg).")
    ] = None,
    engine: EngineName = "onnx",
    json: Json = False,
) -> None:
    """Calibrate an early exit on labelled recordings that the network was not trained on, and judge it.

    On recordings that it was trained on a network is surer than it should be, and the rule too fast.
    """
    _check(rule, loss, sure, miscoverage, front)
    for path in filter(None, (output, front)):
        require_writable(path)
    session = Session(read_bundle(bundle), engine)
    evidence, known = _run(session, samples.open(session.bundle))
    fit, held = split_samples(len(known), split, seed)
    fitting = (evidence[fit], known[fit])
    if rule == "conformal":
        chosen: ExitRule = _conformal(*fitting, miscoverage, set_size, checkpoint or [])
    else:
        scale, fitted = _confidence(*fitting, sure)
        count = len(fit) - _scaling(len(fit), sure)
        point = choose_surely(fitted, count, loss, sure) if sure else choose_threshold(fitted, loss)
        chosen = DynamicConfidence(point.threshold, scale)
        if front is not None:
            levels = FIXED_LEVELS if sure else ()
            held_out = confidence_front(evidence[held], known[held], scale, levels=levels)
            judged = outcome(chosen, evidence[held], known[held])
            write_text(front, standalone(plot_front(fitted, held_out, judged)) + "\n")
    document = _document(chosen, evidence, known, fit, held)
    write_rule(chosen, network_digest(session.bundle), document["calibration"], output)
    if json:
        print_json(document)
    else:
        _print(document)


def _check(rule: str, loss: float, sure: float | None, miscoverage: float, front: Path | None) -> None:
    if rule not in RULES:
        what = "there is no such rule"
        raise InputError.of("SL0901", "--rule", what, wanted=" or ".join(RULES), got=rule)
    if not 0 <= loss < 1:
        raise InputError.of("SL0901", "--loss", "is no share", wanted="0 to 1", got=loss)
    if sure is not None and not 0 < sure < 1:
        raise InputError.of("SL0901", "--sure", "is no confidence", wanted="between 0 and 1", got=sure)
    if not 0 < miscoverage < 1:
        wanted = "between 0 and 1"
        raise InputError.of("SL0901", "--miscoverage", "is no share", wanted=wanted, got=miscoverage)
    if front is not None and rule != "confidence":
        raise InputError.of("SL0901", "--front", "belongs to --rule confidence")
    require_suffix("--front", front, ".svg")


def _scaling(count: int, sure: float | None) -> int:
    """Of so many recordings, how many give the scale and nothing else: a promise must not see them twice."""
    return count // 5 if sure else 0


def _confidence(
    evidence: NDArray[np.float64], labels: NDArray[np.int64], sure: float | None
) -> tuple[float, list[FrontPoint]]:
    """The scale, and the front that a threshold is chosen from."""
    part = _scaling(len(labels), sure)
    if not part:
        scale = fit_scale(evidence[:, -1], labels)
        return scale, confidence_front(evidence, labels, scale)
    scale = fit_scale(evidence[:part, -1], labels[:part])
    return scale, confidence_front(evidence[part:], labels[part:], scale, levels=FIXED_LEVELS)


def _conformal(
    evidence: NDArray[np.float64],
    labels: NDArray[np.int64],
    miscoverage: float,
    set_size: int,
    checkpoints: list[int],
) -> Conformal:
    """The conformal rule; a fifth of the recordings gives the scale and nothing else."""
    part = max(1, len(labels) // 5)
    scale = fit_scale(evidence[:part, -1], labels[:part])
    kept = evidence[part:], labels[part:]
    return calibrate_conformal(*kept, miscoverage, set_size, scale, checkpoints)


def _run(session: Session, samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The evidence [samples, steps, classes] and the labels of all."""
    evidence, labels = [], []
    with progress(len(samples), "running") as bar:
        for result in session.run(samples):
            if result.sample.label is None:
                name = result.sample.name
                what = "has no label, and a rule is calibrated by them"
                raise InputError.of("SL0120", name, what, remedy="give --labels")
            evidence.append(result.evidence)
            labels.append(result.sample.label)
            bar.advance(bar.task_ids[0])
    return np.stack(evidence), np.array(labels)


def _document(
    rule: ExitRule,
    evidence: NDArray[np.float64],
    labels: NDArray[np.int64],
    fit: NDArray[np.int64],
    held: NDArray[np.int64],
) -> dict[str, Any]:
    never = DynamicConfidence(1.0)
    return {
        "rule": rule.to_json(),
        "steps": evidence.shape[1],
        "calibration": _judged(rule, never, evidence[fit], labels[fit]),
        "held_out": _judged(rule, never, evidence[held], labels[held]),
    }


def _judged(
    rule: ExitRule, never: ExitRule, evidence: NDArray[np.float64], labels: NDArray[np.int64]
) -> dict[str, Any]:
    early, full = (outcome(one, evidence, labels) for one in (rule, never))
    return {
        "recordings": len(labels),
        "accuracy": early.accuracy,
        "accuracy_interval": list(wilson_interval(round(early.accuracy * len(labels)), len(labels))),
        "accuracy_without": full.accuracy,
        "steps_mean": early.steps,
        **_coverage(early),
    }


def _coverage(early: Outcome) -> dict[str, float]:
    if early.covered is None or early.set_size is None:
        return {}
    return {"covered": early.covered, "set_size_mean": early.set_size}


def _print(document: dict[str, Any]) -> None:
    rule = document["rule"]
    if rule["kind"] == "conformal":
        promise = percent(1 - rule["miscoverage"])
        console.print(f"conformal: the right class is kept with a probability of at least {promise}")
    else:
        console.print(f"Dynamic Confidence: threshold {rule['threshold']:.6g}, scale {rule['scale']:.4g}")
    for name in ("calibration", "held_out"):
        found = document[name]
        low, high = found["accuracy_interval"]
        title, without = name.replace("_", "-"), percent(found["accuracy_without"])
        console.print(
            f"{title}: {counted(found['recordings'], 'recording')}, accuracy {percent(found['accuracy'])} "
            f"({percent(low)} to {percent(high)}; without early exit {without}), "
            f"{found['steps_mean']:.2f} of {document['steps']} steps"
        )
        if "covered" in found:
            size = found["set_size_mean"]
            console.print(f"  right class kept: {percent(found['covered'])}, {size:.2f} classes on average")
