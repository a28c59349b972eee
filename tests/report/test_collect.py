"""What is collected, against the reference interpreter, the mapping and plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spikeloom.compiler.bundle import Bundle
from spikeloom.compiler.graph.interpret import Interpreter
from spikeloom.errors import InputError
from spikeloom.runtime.estimate.chip import USED
from spikeloom.runtime.report.collect import Report, collect
from spikeloom.runtime.report.constants import MEANINGS
from spikeloom.runtime.score import wilson_interval
from tests.random_networks import RandomNetwork


@pytest.fixture
def report(bundle_for: Callable[[str], Bundle], inputs: Callable[..., Any]) -> Report:
    return collect(bundle_for("loihi2"), inputs())


def interpreted(network: RandomNetwork) -> dict[str, Any]:
    """All values [steps, samples, ...] by the reference interpreter."""
    interpreter = Interpreter(network.graph)
    interpreter.reset(network.frames.shape[1])
    steps = [interpreter.step(frame) for frame in network.frames]
    return {name: np.stack([step[name] for step in steps]) for name in network.graph.types}


def test_spikes_and_rates_are_those_of_the_reference(report: Report, network: RandomNetwork) -> None:
    values = interpreted(network)
    assert [layer.name for layer in report.layers] == ["stem.neuron", "attention.neuron"]
    for layer in report.layers:
        spikes = values[layer.name] != 0
        assert layer.spikes == spikes.sum() > 0
        assert layer.rate == pytest.approx(spikes.mean())
        assert layer.step_rates == pytest.approx(spikes.reshape(len(spikes), -1).mean(1))
    assert report.spikes == sum(int((values[layer.name] != 0).sum()) for layer in report.layers)
    outputs = sum(values[layer.name].size for layer in report.layers)
    assert report.sparsity == pytest.approx(1 - report.spikes / outputs)


def test_the_recording_shown_is_the_one_asked_for(
    bundle_for: Callable[[str], Bundle], inputs: Callable[..., Any], network: RandomNetwork
) -> None:
    values = interpreted(network)
    shown = collect(bundle_for("onnx"), inputs(), show="in.npz[3]").recording
    assert shown.name == "in.npz[3]"
    assert np.array_equal(shown.frames, network.frames[:, 3])
    for layer, spikes in shown.spikes.items():
        assert np.array_equal(spikes, values[layer][:, 3])
    assert shown.evidence == pytest.approx(0.01 * values["head"][:, 3].cumsum(0))
    assert shown.prediction == values["head"][:, 3].sum(0).argmax()


def test_a_recording_that_is_not_there(
    bundle_for: Callable[[str], Bundle], inputs: Callable[..., Any]
) -> None:
    with pytest.raises(InputError, match=r"SL0901 --show: .* in\.npz\[0\]"):
        collect(bundle_for("onnx"), inputs(), show="elsewhere")


def test_the_score_counts_what_is_right_and_names_what_is_wrong(
    bundle_for: Callable[[str], Bundle], inputs: Callable[..., Any], network: RandomNetwork
) -> None:
    predictions = interpreted(network)["head"].sum(0).argmax(1).tolist()
    labels = [(label + 1) % 3 if place in (1, 4) else label for place, label in enumerate(predictions)]
    score = collect(bundle_for("onnx"), inputs(labels)).score
    assert score is not None
    assert (score.right, score.labelled) == (4, 6)
    assert (score.low, score.high) == wilson_interval(4, 6)
    assert [(m.name, m.label, m.prediction) for m in score.mistakes] == [
        (f"in.npz[{place}]", labels[place], predictions[place]) for place in (1, 4)
    ]


def test_no_labels_no_score(report: Report) -> None:
    assert report.score is None


def test_what_the_compiler_measured_is_taken_from_the_bundle(report: Report) -> None:
    assert report.agreement is not None
    assert (report.agreement.samples, report.agreement.predictions) == (5, 4)
    assert (report.agreement.cells, report.agreement.differing) == (5760, 108)
    assert [(layer.cells, layer.differing) for layer in report.layers] == [(2880, 36), (2880, 72)]
    assert [layer.trained_rate for layer in report.layers] == [0.21, 0.34]


def test_weights_belong_to_the_layer_that_they_drive(report: Report) -> None:
    stem, attention = report.layers
    assert [(grid.layer, grid.bits) for grid in stem.grids] == [("stem.conv", 8)]
    assert attention.grids == (), (
        "the products of attention have no weights, those before the stem are not its own"
    )
    assert [(grid.layer, grid.bits) for grid in report.readout] == [("head", 6)]


def test_the_engines_give_the_same_report(
    bundle_for: Callable[[str], Bundle], inputs: Callable[..., Any]
) -> None:
    by_engine = [collect(bundle_for("onnx"), inputs(), engine) for engine in ("reference", "onnx")]
    assert by_engine[0].layers == by_engine[1].layers


def test_cores_hold_every_neuron_once_and_within_limits(report: Report) -> None:
    placement = report.placement
    assert placement is not None
    held = dict.fromkeys(range(len(placement.populations)), 0)
    for core in placement.cores:
        for index, neurons in core.parts:
            held[index] += neurons
        shares = [core.uses[limit.name] / limit.value for limit in placement.limits]
        assert core.fill == pytest.approx(max(shares))
        assert core.fill <= 1
        assert core.uses["neurons"] == sum(neurons for _, neurons in core.parts)
    assert held == {index: one.neurons for index, one in enumerate(placement.populations)}
    assert {one.name for one in placement.populations} >= {layer.name for layer in report.layers}
    assert len(placement.cores) >= placement.bound >= 1


def test_spikes_by_core_add_up(report: Report) -> None:
    assert report.placement is not None
    assert sum(core.spikes for core in report.placement.cores) == report.spikes


def test_a_target_without_cores_has_no_placement(
    bundle_for: Callable[[str], Bundle], inputs: Callable[..., Any]
) -> None:
    report = collect(bundle_for("onnx"), inputs())
    assert report.placement is None
    assert report.estimate["modes"] == {}


def test_every_constant_of_an_estimate_has_a_meaning() -> None:
    assert set(USED) <= set(MEANINGS)
