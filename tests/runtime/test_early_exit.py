"""Early exit: running with a rule is running to the end and cutting off; guarantees hold on fresh draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.graph import Unit
from spikeloom.errors import InputError
from spikeloom.runtime.early_exit.calibrate import (
    FIXED_LEVELS,
    choose_surely,
    choose_threshold,
    confidence_front,
    fit_scale,
    outcome,
    read_rule,
    split_samples,
)
from spikeloom.runtime.early_exit.conformal import calibrate_conformal
from spikeloom.runtime.early_exit.dynamic_confidence import DynamicConfidence
from spikeloom.runtime.early_exit.rule import ExitRule, exit_steps, write_rule
from spikeloom.runtime.events.framer import Framer
from spikeloom.runtime.events.samples.sample import Sample
from spikeloom.runtime.session import Session
from tests.small_session import ENGINES, RECIPE, SCALE, recording, small_bundle, small_network


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network with an offset at each step, which evidence after few steps has as often."""
    network = small_network()
    unit = Unit(np.array(SCALE), np.array([0.5, -0.25, 0.0]))
    graph = network.replace(units={**network.units, network.outputs[0]: unit})
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small.loom", graph)


def samples(count: int) -> list[Sample]:
    made = []
    for seed in range(count):
        framer = Framer(RECIPE)
        frames = [*framer.push(recording(seed, 30 * (seed + 1))), *framer.finish()]
        made.append(Sample(f"s{seed}", np.stack(frames), seed % 3))
    return made


