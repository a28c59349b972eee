"""``spikeloom diff`` and ``spikeloom reduce`` on bundles with an ONNX form that is not that of its graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikeloom.compiler.bundle import read_bundle
from tests.cli.conftest import Workshop
from tests.cli.terminal import spikeloom
from tests.cli.test_mismatch import LAYER, NEURON, honest, lying

__all__ = ["honest", "lying"]


def test_the_difference_is_explained(lying: Path) -> None:
    answer = spikeloom("diff", lying, "--engines", "reference,onnx", "--json", expect=3)
    found = answer.json["difference"]
    assert found["place"]["layer"] == NEURON
    assert found["place"]["neuron"][0] == 0
    reference = found["membranes"]["reference"]
    assert (reference["margin"] > 0) == (found["place"]["wanted"] > 0)
    assert set(found["membranes"]) == {"reference", "onnx"}
    assert LAYER not in found["states"]


def test_it_is_printed(lying: Path) -> None:
    answer = spikeloom("diff", lying, "--engines", "reference,onnx", expect=3)
    assert f"onnx parts from reference at sample 0, step 0, layer {NEURON}, neuron [0, " in answer.out
    assert "it fires above " in answer.out


def test_engines_that_agree(bundle: Path, workshop: Workshop) -> None:
    assert "event does not differ from reference" in spikeloom("diff", bundle).out
    answer = spikeloom("diff", bundle, "--engines", "onnx,event", "--events", workshop.test, "--json")
    assert answer.json["difference"] is None


def test_the_trained_model_is_an_engine_on_the_stored_samples(bundle: Path, workshop: Workshop) -> None:
    """Rounding flips spikes of this network; the first to flip must be a close call."""
    layers = {node.name for node in read_bundle(bundle).graph.neurons()}
    found = spikeloom("diff", bundle, "--engines", "trained,event", "--json", expect=3).json["difference"]
    assert found["place"]["layer"] in layers
    assert set(found["membranes"]) == {"event"}
    assert abs(found["membranes"]["event"]["margin"]) < 0.05 * found["thresholds"][0]
    refused = spikeloom("diff", bundle, "--engines", "trained,event", "--events", workshop.test, expect=4)
    assert "stored" in refused.err or "in the bundle only" in refused.err


def test_the_membrane_of_the_trained_model(bundle: Path, workshop: Workshop) -> None:
    """Of one place both membranes: they decide differently, so that one is above its threshold."""
    given = ("--engines", "trained,event", "--model", workshop.model, "--weights", workshop.weights)
    document = spikeloom("diff", bundle, *given, "--json", expect=3).json
    found, trained = document["difference"], document["trained"]
    assert (trained["margin"] >= 0) == (found["place"]["wanted"] > 0)
    assert (found["membranes"]["event"]["margin"] > 0) == (found["place"]["got"] > 0)
    assert trained["threshold"] == 1.0
    share = found["membranes"]["event"]["potential"] / found["thresholds"][0]
    assert share == pytest.approx(trained["potential"], abs=0.05)
    assert "in the model's units" in spikeloom("diff", bundle, *given, expect=3).out
    assert "SL0901" in spikeloom("diff", bundle, "--model", workshop.model, expect=4).err


@pytest.mark.parametrize("engines", ["event", "event,event", "event,trained", "event,onnx,reference"])
def test_two_engines_are_wanted(bundle: Path, engines: str) -> None:
    assert "SL0901" in spikeloom("diff", bundle, "--engines", engines, expect=4).err


def test_nothing_to_reduce(bundle: Path, tmp_path: Path) -> None:
    answer = spikeloom("reduce", bundle, "-o", tmp_path / "small", expect=4)
    assert "nothing to reduce" in answer.err
    assert not (tmp_path / "small").exists()
