"""Fitting exit rules: the scale of the evidence, the front of accuracy and latency, the threshold on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import InputError, counted
from spikeloom.runtime.early_exit.conformal import Conformal
from spikeloom.runtime.early_exit.dynamic_confidence import DynamicConfidence
from spikeloom.runtime.early_exit.rule import ExitRule, exit_steps, probabilities, read_rule_document

POINTS = 200
FIXED_LEVELS = (*(1 - 10 ** (-place / 20) for place in range(121)), 1.0)
"""Thresholds that no recording has had a say in: 0, and ever closer to 1."""

_SCALES = (1e-4, 1e4)


@dataclass(frozen=True)
class Outcome:
    """What a rule does on labelled recordings.

    Attributes:
        accuracy: share of right answers.
        steps: mean number of steps to an answer.
        lost: recordings that running to the end would have answered rightly, and this does not.
        covered: share of recordings whose right class is among those kept; None where the rule keeps none.
        set_size: mean number of classes kept; likewise.
    """

    accuracy: float
    steps: float
    lost: int
    covered: float | None = None
    set_size: float | None = None


@dataclass(frozen=True)
class FrontPoint:
    """A threshold and what it does."""

    threshold: float
    outcome: Outcome


def outcome(rule: ExitRule, evidence: NDArray[np.float64], labels: NDArray[np.int64]) -> Outcome:
    """What a rule does on the evidence [samples, steps, classes] of recordings."""
    steps = exit_steps(rule, evidence)
    rows = np.arange(len(labels))
    last = evidence[rows, steps - 1]
    right = last.argmax(1) == labels
    accuracy = float(right.mean())
    lost = int(((evidence[:, -1].argmax(1) == labels) & ~right).sum())
    kept = [rule.candidates(last[row : row + 1], int(steps[row])) for row in rows]
    sets = [one[0] for one in kept if one is not None]
    if len(sets) < len(kept):
        return Outcome(accuracy, float(steps.mean()), lost)
    stacked = np.stack(sets)
    covered = float(stacked[rows, labels].mean())
    return Outcome(accuracy, float(steps.mean()), lost, covered, float(stacked.sum(1).mean()))


def fit_scale(evidence: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The scale at which softmax(scale · evidence) [samples, classes] is likeliest to give the labels.

    Temperature scaling (C. Guo et al., ICML 2017), with a tenth of a recording in doubt, so that a set
    without a mistake does not ask for an endless scale.
    """
    from scipy.optimize import minimize_scalar

    rows = np.arange(len(labels))
    doubt = 0.1 / len(labels)

    def loss(log_scale: float) -> float:
        shares = probabilities(evidence, float(np.exp(log_scale)))
        right = (1 - doubt) * np.log(np.maximum(shares[rows, labels], 1e-300))
        return float(-(right + doubt * np.log(np.maximum(shares, 1e-300)).mean(1)).mean())

    low, high = np.log(_SCALES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def confidence_front(
    evidence: NDArray[np.float64],
    labels: NDArray[np.int64],
    scale: float,
    levels: Sequence[float] = (),
) -> list[FrontPoint]:
    """Thresholds from «always at once» to «never early», and what each does.

    They are ``levels``, which rise to 1, or by default those at which something changes, at most
    :data:`POINTS` of them.
    """
    chosen = np.asarray(levels)
    if not len(levels):
        sure = DynamicConfidence(0.0, scale).confidence(evidence[:, :-1])
        found = np.unique(np.concatenate([[0.0, 1.0], sure.ravel()]))
        chosen = found[np.unique(np.linspace(0, len(found) - 1, POINTS).round().astype(int))]
    rules = [DynamicConfidence(min(float(level), 1.0), scale) for level in chosen]
    return [FrontPoint(rule.threshold, outcome(rule, evidence, labels)) for rule in rules]


def choose_threshold(front: list[FrontPoint], loss: float) -> FrontPoint:
    """The fastest point that is at most ``loss`` less accurate than running to the end."""
    wanted = front[-1].outcome.accuracy - loss - 1e-12
    good = [point for point in front if point.outcome.accuracy >= wanted]
    return min(good, key=lambda point: (point.outcome.steps, -point.outcome.accuracy))


def choose_surely(front: list[FrontPoint], count: int, loss: float, confidence: float) -> FrontPoint:
    """The fastest point that loses at most ``loss`` of all recordings, known with that confidence.

    Thresholds are tried in a fixed sequence from the slowest on, each held to the upper Clopper-Pearson bound
    of the share that it loses on the ``count`` recordings of the front, up to the first that fails: so the
    confidence holds for the one that is chosen (A. N. Angelopoulos et al., *Learn then Test*, 2021).

    The thresholds, as the scale, must not come from these recordings: :data:`FIXED_LEVELS`.

    >>> outcomes = [Outcome(0.9, 1, 0), Outcome(0.9, 2, 9), Outcome(0.9, 5, 0)]
    >>> points = [FrontPoint(level, one) for level, one in zip((0.1, 0.5, 1.0), outcomes)]
    >>> choose_surely(points, 200, 0.02, 0.95).threshold
    1.0
    """
    from scipy.stats import beta

    chosen = front[-1]
    for point in reversed(front[:-1]):
        lost = point.outcome.lost
        bound = 1.0 if lost == count else float(beta.ppf(confidence, lost + 1, count - lost))
        if bound > loss:
            break
        chosen = point
    return chosen


def split_samples(count: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to calibrate on and indices to judge on, drawn at random and in no order.

    Any part of them is drawn at random too, however the recordings are sorted.

    Raises:
        InputError: SL0812, one of them would be empty.
    """
    order = np.random.default_rng(seed).permutation(count)
    cut = round(count * share)
    if not 0 < cut < count:
        what = f"{counted(count, 'recording')} cannot be split at {share:g}"
        raise InputError.of("SL0812", "calibration", what, wanted="two parts")
    return order[:cut], order[cut:]


def read_rule(path: Path | str, network: str) -> ExitRule:
    """The rule of a file that :func:`~spikeloom.runtime.early_exit.rule.write_rule` wrote.

    Raises:
        InputError: SL0812, the file is missing or holds no rule, or one for another network.
    """
    document = read_rule_document(path, network)
    try:
        return rule_of(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError.of("SL0812", path, f"holds no exit rule: {error}") from error


def rule_of(document: Mapping[str, Any]) -> ExitRule:
    """The rule of a JSON object."""
    fields = dict(document)
    kind = fields.pop("kind")
    if kind == "dynamic_confidence":
        return DynamicConfidence(**fields)
    if kind == "conformal":
        limits = {int(step): float(limit) for step, limit in fields.pop("limits").items()}
        return Conformal(limits=limits, **fields)
    raise ValueError(f"there is no rule {kind!r}")