def draws(
    seed: int, count: int, steps: int = 5, classes: int = 10
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Evidence that grows with time towards the label, in noise: a network that is right now and then."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    increments = rng.normal(0, 1.5, (count, steps, classes))
    increments[np.arange(count), :, labels] += rng.gamma(2, 0.8, (count, 1))
    return increments.cumsum(1), labels


RULES: list[ExitRule] = [
    DynamicConfidence(0.9, 0.02),
    DynamicConfidence(0.5, 0.01, first_step=2),
    calibrate_conformal(*draws(0, 300, steps=6, classes=3), 0.2, 1, 0.05),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_a_run_stops_where_the_rule_says(bundle: Bundle, engine: str, batch: int, rule: ExitRule) -> None:
    session = Session(bundle, engine)
    made = samples(12)
    whole = list(session.run(made))
    wanted = exit_steps(rule, np.stack([result.evidence for result in whole]))
    assert len(set(wanted.tolist())) > 1
    for full, early, steps in zip(
        whole, session.run(made, batch, exit_rule=rule), wanted.tolist(), strict=True
    ):
        assert early.sample is full.sample
        np.testing.assert_array_equal(early.evidence, full.evidence[:steps])
        np.testing.assert_array_equal(early.spikes["lif"], full.spikes["lif"][:steps])
        assert early.prediction == full.evidence[steps - 1].argmax()
        if rule.kind == "conformal":
            kept = rule.candidates(early.evidence[-1:], steps)
            assert kept is not None
            assert early.candidates == tuple(np.flatnonzero(kept[0]).tolist())


def test_nothing_is_computed_of_an_answered_sample(bundle: Bundle) -> None:
    session = Session(bundle, "reference")
    run, computed = session.engine.run, []

    def counting(frames: NDArray[np.uint8]):  # type: ignore[no-untyped-def]
        computed.append(frames.shape[0] * frames.shape[1])
        return run(frames)

    session.engine.run = counting  # type: ignore[method-assign]
    results = list(session.run(samples(12), exit_rule=RULES[0]))
    assert sum(computed) == sum(len(result.evidence) for result in results) < 12 * 6


def test_a_threshold_of_one_never_stops_early(bundle: Bundle) -> None:
    never = DynamicConfidence(1.0, 100.0)
    assert all(len(result.evidence) == 6 for result in Session(bundle).run(samples(5), exit_rule=never))


# --- calibration -----------------------------------------------------------------------------------------


def test_the_front_goes_from_at_once_to_never() -> None:
    evidence, labels = draws(1, 500)
    front = confidence_front(evidence, labels, 0.7)
    assert front[0].outcome.steps == 1
    assert front[-1].outcome.steps == 5
    assert [p.threshold for p in front] == sorted(p.threshold for p in front)
    assert (np.diff([p.outcome.steps for p in front]) >= 0).all()
    assert front[-1].outcome.accuracy == (evidence[:, -1].argmax(1) == labels).mean()


def test_the_chosen_threshold_is_the_fastest_that_is_good_enough() -> None:
    evidence, labels = draws(2, 800)
    front = confidence_front(evidence, labels, 0.7)
    chosen = choose_threshold(front, 0.01)
    full = front[-1].outcome.accuracy
    assert chosen.outcome.accuracy >= full - 0.0101
    assert chosen.outcome.steps < 4.5
    faster = [p for p in front if p.outcome.steps < chosen.outcome.steps]
    assert all(p.outcome.accuracy < full - 0.01 for p in faster)


def test_a_sure_choice_keeps_its_loss_nearly_always() -> None:
    """Chosen on 300 draws at a confidence of 90 %, judged on 20,000: the loss is exceeded in a tenth or less.

    The plain choice of the same loss exceeds it about every second time.
    """
    broken = {"sure": 0, "plain": 0}
    judged, labels = draws(77, 20_000)
    for repetition in range(60):
        evidence, known = draws(9000 + repetition, 300)
        fixed = confidence_front(evidence, known, 0.7, levels=FIXED_LEVELS)
        front = confidence_front(evidence, known, 0.7)
        for name, point in (
            ("sure", choose_surely(fixed, 300, 0.03, 0.9)),
            ("plain", choose_threshold(front, 0.03)),
        ):
            found = outcome(DynamicConfidence(point.threshold, 0.7), judged, labels)
            broken[name] += found.lost / len(labels) > 0.03
    assert broken["sure"] <= 60 * 0.1
    assert broken["plain"] > broken["sure"]


def test_the_scale_is_that_of_the_noise() -> None:
    """Labels drawn from softmax(0.25 · evidence) ask for the scale 0.25."""
    rng = np.random.default_rng(3)
    evidence = rng.normal(0, 8, (20_000, 6))
    shares = np.exp(0.25 * evidence)
    shares /= shares.sum(1, keepdims=True)
    labels = (shares.cumsum(1) < rng.random((len(shares), 1))).sum(1)
    assert fit_scale(evidence, labels) == pytest.approx(0.25, rel=0.03)


@pytest.mark.parametrize("miscoverage", [0.05, 0.2])
@pytest.mark.parametrize("set_size", [1, 2])
def test_the_conformal_guarantee_holds_on_fresh_draws(miscoverage: float, set_size: int) -> None:
    """Over many calibrations, each judged on fresh draws: the mean coverage is at least as promised.

    With 200 repetitions of 200 draws the mean is known to 0.2 % or better; a promise broken by a tenth of
    the miscoverage would show.
    """
    covered, early = [], []
    for repetition in range(200):
        evidence, labels = draws(1000 + repetition, 400 + 200)
        rule = calibrate_conformal(evidence[:400], labels[:400], miscoverage, set_size, 0.7)
        result = outcome(rule, evidence[400:], labels[400:])
        assert result.covered is not None
        covered.append(result.covered)
        early.append(result.steps)
    assert np.mean(covered) >= 1 - miscoverage
    assert np.mean(early) < 5 or miscoverage == 0.05


@pytest.mark.parametrize(("miscoverage", "rank"), [(0.1, 18), (0.25, 15), (0.05, 19)])
def test_the_limit_is_the_score_of_its_rank(miscoverage: float, rank: int) -> None:
    """Of two classes, m apart, the right one scores log(1 + exp(-m)); the rank is ⌈20 (1 - α)⌉."""
    apart = np.arange(19.0, 0, -1)  # so that scores rise
    evidence = np.stack([apart, np.zeros(19)], -1)[:, None]
    rule = calibrate_conformal(evidence, np.zeros(19, np.int64), miscoverage)
    assert rule.limits == {1: pytest.approx(np.log1p(np.exp(-apart[rank - 1])))}


def test_without_the_union_bound_the_guarantee_would_break() -> None:
    """That the test above can fail: each of 12 checkpoints alone misses 10 %, stopping picks among them."""
    missed = []
    for repetition in range(60):
        evidence, labels = draws(5000 + repetition, 600, steps=12)
        rule = calibrate_conformal(evidence[:400], labels[:400], 0.1, 1, 0.7)
        alone = {
            step: calibrate_conformal(evidence[:400, :step], labels[:400], 0.1, 1, 0.7, [step]).limits[step]
            for step in rule.limits
        }
        result = outcome(replace(rule, limits=alone), evidence[400:], labels[400:])
        assert result.covered is not None
        missed.append(1 - result.covered)
    assert np.mean(missed) > 0.11


def test_too_few_recordings_for_a_guarantee() -> None:
    evidence, labels = draws(4, 98)
    with pytest.raises(InputError, match=r"SL0812 .*too few recordings .*at least 99, got 98"):
        calibrate_conformal(evidence, labels, 0.05)
    evidence, labels = draws(4, 99)
    assert calibrate_conformal(evidence, labels, 0.05).calibration == 99
    assert calibrate_conformal(*draws(4, 39), 0.05, checkpoints=[2]).limits.keys() == {2, 5}


def test_splits_share_nothing() -> None:
    one, other = split_samples(61, 0.5, seed=3)
    assert sorted([*one, *other]) == list(range(61))
    assert sorted(one) != one.tolist()  # a part of it is a part at random, also of recordings sorted by class
    with pytest.raises(InputError, match="SL0812"):
        split_samples(1, 0.5, 0)


# --- the file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_a_rule_comes_back_from_its_file(rule: ExitRule, tmp_path: Path) -> None:
    path = tmp_path / "exit.json"
    write_rule(rule, "digest", {"recordings": 3}, path)
    assert read_rule(path, "digest") == rule
    with pytest.raises(InputError, match=r"SL0812 .*another network"):
        read_rule(path, "other")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"exit": 3, "network": "d"}', '{"exit": {"kind": "guess"}, "network": "d"}',
             '{"exit": {"kind": "dynamic_confidence", "threshold": 7}, "network": "d"}',
             '{"exit": {"kind": "conformal", "limits": 3}, "network": "d"}']
)  # fmt: skip
def test_damaged_rules(text: str, tmp_path: Path) -> None:
    path = tmp_path / "exit.json"
    path.write_text(text)
    with pytest.raises(InputError, match="SL0812"):
        read_rule(path, "d")
    with pytest.raises(InputError, match="SL0812"):
        read_rule(tmp_path / "missing.json", "d")
